// The chunked transfer coding, strictly: no bare LF, no sizes past 2^63; extensions are skipped,
// trailers checked and dropped. For requests, and for what an HTTP upstream answers.
//
//   kSize [-> kExtension] -> kSizeLf -> kData -> kDataCr -> kDataLf -> kSize
//                   \-> kTrailer ... -> kDone
//
// Threads: any, one at a time. Owns: nothing; data are views into the input.
// Limits:  trailer_bytes_max for the trailer section, kExtensionBytesMax for the extensions of all
//          chunks together. Fails: with kBadChunk, kBadTrailer or kTrailerTooLarge, for good.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace catzilla::http {

class ChunkedDecoder {
 public:
  enum class Event : uint8_t {
    kNeedMore,
    kData,  // `data` is a part of the input.
    kDone,  // The last byte of the body is consumed.
    kBadChunk,
    kBadTrailer,
    kTrailerTooLarge,
  };
  struct Step {
    Event event = Event::kNeedMore;
    size_t consumed = 0;
    std::string_view data;
  };

  void Reset(uint32_t trailer_bytes_max);
  Step Next(std::string_view input);

  // Bytes that the current chunk still owes: known before they arrive, to refuse them in time.
  uint64_t chunk_left() const { return state_ == State::kData ? left_ : 0; }

  static constexpr uint16_t kExtensionBytesMax = 4096;

 private:
  enum class State : uint8_t {
    kSize,
    kBeforeExtension,  // White space before a ';'.
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailerStart,  // At the beginning of a trailer line.
    kTrailerName,
    kTrailerValue,
    kTrailerLf,
    kLastLf,
    kDone,
    kFailed,
  };

  // One byte of a size or of a line's end; false: malformed.
  bool Frame(char c);
  bool TakeExtensionByte();
  bool Trailer(char c);
  Event Failure() const;

  uint64_t left_ = 0;
  uint32_t trailer_left_ = 0;
  State state_ = State::kSize;
  uint8_t digits_ = 0;
  uint16_t extension_left_ = kExtensionBytesMax;
  bool in_trailer_ = false;
};

}  // namespace catzilla::http
