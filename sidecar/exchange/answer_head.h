// Writing the head of an answer that is not a prepared one, into the output.
//
// Threads: the loop's. Owns: nothing; the head is committed to the output by Finish().
// Limits:  kOwnBytesMax for what the sidecar says, beside HeadOptions::fields_bytes; the worker
// room
//          lets no app's head through that is larger than limits.max_response_header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "sidecar/exchange/context.h"
#include "sidecar/http/output_queue.h"
#include "sidecar/http/request_head.h"
#include "sidecar/http/response_head.h"

namespace catzilla::exchange {

struct HeadOptions {
  uint16_t status = 200;
  bool close = false;  // The connection ends with this answer.
  bool date = true;    // Unless the source has one.
  bool server = true;
  bool connection = true;
  size_t fields_bytes = 0;  // What an app's fields take, where they may be many.
};

class AnswerHead {
 public:
  AnswerHead(Context& context, const http::RequestHead& request, const HeadOptions& options,
             http::OutputQueue& output);

  bool Field(std::string_view name, std::string_view value) { return writer_.Field(name, value); }
  void Lines(std::string_view lines) { writer_.Lines(lines); }
  void Length(uint64_t bytes) { writer_.Field("Content-Length", bytes); }
  void RetryAfter(uint32_t seconds) { writer_.Field("Retry-After", uint64_t{seconds}); }

  // The empty line, and the head is in the output. False: it did not fit; nothing was added.
  bool Finish();

 private:
  http::OutputQueue& output_;
  std::unique_ptr<char[]> large_;  // What does not fit a chunk is written here first.
  http::ResponseWriter writer_;
};

// "2026-11-21T04:05:06.123456Z" into `out`.
std::string_view FormatLogTime(int64_t wall_us, char (&out)[40]);

}  // namespace catzilla::exchange
