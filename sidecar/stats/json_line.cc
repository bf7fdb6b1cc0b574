#include "sidecar/stats/json_line.h"

#include <charconv>
#include <cstring>

namespace catzilla::stats {
namespace {

// The length of the UTF-8 sequence that begins `text`, 0 if it is none (RFC 3629).
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto tail = [&](size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    if (first == 0xe0 && byte(1) < 0xa0) return 0;
    if (first == 0xed && byte(1) > 0x9f) return 0;
    return 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (first == 0xf0 && byte(1) < 0x90) return 0;
    if (first == 0xf4 && byte(1) > 0x8f) return 0;
    return 4;
  }
  return 0;
}

constexpr char kHex[] = "0123456789abcdef";

}  // namespace

bool JsonLine::Key(std::string_view name, size_t value_room) {
  // Quotes, colon and comma; a field that does not fit whole is left out.
  if (room() < name.size() + 4 + value_room) return false;
  if (at_ != begin_ + 1) *at_++ = ',';
  *at_++ = '"';
  std::memcpy(at_, name.data(), name.size());
  at_ += name.size();
  *at_++ = '"';
  *at_++ = ':';
  return true;
}

void JsonLine::Text(std::string_view name, std::string_view value) {
  if (!Key(name, 2)) return;
  *at_++ = '"';
  Escaped(value);
  *at_++ = '"';
}

void JsonLine::Escaped(std::string_view value) {
  // One byte is kept for the closing quote.
  while (!value.empty() && room() > 7) {
    const char c = value[0];
    if (static_cast<uint8_t>(c) >= 0x20 && static_cast<uint8_t>(c) < 0x7f && c != '"' &&
        c != '\\') {
      *at_++ = c;
      value.remove_prefix(1);
      continue;
    }
    const size_t length = SequenceLength(value);
    if (c == '"' || c == '\\') {
      *at_++ = '\\';
      *at_++ = c;
    } else if (length == 1) {
      std::memcpy(at_, "\\u00", 4);
      at_[4] = kHex[static_cast<uint8_t>(c) >> 4];
      at_[5] = kHex[static_cast<uint8_t>(c) & 15];
      at_ += 6;
    } else if (length == 0) {
      std::memcpy(at_, "\xef\xbf\xbd", 3);
      at_ += 3;
    } else {
      std::memcpy(at_, value.data(), length);
      at_ += length;
    }
    value.remove_prefix(length == 0 ? 1 : length);
  }
}

void JsonLine::Number(std::string_view name, int64_t value) {
  if (!Key(name, 20)) return;
  at_ = std::to_chars(at_, end_, value).ptr;
}

void JsonLine::Seconds(std::string_view name, int64_t us) {
  if (us < 0) us = 0;
  if (!Key(name, 28)) return;
  at_ = std::to_chars(at_, end_, us / 1'000'000).ptr;
  *at_++ = '.';
  int64_t rest = us % 1'000'000;
  for (int64_t unit = 100'000; unit > 0; unit /= 10) {
    *at_++ = static_cast<char>('0' + rest / unit);
    rest %= unit;
  }
}

void JsonLine::Bool(std::string_view name, bool value) {
  if (!Key(name, 5)) return;
  const std::string_view text = value ? "true" : "false";
  std::memcpy(at_, text.data(), text.size());
  at_ += text.size();
}

std::string_view JsonLine::Finish() {
  *at_++ = '}';
  *at_++ = '\n';
  return {begin_, static_cast<size_t>(at_ - begin_)};
}

}  // namespace catzilla::stats
