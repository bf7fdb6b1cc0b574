// Dates as HTTP writes them (RFC 9110 section 5.6.7). Pure; any thread; no locale, no time zone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace catzilla::http {

inline constexpr size_t kHttpDateBytes = 29;

// "Sun, 06 Nov 1994 08:49:37 GMT" into `out` (kHttpDateBytes, no end mark). Years outside 0 to 9999
// are clamped to them.
void WriteHttpDate(int64_t seconds, char* out);
std::string FormatHttpDate(int64_t seconds);

// Reads IMF-fixdate, RFC 850 and asctime. The day's name must be one, but not the right one.
// `now_s` decides the century of two-digit years: one more than 50 years ahead is in the past.
std::optional<int64_t> ParseHttpDate(std::string_view text, int64_t now_s);
// The same whatever the case of its letters: how a cache reads Expires (RFC 9111 section 4.2).
std::optional<int64_t> ParseHttpDateInAnyCase(std::string_view text, int64_t now_s);

// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
int64_t DaysFromCivil(int64_t year, unsigned month, unsigned day);

}  // namespace catzilla::http
