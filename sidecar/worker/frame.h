// Frames of the worker link: types, codes, the 16-byte header, and cutting a byte stream into
// frames.
//
// The contract is proto/catzilla/worker/v1/frames.md; section numbers here are that page's.
//
// Threads: none of its own. Owns: FrameReader owns its buffer; a FrameView borrows from it.
// Limits:  FrameLimits; a frame that passes them is refused by its header, before its payload is
//          read.
// Fails:   with a FrameError, a static sentence and the code for GOAWAY. Nothing here allocates but
//          the reader's buffer, which grows to the largest frame allowed and no further.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/base/result.h"
#include "sidecar/origin/call.h"

namespace catzilla::worker {

inline constexpr uint16_t kLinkVersionMin = 1;
inline constexpr uint16_t kLinkVersionMax = 1;
inline constexpr size_t kFrameHeaderBytes = 16;

enum class FrameType : uint8_t {
  kHello = 0x01,
  kHelloAck = 0x02,
  kPing = 0x03,
  kPong = 0x04,
  kGoaway = 0x05,
  kWindow = 0x06,
  kCredit = 0x07,
  kRequest = 0x10,
  kRequestData = 0x11,
  kResponse = 0x12,
  kResponseData = 0x13,
  kInformational = 0x14,
  kTrailers = 0x15,
  kEnd = 0x16,
  kCancel = 0x17,
  kRecall = 0x18,
  kReturned = 0x19,
  kDetached = 0x1A,
  kSendfile = 0x1B,
  kUpgrade = 0x20,
  kWsAccept = 0x21,
  kWsMessage = 0x22,
  kWsClose = 0x23,
  kWsPing = 0x24,
  kWsPong = 0x25,
  kStats = 0x30,
  kLog = 0x31,
  kDump = 0x32,
};

inline constexpr uint8_t kFlagEnd = 0x01;
inline constexpr uint8_t kFlagIgnorable = 0x80;
// In the aux of WS_MESSAGE, beside 1 for text and 2 for binary.
inline constexpr uint32_t kMessageMore = 0x100;
inline constexpr size_t kCloseReasonMax = 123;

enum class EndCode : uint32_t {
  kComplete = 0,
  kCancelled = 1,
  kFailed = 2,
  kRefused = 3,
  kStopped = 4,
};

using origin::CancelCode;

enum class GoawayCode : uint32_t {
  kDraining = 0,
  kSuperseded = 1,
  kProtocol = 2,
  kVersion = 3,
  kToken = 4,
  kTable = 5,
  kGeneration = 6,
  kInternal = 7,
  kTooMany = 8,
  kHelloLate = 9,
  kUnknownType = 10,
  kRecycle = 11,
  kLimits = 12,
};

// Section 5: what both sides must have.
inline constexpr uint32_t kCapabilitySendfile = 0x02;
inline constexpr uint32_t kCapabilityWebSocket = 0x04;
inline constexpr uint32_t kCapabilityDump = 0x10;
inline constexpr uint32_t kCapabilities =
    kCapabilitySendfile | kCapabilityWebSocket | kCapabilityDump;

// What one frame may carry, section 6.
struct FrameLimits {
  uint32_t head_bytes_max = 48 * 1024;
  uint32_t data_bytes_max = 64 * 1024;

  size_t PayloadMax(FrameType type) const;
};
inline constexpr uint32_t kHeadBytesLeast = 24 * 1024;
inline constexpr uint32_t kDataBytesLeast = 4 * 1024;
inline constexpr size_t kControlPayloadMax = 8192;
inline constexpr size_t kHelloPayloadMax = 4096;
inline constexpr size_t kSentenceBytesMax = 1024;
inline constexpr uint32_t kWindowMax = 0x7FFFFFFF;

struct FrameError {
  GoawayCode code = GoawayCode::kProtocol;
  const char* message = "";  // Static.
};

struct FrameHeader {
  uint32_t length = 0;
  FrameType type = FrameType::kPing;
  uint8_t flags = 0;
  uint32_t stream = 0;
  uint32_t aux = 0;

  bool end() const { return (flags & kFlagEnd) != 0; }
};

struct FrameView {
  FrameHeader header;
  std::string_view payload;
};

bool IsKnown(FrameType type);

// REQUIRES: 16 bytes at `bytes`.
void EncodeHeader(const FrameHeader& header, char* bytes);
void AppendFrame(const FrameHeader& header, std::string_view payload, std::string* out);

// Checks what the header alone decides: reserved, flags, length. Unknown ignorable types pass.
// REQUIRES: 16 bytes at `bytes`.
base::Result<FrameHeader, FrameError> DecodeHeader(const char* bytes, const FrameLimits& limits);

// The rules on stream, aux and payload of a whole frame that need no state (section 2). Null: it is
// sound.
const char* CheckFrame(const FrameView& frame);

// Little-endian numbers at any alignment.
uint16_t Load16(const char* bytes);
uint32_t Load32(const char* bytes);
uint64_t Load64(const char* bytes);
void Store16(char* bytes, uint16_t value);
void Store32(char* bytes, uint32_t value);
void Store64(char* bytes, uint64_t value);

// Cuts a byte stream into frames: read(2) into Space(), Commit() what came, Next() until kMore.
class FrameReader {
 public:
  enum class Step : uint8_t { kFrame, kMore, kError };

  explicit FrameReader(const FrameLimits& limits) : limits_(limits) {}

  // HELLO_ACK may have narrowed or widened them. REQUIRES: no frame is half read.
  void SetLimits(const FrameLimits& limits) { limits_ = limits; }

  // Room for the next read, never 0. Ends every FrameView given so far.
  char* Space(size_t* bytes);
  void Commit(size_t bytes) { end_ += bytes; }

  // kFrame: `frame` is the next one, borrowed until Space(). kError: error() says why, for good.
  // Unknown ignorable frames are skipped.
  Step Next(FrameView* frame);
  const FrameError& error() const { return error_; }
  bool empty() const { return begin_ == end_; }

 private:
  static constexpr size_t kBufferBytes = 64 * 1024;

  FrameLimits limits_;
  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t needed_ = kFrameHeaderBytes;  // Bytes of the next frame, as far as known.
  FrameError error_;
  bool failed_ = false;
};

}  // namespace catzilla::worker
