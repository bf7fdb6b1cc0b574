#include "sidecar/http/target.h"

#include <algorithm>
#include <utility>

#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

bool IsDotSegment(std::string_view segment) { return segment == "." || segment == ".."; }

uint8_t FlagsOf(std::string_view path) {
  uint8_t flags = 0;
  bool ascii = true;
  bool dot = false;  // One that begins a segment.
  char before = '/';
  for (const char c : path) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x20 || byte == 0x7f) flags |= kPathControl;
    if (c == '\\') flags |= kPathBackslash;
    dot |= c == '.' && before == '/';
    before = c;
    ascii &= byte < 0x80;
  }
  if (dot) {
    for (size_t begin = 0; begin <= path.size();) {
      const size_t end = std::min(path.find('/', begin), path.size());
      if (IsDotSegment(path.substr(begin, end - begin))) flags |= kPathDotSegment;
      begin = end + 1;
    }
  }
  if (!ascii && !IsUtf8(path)) flags |= kPathNotUtf8;
  return flags;
}

// The byte that "%XX" at `at` stands for, or -1.
int EscapedByte(std::string_view text, size_t at) {
  if (at + 2 >= text.size()) return -1;
  const int high = HexValue(text[at + 1]);
  const int low = HexValue(text[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// How many bytes at the front are one well-formed character (`*valid`), or else the maximal subpart
// that one U+FFFD stands for (Unicode 3.9, as CPython and browsers do).
size_t Utf8Step(std::string_view text, bool* valid) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  *valid = true;
  if (first < 0x80) return 1;
  size_t length = 0;
  uint8_t low = 0x80;  // Of the second byte.
  uint8_t high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  } else {
    *valid = false;
    return 1;
  }
  for (size_t i = 1; i < length; ++i) {
    if (i >= text.size() || byte(i) < low || byte(i) > high) {
      *valid = false;
      return i;
    }
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

// Replaces what is no UTF-8 after `begin`, in place; rarely more than a look.
void ReplaceInvalidFrom(size_t begin, std::string& text) {
  if (IsUtf8(std::string_view(text).substr(begin))) return;
  const std::string bytes = text.substr(begin);
  text.resize(begin);
  AppendReplacingInvalidUtf8(bytes, text);
}

}  // namespace

DecodedPath DecodePath(std::string_view raw, std::string& scratch) {
  size_t escape = raw.find('%');
  if (escape == std::string_view::npos) return {raw, FlagsOf(raw)};
  uint8_t flags = 0;
  scratch.clear();
  size_t begin = 0;
  while (escape != std::string_view::npos) {
    const int byte = EscapedByte(raw, escape);
    scratch.append(raw, begin, escape - begin);
    if (byte < 0) {
      flags |= kPathBadEscape;
      scratch += '%';
      begin = escape + 1;
    } else {
      if (byte == '/') flags |= kPathEncodedSlash;
      scratch += static_cast<char>(byte);
      begin = escape + 3;
    }
    escape = raw.find('%', begin);
  }
  scratch.append(raw, begin);
  return {scratch, static_cast<uint8_t>(flags | FlagsOf(scratch))};
}

bool RemoveDotSegments(std::string_view path, std::string& scratch, std::string_view* result) {
  if ((FlagsOf(path) & kPathDotSegment) == 0) {
    *result = path;
    return true;
  }
  std::string out;
  out.reserve(path.size());
  for (size_t begin = 1; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    const bool last = end == path.size();
    begin = end + 1;
    if (segment == "..") {
      if (out.empty()) return false;
      out.resize(out.rfind('/'));
    }
    if (IsDotSegment(segment)) {
      if (last) out += '/';
    } else {
      out += '/';
      out += segment;
    }
  }
  scratch = std::move(out);
  *result = scratch;
  return true;
}

bool IsUtf8(std::string_view bytes) {
  bool valid = true;
  while (valid && !bytes.empty()) bytes.remove_prefix(Utf8Step(bytes, &valid));
  return valid;
}

void AppendReplacingInvalidUtf8(std::string_view bytes, std::string& out) {
  while (!bytes.empty()) {
    bool valid = false;
    const size_t step = Utf8Step(bytes, &valid);
    out += valid ? bytes.substr(0, step) : std::string_view("\xEF\xBF\xBD");
    bytes.remove_prefix(step);
  }
}

bool QueryPairs::Next(std::string_view* name, std::string_view* value) {
  while (more_) {
    const size_t end = rest_.find('&');
    const std::string_view pair = rest_.substr(0, end);
    more_ = end != std::string_view::npos;
    rest_ = more_ ? rest_.substr(end + 1) : std::string_view();
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    *name = pair.substr(0, equals);
    *value = equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    return true;
  }
  return false;
}

std::string_view DecodeFormText(std::string_view encoded, std::string& scratch) {
  bool plain = true;
  for (const char c : encoded) plain &= c != '%' && c != '+' && static_cast<uint8_t>(c) < 0x80;
  if (plain) return encoded;
  // unquote() decodes each run of ASCII by itself; what is between is taken as it is.
  scratch.clear();
  size_t run = 0;  // Where the current run begins in `scratch`.
  for (size_t i = 0; i < encoded.size(); ++i) {
    const auto byte = static_cast<uint8_t>(encoded[i]);
    if (byte >= 0x80) {
      ReplaceInvalidFrom(run, scratch);
      scratch += static_cast<char>(0xc0 | byte >> 6);
      scratch += static_cast<char>(0x80 | (byte & 0x3f));
      run = scratch.size();
      continue;
    }
    const int escaped = byte == '%' ? EscapedByte(encoded, i) : -1;
    if (escaped >= 0) {
      scratch += static_cast<char>(escaped);
      i += 2;
    } else {
      scratch += byte == '+' ? ' ' : static_cast<char>(byte);
    }
  }
  ReplaceInvalidFrom(run, scratch);
  return scratch;
}

}  // namespace catzilla::http
