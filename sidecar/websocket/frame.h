// What a frame's first bytes say, and writing them (RFC 6455 section 5.2). A server's frames are
// not masked, a client's are.
//
// Pure; values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace catzilla::websocket {

enum class Opcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};
constexpr bool IsControl(Opcode opcode) { return static_cast<uint8_t>(opcode) >= 8; }

inline constexpr size_t kControlBytesMax = 125;
inline constexpr size_t kReasonBytesMax = kControlBytesMax - 2;
inline constexpr size_t kFrameHeadBytesMax = 14;  // With a mask.

// Writes the head of a frame of `length` bytes; returns its length.
size_t WriteFrameHead(Opcode opcode, bool last, bool compressed, uint64_t length,
                      char (&out)[kFrameHeadBytesMax]);

// Makes the head of `head_bytes` that WriteFrameHead() has written one of a masked frame; returns
// its length.
size_t AddMaskKey(const char (&key)[4], size_t head_bytes, char (&head)[kFrameHeadBytesMax]);

// What Close carries; returns its length. `reason` is cut between two characters if it is too long.
size_t WriteClosePayload(uint16_t code, std::string_view reason, char (&out)[kControlBytesMax]);

// Masks or unmasks `from` into `to`, as if `at` bytes of the payload had come before. They may be
// the same bytes.
void Mask(const char (&key)[4], uint64_t at, std::string_view from, char* to);

}  // namespace catzilla::websocket
