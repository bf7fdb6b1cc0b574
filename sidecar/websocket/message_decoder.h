// A peer's bytes as messages (RFC 6455 section 5, RFC 7692): unmasked, inflated, text checked,
// in pieces as they come. Nothing is collected: a message of a gigabyte takes no more than one of a
// byte. Clients mask what they send, servers do not.
//
// Pure; one loop's.
// Owns:    a control frame that is half read; what inflates, if that was agreed.
// Limits:  message_bytes_max of one message, after inflating; fragments without a byte in them are
//          counted, up to kEmptyFragmentsMax in a message.
// Fails:   with the code that the Close is to say and a sentence; for good.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "sidecar/websocket/close_code.h"
#include "sidecar/websocket/frame.h"
#include "sidecar/websocket/inflater.h"
#include "sidecar/websocket/utf8_stream.h"

namespace catzilla::websocket {

class MessageDecoder {
 public:
  static constexpr uint32_t kEmptyFragmentsMax = 1024;

  enum class Event : uint8_t {
    kNothing,   // Nothing to tell yet. If input is left, call again with it.
    kNeedRoom,  // `out` was empty, and something is to go there.
    kPiece,     // Of a message.
    kPing,
    kPong,
    kClose,  // The last: the peer sends nothing behind it.
    kError,
  };
  struct Step {
    Event event = Event::kNothing;
    size_t consumed = 0;  // Of the input.
    // kPing, kPong: theirs. kClose: the reason. Until the next call.
    std::string_view payload;
    Opcode kind = Opcode::kText;  // kPiece: text or binary.
    bool last = false;            // kPiece: the message ends with it.
    uint16_t code = 0;            // kClose: kCloseNoStatus if there was none. kError: for ours.
    std::string_view cause;       // kError: a literal.
  };

  enum class Sender : uint8_t { kClient, kServer };
  explicit MessageDecoder(uint64_t message_bytes_max, Sender sender = Sender::kClient)
      : message_bytes_max_(message_bytes_max), masked_(sender == Sender::kClient) {}

  // permessage-deflate was agreed: RSV1 says that a message is compressed.
  void Inflate(std::unique_ptr<Inflater> inflater) { inflater_ = std::move(inflater); }

  // The next thing that `input` says. A piece has at most out.size() bytes; what is neither masked
  // nor compressed stands in the input and needs no room.
  Step Next(std::string_view input, std::span<char> out);
  // Within a message: pieces of it were given, and its last was not.
  bool in_message() const { return in_message_; }
  // There is more to tell without further input.
  bool has_more() const { return held_back_ || state_ == State::kFlush; }

 private:
  enum class State : uint8_t { kHead, kPayload, kFlush, kOver };

  Step Fail(uint16_t code, std::string_view cause);
  bool TakeHead(std::string_view* input, Step* step);
  const char* CheckHead();  // Null: it is sound.
  Step TakeControl(std::string_view input);
  Step EndControl();
  Step TakePlain(std::string_view input, std::span<char> out);
  Step TakeCompressed(std::string_view input, std::span<char> out);
  Step TakeHeldBack(std::span<char> out);
  Step Piece(size_t consumed, std::string_view payload, bool ends);
  void EndFrame();

  const uint64_t message_bytes_max_;
  const bool masked_;
  std::unique_ptr<Inflater> inflater_;
  Utf8Stream utf8_;
  State state_ = State::kHead;
  // The frame...
  uint8_t head_have_ = 0;
  char head_[kFrameHeadBytesMax];
  char key_[4] = {};
  Opcode opcode_ = Opcode::kContinuation;
  bool last_ = false;
  uint64_t length_ = 0;
  uint64_t taken_ = 0;  // Of its payload.
  uint8_t control_have_ = 0;
  char control_[kControlBytesMax];
  // The message...
  bool in_message_ = false;
  bool compressed_ = false;
  bool held_back_ = false;  // The inflater has more than there was room for.
  Opcode kind_ = Opcode::kText;
  uint64_t message_bytes_ = 0;  // Given so far; without inflating also what the frame announces.
  uint32_t empty_fragments_ = 0;
};

}  // namespace catzilla::websocket
