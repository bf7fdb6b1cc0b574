//   kHead --head complete--> kPayload --all of it--> kHead
//                               \--of a compressed message's last frame--> kFlush --> kHead
//   any --Close, or what may not be--> kOver
#include "sidecar/websocket/message_decoder.h"

#include <algorithm>
#include <cstring>

namespace catzilla::websocket {
namespace {

constexpr uint8_t kFin = 0x80;
constexpr uint8_t kRsv1 = 0x40;
constexpr uint8_t kRsvOthers = 0x30;
constexpr size_t kUnmaskedAtOnce = 4096;  // Of what is compressed.

uint8_t Byte(char c) { return static_cast<uint8_t>(c); }

// How long a head is, as its second byte tells.
size_t HeadBytes(uint8_t second) {
  const uint8_t length = second & 0x7f;
  return 2 + (length == 126 ? 2u : length == 127 ? 8u : 0u) + ((second & 0x80) != 0 ? 4u : 0u);
}

}  // namespace

MessageDecoder::Step MessageDecoder::Fail(uint16_t code, std::string_view cause) {
  state_ = State::kOver;
  Step step;
  step.event = Event::kError;
  step.code = code;
  step.cause = cause;
  return step;
}

MessageDecoder::Step MessageDecoder::Next(std::string_view input, std::span<char> out) {
  Step step;
  if (state_ == State::kOver) {  // What comes behind a Close is dropped.
    step.consumed = input.size();
    return step;
  }
  if (held_back_ && state_ != State::kFlush) {
    // What bytes stand for is told whole before what is behind them, which may be a Ping.
    step = TakeHeldBack(out);
    if (step.event != Event::kNothing) return step;
  }
  const size_t had = input.size();
  if (state_ == State::kHead && !TakeHead(&input, &step)) return step;
  const size_t head = had - input.size();
  if (IsControl(opcode_)) {
    step = TakeControl(input);
  } else {
    step = compressed_ ? TakeCompressed(input, out) : TakePlain(input, out);
  }
  step.consumed += head;
  return step;
}

// False: `step` is the answer. The first two bytes are judged as soon as they are there.
bool MessageDecoder::TakeHead(std::string_view* input, Step* step) {
  const size_t had = input->size();
  size_t needed = head_have_ < 2 ? 2 : HeadBytes(Byte(head_[1]));
  while (head_have_ < needed) {
    if (input->empty()) {
      step->consumed = had;
      return false;
    }
    head_[head_have_++] = input->front();
    input->remove_prefix(1);
    if (head_have_ == 2) {
      needed = HeadBytes(Byte(head_[1]));
      if (const char* why = CheckHead()) {
        *step = Fail(kCloseProtocolError, why);
        return false;
      }
    }
  }
  const uint8_t short_length = Byte(head_[1]) & 0x7f;
  const size_t length_bytes = needed - (masked_ ? 6 : 2);
  length_ = length_bytes == 0 ? short_length : 0;
  for (size_t i = 0; i < length_bytes; ++i) length_ = length_ << 8 | Byte(head_[2 + i]);
  if (masked_) std::memcpy(key_, head_ + needed - 4, sizeof key_);
  head_have_ = 0;
  taken_ = 0;
  if ((length_bytes == 8 && (length_ >> 63) != 0) || (length_bytes == 2 && length_ < 126) ||
      (length_bytes == 8 && length_ <= 0xffff)) {
    *step = Fail(kCloseProtocolError, "a frame's length is not written as shortly as it can be");
    return false;
  }
  if (!IsControl(opcode_)) {
    // What is compressed may be a little longer than what it stands for.
    const uint64_t slack = compressed_ ? message_bytes_max_ / 1024 + 64 : 0;
    const uint64_t left = message_bytes_max_ + slack - std::min(message_bytes_, message_bytes_max_);
    if (length_ > left) {
      *step = Fail(kCloseTooLarge, "a message is larger than websockets.max_message");
      return false;
    }
    if (length_ == 0 && !last_ && ++empty_fragments_ > kEmptyFragmentsMax) {
      *step = Fail(kClosePolicy, "too many empty fragments in a message");
      return false;
    }
  }
  state_ = State::kPayload;
  return true;
}

const char* MessageDecoder::CheckHead() {
  const uint8_t first = Byte(head_[0]);
  const uint8_t second = Byte(head_[1]);
  const bool rsv1 = (first & kRsv1) != 0;
  const uint8_t opcode = first & 0x0f;
  opcode_ = static_cast<Opcode>(opcode);
  last_ = (first & kFin) != 0;
  if ((first & kRsvOthers) != 0 || (rsv1 && inflater_ == nullptr)) {
    return "a reserved bit is set that no extension uses";
  }
  if ((opcode > 2 && opcode < 8) || opcode > 10) return "a frame of a reserved opcode";
  if (((second & 0x80) != 0) != masked_) {
    return masked_ ? "a client's frame is not masked" : "a server's frame is masked";
  }
  if (IsControl(opcode_)) {
    if (rsv1) return "a control frame is compressed";
    if (!last_) return "a control frame is fragmented";
    if ((second & 0x7f) > kControlBytesMax) return "a control frame is longer than 125 bytes";
    control_have_ = 0;
    return nullptr;
  }
  if (opcode_ == Opcode::kContinuation) {
    if (!in_message_) return "a continuation without a message";
    if (rsv1) return "a continuation says that it is compressed";
    return nullptr;
  }
  if (in_message_) return "a message begins within another";
  in_message_ = true;
  compressed_ = rsv1;
  kind_ = opcode_;
  message_bytes_ = 0;
  empty_fragments_ = 0;
  utf8_.Reset();
  return nullptr;
}

void MessageDecoder::EndFrame() { state_ = State::kHead; }

// Control frames...

MessageDecoder::Step MessageDecoder::TakeControl(std::string_view input) {
  const size_t take = std::min<size_t>(length_ - taken_, input.size());
  Mask(key_, taken_, input.substr(0, take), control_ + control_have_);
  control_have_ = static_cast<uint8_t>(control_have_ + take);
  taken_ += take;
  Step step;
  if (taken_ == length_) step = EndControl();
  step.consumed = take;
  return step;
}

MessageDecoder::Step MessageDecoder::EndControl() {
  EndFrame();
  Step step;
  step.payload = {control_, control_have_};
  if (opcode_ != Opcode::kClose) {
    step.event = opcode_ == Opcode::kPing ? Event::kPing : Event::kPong;
    return step;
  }
  step.event = Event::kClose;
  step.code = kCloseNoStatus;
  if (control_have_ > 0) {
    if (control_have_ == 1) return Fail(kCloseProtocolError, "a Close carries half a code");
    step.code = static_cast<uint16_t>(Byte(control_[0]) << 8 | Byte(control_[1]));
    step.payload.remove_prefix(2);
    if (!IsCloseCode(step.code)) return Fail(kCloseProtocolError, "a Close says a reserved code");
    Utf8Stream reason;
    if (!reason.Add(step.payload) || !reason.complete()) {
      return Fail(kCloseInvalidData, "a Close's reason is not UTF-8");
    }
  }
  state_ = State::kOver;
  return step;
}

// Messages...

MessageDecoder::Step MessageDecoder::TakePlain(std::string_view input, std::span<char> out) {
  const uint64_t left = length_ - taken_;
  const uint64_t room = masked_ ? out.size() : UINT64_MAX;
  const size_t take = static_cast<size_t>(std::min({left, uint64_t{input.size()}, room}));
  if (take < left && take == 0) {
    Step step;
    if (!input.empty()) step.event = Event::kNeedRoom;
    return step;
  }
  std::string_view payload = input.substr(0, take);
  if (masked_) {
    Mask(key_, taken_, payload, out.data());
    payload = {out.data(), take};
  }
  taken_ += take;
  const bool frame_ends = taken_ == length_;
  if (frame_ends) EndFrame();
  return Piece(take, payload, frame_ends && last_);
}

MessageDecoder::Step MessageDecoder::TakeCompressed(std::string_view input, std::span<char> out) {
  size_t consumed = 0;
  size_t given = 0;
  const auto so_far = [&] {
    Step step = Piece(consumed, {out.data(), given}, false);
    step.consumed = consumed;
    return step;
  };
  while (state_ == State::kPayload) {
    const uint64_t left = length_ - taken_;
    char plain[kUnmaskedAtOnce];
    const size_t take = static_cast<size_t>(
        std::min({left, uint64_t{input.size() - consumed}, uint64_t{sizeof plain}}));
    if (take == 0 && left > 0) return so_far();
    if (take > 0 && given == out.size()) {
      if (given > 0) return so_far();
      Step step;
      step.event = Event::kNeedRoom;
      step.consumed = consumed;
      return step;
    }
    Mask(key_, taken_, input.substr(consumed, take), plain);
    const Inflater::Result result = inflater_->Next({plain, take}, out.subspan(given));
    if (!result.ok) return Fail(kCloseInvalidData, "a compressed message does not inflate");
    consumed += result.consumed;
    taken_ += result.consumed;
    given += result.given;
    held_back_ = result.more;
    if (taken_ == length_) state_ = last_ ? State::kFlush : State::kHead;
  }
  if (state_ == State::kHead) return so_far();
  if (given == out.size() && given > 0) return so_far();
  const Inflater::Result result = inflater_->Flush(out.subspan(given));
  if (!result.ok) return Fail(kCloseInvalidData, "a compressed message does not inflate");
  given += result.given;
  if (result.more) {
    if (given > 0) return so_far();
    if (!out.empty()) return Fail(kCloseInvalidData, "a compressed message is cut short");
    Step step;
    step.event = Event::kNeedRoom;
    step.consumed = consumed;
    return step;
  }
  EndFrame();
  held_back_ = false;
  Step step = Piece(consumed, {out.data(), given}, true);
  step.consumed = consumed;
  return step;
}

// What the inflater made of its bytes and found no room for. kNothing: that was all.
MessageDecoder::Step MessageDecoder::TakeHeldBack(std::span<char> out) {
  Step step;
  if (out.empty()) {
    step.event = Event::kNeedRoom;
    return step;
  }
  const Inflater::Result result = inflater_->Next({}, out);
  if (!result.ok) return Fail(kCloseInvalidData, "a compressed message does not inflate");
  held_back_ = result.more;
  return Piece(0, {out.data(), result.given}, false);
}

MessageDecoder::Step MessageDecoder::Piece(size_t consumed, std::string_view payload, bool ends) {
  Step step;
  step.consumed = consumed;
  message_bytes_ += payload.size();
  if (message_bytes_ > message_bytes_max_) {
    return Fail(kCloseTooLarge, "a message is larger than websockets.max_message");
  }
  if (kind_ == Opcode::kText && (!utf8_.Add(payload) || (ends && !utf8_.complete()))) {
    return Fail(kCloseInvalidData, "a text message is not UTF-8");
  }
  if (ends) in_message_ = false;
  if (payload.empty() && !ends) return step;  // An empty fragment.
  step.event = Event::kPiece;
  step.payload = payload;
  step.kind = kind_;
  step.last = ends;
  return step;
}

}  // namespace catzilla::websocket
