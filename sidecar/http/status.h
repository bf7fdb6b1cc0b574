// Reason phrases of every status in the IANA registry, and which statuses have no body.
// Pure; any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace catzilla::http {

// Empty for a number that is not registered: "HTTP/1.1 299 " is a correct status line.
std::string_view ReasonPhrase(uint16_t status);

// "HTTP/1.1 200 OK\r\n" as one literal for registered statuses, else empty.
std::string_view StatusLine(uint16_t status);

// RFC 9110 section 6.4.1: 1xx, 204 and 304 end with their head, whatever their fields say.
constexpr bool StatusHasBody(uint16_t status) {
  return status >= 200 && status != 204 && status != 304;
}

}  // namespace catzilla::http
