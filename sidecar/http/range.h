// Byte ranges (RFC 9110 section 14). Pure; any thread; allocates nothing.
//
// Limits: kRangesMax ranges after joining those that overlap or nearly touch, kRangeSpecsMax
// before; more, or ranges that sum past the size, get the whole representation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace catzilla::http {

inline constexpr size_t kRangesMax = 16;
inline constexpr size_t kRangeSpecsMax = 64;
// Two parts cost about this much more than the bytes between them.
inline constexpr uint64_t kRangeGapBytes = 80;

struct ByteRange {
  uint64_t first = 0;
  uint64_t length = 0;  // Never 0.
  uint64_t last() const { return first + length - 1; }
  bool operator==(const ByteRange&) const = default;
};

struct RangeSet {
  enum class Kind : uint8_t {
    kWhole,          // 200: no ranges, not bytes, malformed, or too many.
    kPartial,        // 206 with `count` ranges.
    kUnsatisfiable,  // 416 with Content-Range: bytes */size.
  };
  Kind kind = Kind::kWhole;
  size_t count = 0;
  std::array<ByteRange, kRangesMax> ranges;  // In the order asked for, unless some were joined.
};

// `value` is the Range field's. Only for GET: the caller asks nothing for other methods.
RangeSet ParseRange(std::string_view value, uint64_t size);

// "bytes 0-99/1234" into `out`; returns its length.
inline constexpr size_t kContentRangeBytesMax = 70;
size_t WriteContentRange(const ByteRange& range, uint64_t size, char* out);
// "bytes */1234"
size_t WriteUnsatisfiedRange(uint64_t size, char* out);

}  // namespace catzilla::http
