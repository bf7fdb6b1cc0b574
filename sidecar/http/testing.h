// For tests of any room: a parsed head out of its text. Not linked into the sidecar.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/base/check.h"
#include "sidecar/http/request_parser.h"

namespace catzilla::http {

// REQUIRES: `text` begins with a complete, correct head. The head is pinned.
inline std::unique_ptr<HeadBuffer> ParseHeadForTest(std::string_view text) {
  auto buffer = std::make_unique<HeadBuffer>();
  RequestParser parser;
  parser.Begin(buffer.get(), HeadLimits());
  const RequestParser::Step step = parser.Next(text);
  CATZILLA_CHECK(step.event == RequestParser::Event::kHead, "the test's request is malformed");
  buffer->head().Pin();
  return buffer;
}

// "GET /path" and lines like "If-None-Match: *"; Host is added.
inline std::unique_ptr<HeadBuffer> ParseLinesForTest(
    std::string_view method_and_target, std::initializer_list<std::string_view> lines) {
  std::string text(method_and_target);
  text += " HTTP/1.1\r\nHost: test\r\n";
  for (const std::string_view line : lines) text.append(line).append("\r\n");
  return ParseHeadForTest(text + "\r\n");
}

}  // namespace catzilla::http
