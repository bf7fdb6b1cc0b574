#include "sidecar/runtime/made_request.h"

#include <algorithm>
#include <utility>

#include "sidecar/http/text.h"

namespace catzilla::runtime {

base::Result<MadeRequest, MadeRequest::Refusal> MadeRequest::MakeOf(
    const std::string& method, const std::string& target, const std::string& host,
    const std::map<std::string, std::string>& fields) {
  const auto wrong = [](std::string sentence) {
    return base::Fail(Refusal{0, std::move(sentence)});
  };
  if (!http::IsToken(method)) return wrong("'" + method + "' is no method (give GET, POST, …)");
  const auto visible = [](char c) { return c > ' ' && c != '\x7f'; };
  if (!std::all_of(target.begin(), target.end(), visible)) {
    return wrong("the URL has spaces or bytes that must be percent-encoded");
  }
  std::string own_host = host;
  std::string lines;
  for (const auto& [name, value] : fields) {
    if (!http::IsToken(name)) return wrong("'" + name + "' is no name of a field");
    if (!http::AllIn(value, http::kFieldChar)) {
      return wrong("the value of " + name + " has a control character");
    }
    if (http::EqualsIgnoringCase(name, "host")) {
      if (own_host.empty()) own_host = value;
      continue;
    }
    lines += name + ": " + value + "\r\n";
  }
  if (!http::AllIn(own_host, http::kFieldChar)) return wrong("the host has a control character");
  MadeRequest made;
  made.bytes_ = std::make_unique<std::string>(method + " " + target + " HTTP/1.1\r\nHost: " +
                                              (own_host.empty() ? "unnamed.invalid" : own_host) +
                                              "\r\n" + lines + "\r\n");
  made.buffer_ = std::make_unique<http::HeadBuffer>();
  http::RequestParser parser;
  parser.Begin(made.buffer_.get(), {});
  const http::RequestParser::Step step = parser.Next(*made.bytes_);
  if (step.event == http::RequestParser::Event::kHead) return made;
  if (step.event == http::RequestParser::Event::kError) {
    return base::Fail(Refusal{step.status, std::string(http::NameOf(step.error))});
  }
  return wrong("that is no request");
}

}  // namespace catzilla::runtime
