// The character classes of RFC 9110 and comparisons that ignore ASCII case. Pure; any thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace catzilla::http {

enum CharClass : uint8_t {
  kTokenChar = 1,   // tchar
  kFieldChar = 2,   // What a field value may hold: HTAB, SP, VCHAR, obs-text.
  kTargetChar = 4,  // Visible ASCII that may stand in a request target; no '#'.
  kHostChar = 8,    // reg-name: unreserved, sub-delims and '%'.
  kDigitChar = 16,
  kHexChar = 32,
};

namespace internal {
constexpr bool Contains(std::string_view set, char c) {
  return set.find(c) != std::string_view::npos;
}
constexpr std::array<uint8_t, 256> MakeClasses() {
  std::array<uint8_t, 256> classes{};
  for (int i = 0; i < 256; ++i) {
    const char c = static_cast<char>(i);
    const bool digit = c >= '0' && c <= '9';
    const bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool hex = digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    uint8_t bits = 0;
    if (digit || alpha || (i != 0 && Contains("!#$%&'*+-.^_`|~", c))) bits |= kTokenChar;
    if (c == '\t' || (i >= 0x20 && i != 0x7f)) bits |= kFieldChar;
    if (i > 0x20 && i < 0x7f && c != '#') bits |= kTargetChar;
    if (digit || alpha || (i != 0 && Contains("-._~!$&'()*+,;=%", c))) bits |= kHostChar;
    if (digit) bits |= kDigitChar;
    if (hex) bits |= kHexChar;
    classes[static_cast<size_t>(i)] = bits;
  }
  return classes;
}
inline constexpr std::array<uint8_t, 256> kClasses = MakeClasses();
}  // namespace internal

constexpr bool IsIn(char c, CharClass set) {
  return (internal::kClasses[static_cast<uint8_t>(c)] & set) != 0;
}
// True for the empty text.
constexpr bool AllIn(std::string_view text, CharClass set) {
  uint8_t bits = 0xff;
  for (const char c : text) bits &= internal::kClasses[static_cast<uint8_t>(c)];
  return (bits & set) != 0;
}
constexpr bool IsToken(std::string_view text) { return !text.empty() && AllIn(text, kTokenChar); }

// text == literal, as a comparison of words where std::string_view calls memcmp.
template <size_t N>
constexpr bool Is(std::string_view text, const char (&literal)[N]) {
  return text.size() == N - 1 && std::equal(text.begin(), text.begin() + (N - 1), literal);
}

constexpr char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

constexpr int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = ToLower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// `lower` is in lower case already.
inline bool EqualsLower(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t a = 0;
    uint64_t b = 0;
    std::memcpy(&a, text.data() + i, 8);
    std::memcpy(&b, lower.data() + i, 8);
    if (a == b) continue;
    for (size_t j = i; j < i + 8; ++j) {
      if (ToLower(text[j]) != lower[j]) return false;
    }
  }
  for (; i < text.size(); ++i) {
    if (ToLower(text[i]) != lower[i]) return false;
  }
  return true;
}

inline bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (ToLower(a[i]) != ToLower(b[i])) return false;
  }
  return true;
}

// Without the spaces and tabs at both ends (OWS).
constexpr std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Decimal digits only, no sign, no overflow; false for anything else, the empty text too.
constexpr bool ParseDecimal(std::string_view text, uint64_t* value) {
  if (text.empty()) return false;
  uint64_t result = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    const uint64_t digit = static_cast<uint64_t>(c - '0');
    if (result > (UINT64_MAX - digit) / 10) return false;
    result = result * 10 + digit;
  }
  *value = result;
  return true;
}

}  // namespace catzilla::http
