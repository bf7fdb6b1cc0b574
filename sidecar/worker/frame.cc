#include "sidecar/worker/frame.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "sidecar/base/check.h"

namespace catzilla::worker {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they lie");

namespace {

template <typename T>
T Load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// What CheckFrame() and DecodeHeader() know of a type.
struct Rules {
  bool known = false;
  bool may_end = false;
  bool on_stream = true;      // May have a stream.
  bool on_connection = true;  // May have none.
  bool empty = false;         // Never has a payload.
};

constexpr Rules kConnection{true, false, false, true, false};
constexpr Rules kStream{true, false, true, false, false};
constexpr Rules kStreamMayEnd{true, true, true, false, false};
constexpr Rules kStreamEmpty{true, false, true, false, true};
constexpr Rules kEitherEmpty{true, false, true, true, true};
constexpr Rules kEither{true, false, true, true, false};

Rules RulesOf(FrameType type) {
  switch (type) {
    case FrameType::kHello:
    case FrameType::kHelloAck:
    case FrameType::kPing:
    case FrameType::kPong:
    case FrameType::kStats:
    case FrameType::kLog:
    case FrameType::kDump:
      return kConnection;
    case FrameType::kWindow:
    case FrameType::kCredit:
      return kEitherEmpty;
    case FrameType::kRequest:
    case FrameType::kRequestData:
    case FrameType::kResponse:
    case FrameType::kResponseData:
    case FrameType::kTrailers:
    case FrameType::kSendfile:
    case FrameType::kWsClose:
      return kStreamMayEnd;
    case FrameType::kInformational:
    case FrameType::kUpgrade:
    case FrameType::kWsAccept:
    case FrameType::kWsMessage:
    case FrameType::kEnd:
    case FrameType::kCancel:
      return kStream;
    case FrameType::kDetached:
      return kStreamEmpty;
    case FrameType::kGoaway:
    case FrameType::kRecall:
    case FrameType::kReturned:
    case FrameType::kWsPing:
    case FrameType::kWsPong:
      return kEither;
  }
  return {};
}

}  // namespace

uint16_t Load16(const char* bytes) { return Load<uint16_t>(bytes); }
uint32_t Load32(const char* bytes) { return Load<uint32_t>(bytes); }
uint64_t Load64(const char* bytes) { return Load<uint64_t>(bytes); }
void Store16(char* bytes, uint16_t value) { std::memcpy(bytes, &value, sizeof value); }
void Store32(char* bytes, uint32_t value) { std::memcpy(bytes, &value, sizeof value); }
void Store64(char* bytes, uint64_t value) { std::memcpy(bytes, &value, sizeof value); }

bool IsKnown(FrameType type) { return RulesOf(type).known; }

size_t FrameLimits::PayloadMax(FrameType type) const {
  switch (type) {
    case FrameType::kRequest:
    case FrameType::kUpgrade:
    case FrameType::kResponse:
      return size_t{head_bytes_max} + data_bytes_max;
    case FrameType::kRequestData:
    case FrameType::kResponseData:
    case FrameType::kWsMessage:
    case FrameType::kDump:
      return data_bytes_max;
    case FrameType::kInformational:
    case FrameType::kWsAccept:
    case FrameType::kTrailers:
      return head_bytes_max;
    case FrameType::kHello:
      return kHelloPayloadMax;
    default:
      return kControlPayloadMax;
  }
}

void EncodeHeader(const FrameHeader& header, char* bytes) {
  Store32(bytes, header.length);
  bytes[4] = static_cast<char>(header.type);
  bytes[5] = static_cast<char>(header.flags);
  Store16(bytes + 6, 0);
  Store32(bytes + 8, header.stream);
  Store32(bytes + 12, header.aux);
}

void AppendFrame(const FrameHeader& header, std::string_view payload, std::string* out) {
  FrameHeader sized = header;
  sized.length = static_cast<uint32_t>(payload.size());
  char bytes[kFrameHeaderBytes];
  EncodeHeader(sized, bytes);
  out->append(bytes, sizeof bytes);
  out->append(payload);
}

base::Result<FrameHeader, FrameError> DecodeHeader(const char* bytes, const FrameLimits& limits) {
  FrameHeader header;
  header.length = Load32(bytes);
  header.type = static_cast<FrameType>(bytes[4]);
  header.flags = static_cast<uint8_t>(bytes[5]);
  header.stream = Load32(bytes + 8);
  header.aux = Load32(bytes + 12);

  const Rules rules = RulesOf(header.type);
  if (!rules.known && (header.flags & kFlagIgnorable) == 0) {
    return base::Fail(FrameError{GoawayCode::kUnknownType, "a frame of unknown type"});
  }
  if (Load16(bytes + 6) != 0) {
    return base::Fail(FrameError{GoawayCode::kProtocol, "the reserved field of a frame is not 0"});
  }
  if ((header.flags & ~(kFlagEnd | kFlagIgnorable)) != 0) {
    return base::Fail(FrameError{GoawayCode::kProtocol, "a frame has undefined flags"});
  }
  if (rules.known && header.end() && !rules.may_end) {
    return base::Fail(FrameError{GoawayCode::kProtocol, "END on a frame type that has none"});
  }
  if (header.length > limits.PayloadMax(header.type)) {
    return base::Fail(FrameError{GoawayCode::kProtocol, "a frame is larger than agreed"});
  }
  return header;
}

const char* CheckFrame(const FrameView& frame) {
  const FrameHeader& header = frame.header;
  const Rules rules = RulesOf(header.type);
  if (header.stream != 0 && !rules.on_stream) return "a frame of the connection names a stream";
  if (header.stream == 0 && !rules.on_connection) return "a frame of a stream names none";
  if (rules.empty && !frame.payload.empty()) return "a frame that is always empty has a payload";
  switch (header.type) {
    case FrameType::kWindow:
      if (header.aux == 0 || header.aux > kWindowMax) return "WINDOW adds nothing, or too much";
      return nullptr;
    case FrameType::kPing:
    case FrameType::kPong:
      return frame.payload.size() == 8 ? nullptr : "PING and PONG carry 8 bytes";
    case FrameType::kCancel:
      return frame.payload.empty() || frame.payload.size() == 4 ? nullptr
                                                                : "CANCEL has half a lane id";
    case FrameType::kSendfile:
      return frame.payload.size() == 16 ? nullptr : "SENDFILE carries 16 bytes";
    case FrameType::kWsMessage:
      if ((header.aux & ~kMessageMore) != 1 && (header.aux & ~kMessageMore) != 2) {
        return "a message is neither text nor binary";
      }
      return nullptr;
    case FrameType::kWsClose:
      return frame.payload.size() <= kCloseReasonMax ? nullptr : "a reason is 123 bytes at most";
    default:
      return nullptr;
  }
}

char* FrameReader::Space(size_t* bytes) {
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (begin_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const size_t wanted = std::max(kBufferBytes, needed_);
  // A buffer that one large frame has grown goes back to its usual size when it is empty.
  if (wanted > capacity_ || (end_ == 0 && capacity_ > wanted)) {
    std::unique_ptr<char[]> grown(new char[wanted]);
    if (end_ > 0) std::memcpy(grown.get(), buffer_.get(), end_);
    buffer_ = std::move(grown);
    capacity_ = wanted;
  }
  CATZILLA_CHECK(capacity_ > end_, "every whole frame is taken before more is read");
  *bytes = capacity_ - end_;
  return buffer_.get() + end_;
}

FrameReader::Step FrameReader::Next(FrameView* frame) {
  if (failed_) return Step::kError;
  for (;;) {
    const size_t have = end_ - begin_;
    if (have < kFrameHeaderBytes) {
      needed_ = kFrameHeaderBytes;
      return Step::kMore;
    }
    const char* bytes = buffer_.get() + begin_;
    const auto header = DecodeHeader(bytes, limits_);
    if (!header.ok()) {
      error_ = header.error();
      failed_ = true;
      return Step::kError;
    }
    needed_ = kFrameHeaderBytes + header->length;
    if (have < needed_) return Step::kMore;
    begin_ += needed_;
    needed_ = kFrameHeaderBytes;
    if (!IsKnown(header->type)) continue;
    frame->header = *header;
    frame->payload = {bytes + kFrameHeaderBytes, header->length};
    return Step::kFrame;
  }
}

}  // namespace catzilla::worker
