// Writing one line of JSON into a bounded buffer, without allocating.
//
// Bytes that are not UTF-8 become U+FFFD, so that every line can be parsed. A line that does not
// fit ends early but stays valid JSON: values are cut, never the braces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace catzilla::stats {

class JsonLine {
 public:
  JsonLine(char* buffer, size_t bytes) : begin_(buffer), at_(buffer), end_(buffer + bytes - 2) {
    *at_++ = '{';
  }

  void Text(std::string_view name, std::string_view value);
  void Number(std::string_view name, int64_t value);
  // Seconds with microseconds: 0.000123.
  void Seconds(std::string_view name, int64_t us);
  void Bool(std::string_view name, bool value);
  std::string_view Finish();  // With the newline. REQUIRES: called once, last.

 private:
  bool Key(std::string_view name, size_t room);
  void Escaped(std::string_view value);
  size_t room() const { return static_cast<size_t>(end_ - at_); }

  char* begin_;
  char* at_;
  char* end_;  // Two bytes are kept for "}\n".
};

}  // namespace catzilla::stats
