// Whether text that comes in pieces is UTF-8 (RFC 3629), told at the first byte that cannot be.
//
// Pure; values.
#pragma once

#include <cstdint>
#include <string_view>

namespace catzilla::websocket {

class Utf8Stream {
 public:
  // False: it is none, whatever follows.
  [[nodiscard]] bool Add(std::string_view bytes);
  // Whether it may end here: between two characters.
  bool complete() const { return needed_ == 0; }
  void Reset() { needed_ = 0; }

 private:
  uint8_t needed_ = 0;   // Continuation bytes still to come...
  uint8_t low_ = 0x80;   // ...of which the next is at least this...
  uint8_t high_ = 0xbf;  // ...and at most this.
};

}  // namespace catzilla::websocket
