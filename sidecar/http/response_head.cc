#include "sidecar/http/response_head.h"

#include <charconv>

#include "sidecar/http/http_date.h"
#include "sidecar/http/text.h"

namespace catzilla::http {

void ResponseWriter::Status(uint16_t status) {
  const std::string_view line = StatusLine(status);
  if (!line.empty()) {
    Append(line);
    return;
  }
  char text[] = "HTTP/1.1 000 \r\n";
  for (int i = 11; i >= 9; --i, status /= 10) text[i] = static_cast<char>('0' + status % 10);
  Append({text, sizeof(text) - 1});
}

bool IsSafeField(std::string_view name, std::string_view value) {
  return IsToken(name) && (value.empty() || AllIn(value, kFieldChar));
}

bool ResponseWriter::Field(std::string_view name, std::string_view value) {
  if (!IsSafeField(name, value)) return false;
  const size_t bytes = name.size() + value.size() + 4;
  if (bytes > static_cast<size_t>(end_ - next_)) {
    ok_ = false;
    end_ = next_;
    return true;
  }
  std::memcpy(next_, name.data(), name.size());
  next_ += name.size();
  *next_++ = ':';
  *next_++ = ' ';
  if (!value.empty()) std::memcpy(next_, value.data(), value.size());
  next_ += value.size();
  *next_++ = '\r';
  *next_++ = '\n';
  return true;
}

void ResponseWriter::Field(std::string_view name, uint64_t value) {
  char digits[20];
  const auto written = std::to_chars(digits, digits + sizeof(digits), value);
  Field(name, std::string_view(digits, static_cast<size_t>(written.ptr - digits)));
}

void ResponseWriter::Date(std::string_view date) { Field("Date", date); }

void ResponseWriter::Connection(bool keep_alive, int minor_version) {
  if (!keep_alive) {
    Append("Connection: close\r\n");
  } else if (minor_version == 0) {
    Append("Connection: keep-alive\r\n");
  }
}

ResponseFraming FramingOf(Method method, int minor_version, uint16_t status, bool length_known) {
  if (method == Method::kHead || !StatusHasBody(status)) return ResponseFraming::kNone;
  if (length_known) return ResponseFraming::kLength;
  return minor_version == 0 ? ResponseFraming::kClose : ResponseFraming::kChunked;
}

void DateCache::Format(int64_t wall_s) {
  WriteHttpDate(wall_s, text_);
  second_ = wall_s;
}

size_t WriteChunkHead(uint64_t bytes, char* out) {
  const auto written = std::to_chars(out, out + 16, bytes, 16);
  written.ptr[0] = '\r';
  written.ptr[1] = '\n';
  return static_cast<size_t>(written.ptr + 2 - out);
}

}  // namespace catzilla::http
