// The response parser, fed whole and fed in pieces: both must see the same answers and the same
// refusal, and nobody may look past what was fed (each piece is a heap block of its own).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "sidecar/base/check.h"
#include "sidecar/http/response_parser.h"
#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

using Event = ResponseParser::Event;

class Reader {
 public:
  Reader(bool head_request, const ResponseLimits& limits)
      : head_request_(head_request), limits_(limits) {
    parser_.Begin(head_request_, limits_);
  }

  void Feed(std::string_view bytes) {
    while (!failed_ && (!bytes.empty() || parser_.at_end())) {
      const std::unique_ptr<char[]> block(new char[bytes.size()]);
      bytes.copy(block.get(), bytes.size());
      const std::string_view input(block.get(), bytes.size());
      const ResponseParser::Step step = parser_.Next(input);
      CATZILLA_CHECK(step.consumed <= bytes.size(), "more was consumed than fed");
      Take(step);
      bytes.remove_prefix(step.consumed);
      if (step.event != Event::kNeedMore) continue;
      CATZILLA_CHECK(bytes.empty(), "bytes were left without need");
    }
  }
  std::string Close() {
    if (!failed_ && !parser_.idle()) Take(parser_.Close());
    return std::move(trace_);
  }

 private:
  void Take(const ResponseParser::Step& step) {
    switch (step.event) {
      case Event::kNeedMore:
        return;
      case Event::kInformational:
      case Event::kHead:
        trace_ += std::to_string(parser_.head().status) + "|";
        CATZILLA_CHECK(parser_.head().fields.size() <= limits_.fields_max, "too many fields");
        for (const Field& field : parser_.head().fields) {
          CATZILLA_CHECK(IsToken(field.name) && AllIn(field.value, kFieldChar),
                         "a field is not fit to be sent");
          trace_.append(field.name).append("=").append(field.value).append("|");
        }
        return;
      case Event::kBody:
        CATZILLA_CHECK(!step.body.empty(), "a body without bytes");
        trace_ += step.body;
        return;
      case Event::kEnd:
        trace_ += parser_.reusable() ? "<stays>" : "<ends>";
        if (parser_.reusable()) parser_.Begin(head_request_, limits_);
        return;
      case Event::kError:
        failed_ = true;
        trace_ += NameOf(step.error);
        return;
    }
  }

  const bool head_request_;
  const ResponseLimits limits_;
  ResponseParser parser_;
  bool failed_ = false;
  std::string trace_;
};

}  // namespace
}  // namespace catzilla::http

// The first byte says how it is cut, and whether the request was HEAD.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using catzilla::http::Reader;
  if (size == 0) return 0;
  const bool head_request = (data[0] & 1) != 0;
  const size_t piece = 1 + (data[0] >> 1) % 32;
  catzilla::http::ResponseLimits limits;
  limits.head_bytes_max = 512;
  limits.fields_max = 16;
  limits.informational_max = 4;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Reader whole(head_request, limits);
  whole.Feed(bytes);
  Reader pieces(head_request, limits);
  for (size_t at = 0; at < bytes.size(); at += piece) pieces.Feed(bytes.substr(at, piece));
  CATZILLA_CHECK(whole.Close() == pieces.Close(), "how an answer is cut makes a difference");
  return 0;
}
