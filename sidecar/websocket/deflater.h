// permessage-deflate of what we send (RFC 7692 section 7.2.1), a piece at a time and without memory
// of the one before: one deflater serves all sockets of a loop.
//
// Pure; one loop's. Owns: zlib's windows, about 260 KiB for each size that was agreed on.
// Limits:  a piece grows by a few bytes if it cannot be compressed.
// Fails:   never, but for the process running out of memory.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

namespace catzilla::websocket {

class Deflater {
 public:
  // Shorter messages are not worth it.
  static constexpr size_t kWorthBytes = 64;

  Deflater();
  ~Deflater();
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  // `piece` of a message as a frame's payload, until the next call. `window_bits`: 9 to 15.
  std::string_view Piece(std::string_view piece, bool last, int window_bits);

 private:
  struct Stream;
  std::array<std::unique_ptr<Stream>, 16> streams_;
  std::string out_;
};

}  // namespace catzilla::websocket
