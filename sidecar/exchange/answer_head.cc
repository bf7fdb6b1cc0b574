#include "sidecar/exchange/answer_head.h"

#include <cstdio>
#include <ctime>

namespace catzilla::exchange {
namespace {

constexpr size_t kOwnBytesMax = 4 * 1024;
constexpr size_t kFieldsInChunk = http::OutputQueue::kChunkBytes - kOwnBytesMax;

}  // namespace

AnswerHead::AnswerHead(Context& context, const http::RequestHead& request,
                       const HeadOptions& options, http::OutputQueue& output)
    : output_(output),
      large_(options.fields_bytes <= kFieldsInChunk
                 ? nullptr
                 : new char[options.fields_bytes + kOwnBytesMax]),
      writer_(large_ == nullptr
                  ? http::ResponseWriter(output.Reserve(http::OutputQueue::kChunkBytes),
                                         http::OutputQueue::kChunkBytes)
                  : http::ResponseWriter(large_.get(), options.fields_bytes + kOwnBytesMax)) {
  writer_.Status(options.status);
  if (options.date) writer_.Date(context.date.Get(context.now().wall_s()));
  const std::string& server = context.plan->snapshot->server_name;
  if (options.server && !server.empty()) writer_.Field("Server", server);
  if (options.connection) writer_.Connection(!options.close, request.minor_version());
}

bool AnswerHead::Finish() {
  if (!writer_.End()) return false;
  if (large_ == nullptr) {
    output_.Commit(writer_.size());
  } else {
    output_.Append(writer_.bytes());
  }
  return true;
}

std::string_view FormatLogTime(int64_t wall_us, char (&out)[40]) {
  const std::time_t seconds = static_cast<std::time_t>(wall_us / 1'000'000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  const int length =
      std::snprintf(out, sizeof(out), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", parts.tm_year + 1900,
                    parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                    static_cast<int>(wall_us % 1'000'000));
  return {out, static_cast<size_t>(length)};
}

}  // namespace catzilla::exchange
