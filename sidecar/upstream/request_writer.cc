#include "sidecar/upstream/request_writer.h"

#include "sidecar/http/header_id.h"
#include "sidecar/http/method.h"

namespace catzilla::upstream {
namespace {

using http::HeaderId;

void Add(std::string_view name, std::string_view value, std::string* out) {
  out->append(name).append(": ").append(value).append("\r\n");
}

// What proxies say of the client: only whoever is trusted may have said it.
bool IsForwarding(HeaderId id) {
  return id == HeaderId::kForwarded || id == HeaderId::kXForwardedFor ||
         id == HeaderId::kXForwardedHost || id == HeaderId::kXForwardedPort ||
         id == HeaderId::kXForwardedProto || id == HeaderId::kXRealIp;
}

// All values of a field that a trusted proxy sent, as one list.
std::string Joined(const origin::RequestSpec& spec, HeaderId id) {
  std::string all;
  if (!spec.peer_trusted) return all;
  for (const http::Field& field : spec.fields) {
    if (http::FindHeaderId(field.name) != id) continue;
    if (!all.empty()) all += ", ";
    all += field.value;
  }
  return all;
}

void AddXForwarded(const origin::RequestSpec& spec, std::string* out) {
  std::string chain = Joined(spec, HeaderId::kXForwardedFor);
  if (!chain.empty()) chain += ", ";
  Add("x-forwarded-for", chain.append(spec.peer), out);
  Add("x-forwarded-proto", spec.scheme == 1 ? "https" : "http", out);
  const std::string host = Joined(spec, HeaderId::kXForwardedHost);
  if (!host.empty() || !spec.host.empty()) {
    Add("x-forwarded-host", host.empty() ? spec.host : host, out);
  }
  const std::string port = Joined(spec, HeaderId::kXForwardedPort);
  Add("x-forwarded-port", port.empty() ? std::to_string(spec.server_port) : port, out);
}

void AddForwarded(const origin::RequestSpec& spec, std::string* out) {
  std::string chain = Joined(spec, HeaderId::kForwarded);
  if (!chain.empty()) chain += ", ";
  const bool is_v6 = spec.peer.find(':') != std::string_view::npos;
  chain.append("for=").append(is_v6 ? "\"[" : "").append(spec.peer).append(is_v6 ? "]\"" : "");
  chain.append(";proto=").append(spec.scheme == 1 ? "https" : "http");
  if (!spec.host.empty()) chain.append(";host=\"").append(spec.host).append("\"");
  Add("forwarded", chain, out);
}

void AddFraming(const origin::RequestSpec& spec, std::string* out) {
  switch (spec.body_mode) {
    case origin::BodyMode::kNone: {
      // RFC 9110 section 8.6: where a body means something, none is said to be none.
      const http::Method method = http::MethodFromText(spec.method);
      if (method == http::Method::kPost || method == http::Method::kPut ||
          method == http::Method::kPatch) {
        Add("content-length", "0", out);
      }
      return;
    }
    case origin::BodyMode::kInline:
      return Add("content-length", std::to_string(spec.body.size()), out);
    case origin::BodyMode::kStreaming:
      break;
  }
  if (IsChunked(spec)) return Add("transfer-encoding", "chunked", out);
  Add("content-length", std::to_string(spec.body_length), out);
}

}  // namespace

void WriteRequest(const origin::RequestSpec& spec, const config::Upstream& config,
                  std::string* line, std::string* fields) {
  line->assign(spec.method).append(" ").append(spec.target).append(" HTTP/1.1\r\n");
  if (config.preserve_host && !spec.host.empty()) Add("host", spec.host, line);
  fields->clear();
  std::string via;
  const bool asks_first =
      (spec.flags & origin::kExpectContinue) != 0 && spec.body_mode == origin::BodyMode::kStreaming;
  for (const http::Field& field : spec.fields) {
    const HeaderId id = http::FindHeaderId(field.name);
    if (http::IsHopByHop(id) || id == HeaderId::kHost || id == HeaderId::kContentLength ||
        IsForwarding(id)) {
      continue;
    }
    if (id == HeaderId::kExpect && !asks_first) continue;
    // Of the client's frames; those to the server are our own.
    if (id == HeaderId::kSecWebsocketExtensions && spec.upgrade) continue;
    if (id == HeaderId::kVia && !config.via.empty()) {
      via.append(field.value).append(", ");
      continue;
    }
    Add(field.name, field.value, fields);
  }
  if (config.x_forwarded) AddXForwarded(spec, fields);
  if (config.forwarded) AddForwarded(spec, fields);
  if (!config.via.empty()) {
    via.append(spec.http_version == 0x10 ? "1.0 " : "1.1 ").append(config.via);
    Add("via", via, fields);
  }
  AddFraming(spec, fields);
  if (spec.upgrade) {
    fields->append("connection: Upgrade\r\nupgrade: websocket\r\n");
  } else if (config.idle_max == 0) {
    Add("connection", "close", fields);
  }
  fields->append("\r\n");
}

}  // namespace catzilla::upstream
