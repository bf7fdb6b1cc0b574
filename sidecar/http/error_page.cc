#include "sidecar/http/error_page.h"

#include "sidecar/http/accept_encoding.h"
#include "sidecar/http/status.h"

namespace catzilla::http {
namespace {

void AppendJsonText(std::string_view text, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      // Bytes beyond ASCII are shown as Latin-1: whatever they were, the page stays valid.
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 0xf];
    } else {
      out += c;
    }
  }
  out += '"';
}

void AppendHtmlText(std::string_view text, std::string& out) {
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == '<' || c == '>' || c == '&' || c == '"' || c == '\'' || byte >= 0x7f) {
      out += "&#";
      out += std::to_string(byte);
      out += ';';
    } else {
      out += byte < 0x20 ? ' ' : c;
    }
  }
}

}  // namespace

int AcceptQuality(const RequestHead& request, std::string_view type, std::string_view any_of_kind) {
  int exact = -1;
  int kind = -1;
  int any = -1;
  request.ForEachItem(HeaderId::kAccept, [&](std::string_view item) {
    const size_t semicolon = item.find(';');
    const std::string_view name = Trim(item.substr(0, semicolon));
    const int quality =
        semicolon == std::string_view::npos ? 1000 : ParseQuality(item.substr(semicolon + 1));
    if (EqualsLower(name, type)) exact = quality;
    if (EqualsLower(name, any_of_kind)) kind = quality;
    if (name == "*/*") any = quality;
  });
  if (exact >= 0) return exact;
  if (kind >= 0) return kind;
  return any >= 0 ? any : 0;
}

ErrorFormat ChooseErrorFormat(const RequestHead* request) {
  if (request == nullptr || !request->Has(HeaderId::kAccept)) return ErrorFormat::kJson;
  const int html = AcceptQuality(*request, "text/html", "text/*");
  const int json = AcceptQuality(*request, "application/json", "application/*");
  return html > json ? ErrorFormat::kHtml : ErrorFormat::kJson;
}

std::string_view ContentTypeOf(ErrorFormat format) {
  return format == ErrorFormat::kJson ? "application/json" : "text/html; charset=utf-8";
}

void AppendErrorPage(ErrorFormat format, uint16_t status, std::string_view detail,
                     std::string_view request_id, std::string& out) {
  const std::string_view reason = ReasonPhrase(status);
  if (format == ErrorFormat::kJson) {
    out += "{\"error\":{\"status\":";
    out += std::to_string(status);
    out += ",\"reason\":";
    AppendJsonText(reason, out);
    if (!detail.empty()) {
      out += ",\"detail\":";
      AppendJsonText(detail, out);
    }
    if (!request_id.empty()) {
      out += ",\"request_id\":";
      AppendJsonText(request_id, out);
    }
    out += "}}\n";
    return;
  }
  const std::string title = std::to_string(status) + " " + std::string(reason);
  out += "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>";
  AppendHtmlText(title, out);
  out += "</title></head>\n<body><h1>";
  AppendHtmlText(title, out);
  out += "</h1>";
  if (!detail.empty()) {
    out += "<p>";
    AppendHtmlText(detail, out);
    out += "</p>";
  }
  if (!request_id.empty()) {
    out += "<p><small>Request ";
    AppendHtmlText(request_id, out);
    out += "</small></p>";
  }
  out += "</body></html>\n";
}

}  // namespace catzilla::http
