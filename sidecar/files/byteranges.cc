#include "sidecar/files/byteranges.h"

#include <array>
#include <charconv>
#include <cstdint>

#include "sidecar/base/check.h"
#include "sidecar/base/random.h"

namespace catzilla::files {

namespace {

constexpr size_t kBoundaryBits = 128;
using Boundary = std::array<char, kBoundaryBits / 4>;

// Letters and digits alone, so that it needs no quotes: some clients do not take them.
Boundary NewBoundary() {
  constexpr char kDigits[] = "0123456789abcdef";
  std::array<unsigned char, kBoundaryBits / 8> random;
  base::FillRandom(random.data(), random.size());
  Boundary boundary;
  for (size_t i = 0; i < random.size(); ++i) {
    boundary[2 * i] = kDigits[random[i] >> 4];
    boundary[2 * i + 1] = kDigits[random[i] & 15];
  }
  return boundary;
}

}  // namespace

bool RespondWithParts(Entry& entry, const http::RangeSet& set, AnswerScratch& scratch,
                      Answer* answer) {
  CATZILLA_CHECK(set.count > 1, "one range has no parts");
  // Content-Encoding in the head would say that the multipart body itself is coded, and clients
  // would decode it.
  if (entry.coding() != http::Coding::kIdentity) return false;
  const Boundary random = NewBoundary();
  const std::string_view boundary(random.data(), random.size());

  // First the lines of all parts, for the head tells the length. Views come when `text` has grown.
  std::string& text = scratch.text;
  text.clear();
  std::array<size_t, http::kRangesMax + 2> begins;
  uint64_t file_bytes = 0;
  for (size_t i = 0; i < set.count; ++i) {
    const http::ByteRange& range = set.ranges[i];
    begins[i] = text.size();
    // The line end before a delimiter belongs to the delimiter, not to the bytes before it.
    if (i > 0) text.append("\r\n");
    text.append("--").append(boundary).append("\r\n").append(entry.type_line());
    char content_range[http::kContentRangeBytesMax];
    const size_t bytes = http::WriteContentRange(range, entry.size(), content_range);
    text.append("Content-Range: ").append(content_range, bytes).append("\r\n\r\n");
    file_bytes += range.length;
  }
  begins[set.count] = text.size();
  text.append("\r\n--").append(boundary).append("--\r\n");
  const size_t head_begin = begins[set.count + 1] = text.size();
  const uint64_t body_bytes = text.size() + file_bytes;
  if (body_bytes >= entry.size()) return false;

  char digits[20];
  const auto digits_end = std::to_chars(digits, digits + sizeof(digits), body_bytes).ptr;
  text.append(entry.head_206_without_type());
  text.append("Content-Type: multipart/byteranges; boundary=").append(boundary);
  text.append("\r\nContent-Length: ").append(digits, digits_end - digits).append("\r\n\r\n");

  const std::string_view all = text;
  for (size_t i = 0; i <= set.count; ++i) {
    AnswerPart& part = scratch.parts[i] = {};
    part.lines = all.substr(begins[i], begins[i + 1] - begins[i]);
    if (i == set.count) break;
    const http::ByteRange& range = set.ranges[i];
    if (entry.in_memory()) {
      part.body = entry.body().substr(range.first, range.length);
    } else {
      part.offset = range.first;
      part.file_bytes = range.length;
    }
  }
  answer->status = 206;
  answer->entry = &entry;
  answer->head = all.substr(head_begin, all.size() - head_begin - 2);
  answer->date_offset = entry.date_offset_206();
  answer->fd = entry.fd();
  answer->body_bytes = body_bytes;
  answer->parts = {scratch.parts.data(), set.count + 1};
  return true;
}

}  // namespace catzilla::files
