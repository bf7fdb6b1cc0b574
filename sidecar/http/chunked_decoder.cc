#include "sidecar/http/chunked_decoder.h"

#include <algorithm>

#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

// Sizes are below 2^60: sums of them cannot overflow what counts a body.
constexpr uint8_t kSizeDigitsMax = 15;

}  // namespace

void ChunkedDecoder::Reset(uint32_t trailer_bytes_max) {
  *this = ChunkedDecoder();
  trailer_left_ = trailer_bytes_max;
}

ChunkedDecoder::Step ChunkedDecoder::Next(std::string_view input) {
  for (size_t i = 0; i < input.size();) {
    if (state_ == State::kData) {
      const size_t bytes = static_cast<size_t>(std::min<uint64_t>(left_, input.size() - i));
      left_ -= bytes;
      if (left_ == 0) state_ = State::kDataCr;
      return {Event::kData, i + bytes, input.substr(i, bytes)};
    }
    const bool fine = in_trailer_ ? Trailer(input[i]) : Frame(input[i]);
    if (!fine) {
      const Event failure = Failure();
      state_ = State::kFailed;
      return {failure, i, {}};
    }
    ++i;
    if (state_ == State::kDone) return {Event::kDone, i, {}};
  }
  return {Event::kNeedMore, input.size(), {}};
}

ChunkedDecoder::Event ChunkedDecoder::Failure() const {
  if (!in_trailer_) return Event::kBadChunk;
  return trailer_left_ == 0 ? Event::kTrailerTooLarge : Event::kBadTrailer;
}

bool ChunkedDecoder::Frame(char c) {
  switch (state_) {
    case State::kSize: {
      const int digit = HexValue(c);
      if (digit >= 0) {
        if (digits_ == kSizeDigitsMax) return false;
        ++digits_;
        left_ = left_ * 16 + static_cast<uint64_t>(digit);
        return true;
      }
      if (digits_ == 0) return false;
      if (c == '\r') {
        state_ = State::kSizeLf;
        return true;
      }
      // What is not understood is ignored (RFC 9112 section 7.1.1). White space before the ';' is
      // old, but legal.
      if (c != ';' && c != ' ' && c != '\t') return false;
      state_ = c == ';' ? State::kExtension : State::kBeforeExtension;
      return TakeExtensionByte();
    }
    case State::kBeforeExtension:
      if (c != ';' && c != ' ' && c != '\t') return false;
      if (c == ';') state_ = State::kExtension;
      return TakeExtensionByte();
    case State::kExtension:
      // It ends at the line's end, quoted or not: CR is allowed nowhere in it, bare LF neither.
      if (c == '\r') {
        state_ = State::kSizeLf;
        return true;
      }
      return IsIn(c, kFieldChar) && TakeExtensionByte();
    case State::kSizeLf:
      if (c != '\n') return false;
      digits_ = 0;
      in_trailer_ = left_ == 0;
      state_ = in_trailer_ ? State::kTrailerStart : State::kData;
      return true;
    case State::kDataCr:
      state_ = State::kDataLf;
      return c == '\r';
    case State::kDataLf:
      state_ = State::kSize;
      return c == '\n';
    default:
      return false;
  }
}

bool ChunkedDecoder::TakeExtensionByte() {
  if (extension_left_ == 0) return false;
  --extension_left_;
  return true;
}

bool ChunkedDecoder::Trailer(char c) {
  const bool ends = state_ == State::kTrailerStart ? c == '\r' : state_ == State::kLastLf;
  if (!ends) {
    if (trailer_left_ == 0) return false;
    --trailer_left_;
  }
  // The budget must not look spent when the byte itself is what is wrong.
  const auto refuse = [this] {
    trailer_left_ = std::max(trailer_left_, 1u);
    return false;
  };
  switch (state_) {
    case State::kTrailerStart:
      if (c == '\r') {
        state_ = State::kLastLf;
        return true;
      }
      state_ = State::kTrailerName;
      return IsIn(c, kTokenChar) || refuse();
    case State::kTrailerName:
      if (c == ':') {
        state_ = State::kTrailerValue;
        return true;
      }
      return IsIn(c, kTokenChar) || refuse();
    case State::kTrailerValue:
      if (c == '\r') {
        state_ = State::kTrailerLf;
        return true;
      }
      return IsIn(c, kFieldChar) || refuse();
    case State::kTrailerLf:
      state_ = State::kTrailerStart;
      return c == '\n' || refuse();
    case State::kLastLf:
      state_ = State::kDone;
      return c == '\n' || refuse();
    default:
      return refuse();
  }
}

}  // namespace catzilla::http
