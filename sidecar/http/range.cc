#include "sidecar/http/range.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "sidecar/http/list.h"
#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

enum class Spec : uint8_t { kMalformed, kUnsatisfiable, kWhole, kRange };

// "0-99", "100-", "-5" against `size`.
Spec ParseSpec(std::string_view text, uint64_t size, ByteRange* range) {
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return Spec::kMalformed;
  const std::string_view first_text = text.substr(0, dash);
  const std::string_view last_text = text.substr(dash + 1);
  if (!AllIn(first_text, kDigitChar) || !AllIn(last_text, kDigitChar)) return Spec::kMalformed;
  if (first_text.empty()) {
    if (last_text.empty()) return Spec::kMalformed;
    // A number too large for 64 bits asks for all there is.
    uint64_t suffix = 0;
    if (!ParseDecimal(last_text, &suffix)) suffix = UINT64_MAX;
    if (suffix == 0) return Spec::kUnsatisfiable;
    if (size == 0) return Spec::kWhole;  // Satisfied by the empty whole, which no 206 can express.
    range->length = std::min(suffix, size);
    range->first = size - range->length;
    return Spec::kRange;
  }
  uint64_t first = 0;
  uint64_t last = UINT64_MAX;
  const bool first_fits = ParseDecimal(first_text, &first);
  const bool last_fits = last_text.empty() || ParseDecimal(last_text, &last);
  if (first_fits && last_fits && last < first) return Spec::kMalformed;
  if (!last_fits) last = UINT64_MAX;
  if (!first_fits || first >= size) return Spec::kUnsatisfiable;
  range->first = first;
  range->length = std::min(last, size - 1) - first + 1;
  return Spec::kRange;
}

bool NearlyTouch(const ByteRange& a, const ByteRange& b) {
  const ByteRange& low = a.first <= b.first ? a : b;
  const ByteRange& high = a.first <= b.first ? b : a;
  const uint64_t end = low.first + low.length;
  return high.first <= end || high.first - end <= kRangeGapBytes;
}

// Joins ranges that overlap or nearly touch; if there are any, the rest comes in rising order.
size_t Join(ByteRange* ranges, size_t count) {
  bool any = false;
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = i + 1; j < count; ++j) any = any || NearlyTouch(ranges[i], ranges[j]);
  }
  if (!any) return count;
  std::sort(ranges, ranges + count,
            [](const ByteRange& a, const ByteRange& b) { return a.first < b.first; });
  size_t joined = 0;
  for (size_t i = 1; i < count; ++i) {
    if (NearlyTouch(ranges[joined], ranges[i])) {
      const uint64_t end = std::max(ranges[joined].last(), ranges[i].last()) + 1;
      ranges[joined].length = end - ranges[joined].first;
    } else {
      ranges[++joined] = ranges[i];
    }
  }
  return joined + 1;
}

size_t WriteNumber(uint64_t number, char* out) {
  return static_cast<size_t>(std::to_chars(out, out + 20, number).ptr - out);
}

}  // namespace

RangeSet ParseRange(std::string_view value, uint64_t size) {
  RangeSet set;
  constexpr std::string_view kUnit = "bytes=";
  if (!EqualsLower(value.substr(0, kUnit.size()), kUnit)) return set;
  ListItems items(value.substr(kUnit.size()));
  std::string_view item;
  std::array<ByteRange, kRangeSpecsMax> ranges;
  size_t specs = 0;
  size_t count = 0;
  bool whole = false;
  while (items.Next(&item)) {
    if (++specs > kRangeSpecsMax) return set;
    switch (ParseSpec(item, size, &ranges[count])) {
      case Spec::kMalformed:
        return set;
      case Spec::kWhole:
        whole = true;
        break;
      case Spec::kUnsatisfiable:
        break;
      case Spec::kRange:
        ++count;
        break;
    }
  }
  if (specs == 0 || whole) return set;
  if (count == 0) {
    set.kind = RangeSet::Kind::kUnsatisfiable;
    return set;
  }
  if (count > 1) {
    // Before joining: asking for the same bytes again and again is no request to be cut down.
    uint64_t sum = 0;
    for (size_t i = 0; i < count; ++i) {
      if (ranges[i].length > size - sum) return set;
      sum += ranges[i].length;
    }
    count = Join(ranges.data(), count);
  }
  if (count > kRangesMax) return set;
  set.kind = RangeSet::Kind::kPartial;
  set.count = count;
  std::copy_n(ranges.begin(), count, set.ranges.begin());
  return set;
}

size_t WriteContentRange(const ByteRange& range, uint64_t size, char* out) {
  char* next = out;
  std::memcpy(next, "bytes ", 6);
  next += 6;
  next += WriteNumber(range.first, next);
  *next++ = '-';
  next += WriteNumber(range.last(), next);
  *next++ = '/';
  next += WriteNumber(size, next);
  return static_cast<size_t>(next - out);
}

size_t WriteUnsatisfiedRange(uint64_t size, char* out) {
  std::memcpy(out, "bytes */", 8);
  return 8 + WriteNumber(size, out + 8);
}

}  // namespace catzilla::http
