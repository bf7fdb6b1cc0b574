// The request parser, fed whole and fed in pieces: both must see the same requests, bodies and
// refusal, and nobody may look past what was fed (each piece is a heap block of its own).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/base/check.h"
#include "sidecar/http/request_parser.h"

namespace catzilla::http {
namespace {

class Feeder {
 public:
  explicit Feeder(const HeadLimits& limits) : limits_(limits) {}

  void Feed(std::string_view bytes) {
    pending_ += bytes;
    size_t at = 0;
    while (!failed_) {
      if (fresh_) {
        parser_.Begin(&buffer_, limits_);
        fresh_ = false;
      }
      const size_t size = pending_.size() - at;
      if (size == 0 && !parser_.at_end()) break;
      const std::unique_ptr<char[]> block(new char[size]);
      pending_.copy(block.get(), size, at);
      const std::string_view input(block.get(), size);
      const RequestParser::Step step = parser_.Next(input);
      CATZILLA_CHECK(step.consumed <= size, "more was consumed than fed");
      at += step.consumed;
      Take(step, input);
      if (step.event == RequestParser::Event::kNeedMore) {
        CATZILLA_CHECK(step.consumed == size, "bytes were left without need");
        break;
      }
    }
    pending_.erase(0, at);
  }

  const std::string& trace() const { return trace_; }

 private:
  void Take(const RequestParser::Step& step, std::string_view input) {
    switch (step.event) {
      case RequestParser::Event::kNeedMore:
        break;
      case RequestParser::Event::kHead:
        TakeHead(buffer_.head());
        break;
      case RequestParser::Event::kBody:
        CATZILLA_CHECK(!step.body.empty() && step.body.data() >= input.data() &&
                           step.body.data() + step.body.size() <= input.data() + input.size(),
                       "a body outside its input");
        trace_ += step.body;
        break;
      case RequestParser::Event::kEnd:
        trace_ += "\n<end>\n";
        fresh_ = true;
        break;
      case RequestParser::Event::kError:
        CATZILLA_CHECK(step.status >= 400 && step.status < 600, "a refusal without status");
        trace_.append("\n<").append(NameOf(step.error)).append(">\n");
        failed_ = true;
        break;
    }
  }

  void TakeHead(RequestHead& head) {
    if (head.field_count() % 2 == 1) head.Pin();  // Pinned or not, it says the same.
    const auto add = [this](std::string_view text) { trace_.append(text).append("|"); };
    add(head.method_text());
    add(head.target());
    add(head.path());
    add(head.query_with_mark());
    add(head.host());
    add(head.authority());
    add(std::to_string(head.port()));
    add(std::to_string(head.content_length()));
    add(head.keep_alive() ? "keep" : "close");
    for (size_t i = 0; i < head.field_count(); ++i) {
      add(head.name(i));
      add(head.value(i));
      for (const char c : head.value(i)) {
        CATZILLA_CHECK(IsIn(c, kFieldChar), "a control byte in a value");
      }
      CATZILLA_CHECK(IsToken(head.name(i)), "a name that is no token");
      CATZILLA_CHECK(Trim(head.value(i)) == head.value(i), "a value with white space around it");
    }
    CATZILLA_CHECK(head.minor_version() == 0 || head.Count(HeaderId::kHost) == 1,
                   "1.1 without Host");
    CATZILLA_CHECK(!(head.Has(HeaderId::kContentLength) && head.Has(HeaderId::kTransferEncoding)),
                   "two lengths");
    CATZILLA_CHECK(head.bytes().size() <= limits_.head_bytes_max, "a head past its limit");
    fresh_ = !head.has_body();
    if (!fresh_) parser_.LimitBody(1 << 20);
  }

  const HeadLimits limits_;
  RequestParser parser_;
  HeadBuffer buffer_;
  bool fresh_ = true;
  bool failed_ = false;
  std::string pending_;
  std::string trace_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t cut_at = data[0];
  const size_t stride = data[1] % 16;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  HeadLimits limits;
  if (data[1] >= 128) limits = {64, 256, 6};  // Limits are met in the small.

  Feeder whole(limits);
  whole.Feed(bytes);
  Feeder pieces(limits);
  for (size_t at = 0; at < bytes.size();) {
    const size_t piece = at == 0 ? cut_at : stride;
    pieces.Feed(bytes.substr(at, piece == 0 ? bytes.size() : piece));
    at += piece == 0 ? bytes.size() : piece;
  }
  CATZILLA_CHECK(whole.trace() == pieces.trace(), "cut into pieces, it is another request");
  return 0;
}

}  // namespace catzilla::http
