#include "sidecar/websocket/inflater.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

namespace catzilla::websocket {
namespace {

// What every message's last block is followed by, and the sender has cut off.
constexpr std::string_view kTail("\x00\x00\xff\xff", 4);

}  // namespace

struct Inflater::Stream {
  z_stream z{};
  ~Stream() { inflateEnd(&z); }
};

// zlib cannot do windows of 256 bytes when it deflates; inflating them needs no more than 512.
Inflater::Inflater(int window_bits, bool takeover)
    : window_bits_(std::max(window_bits, 9)), takeover_(takeover) {}

Inflater::~Inflater() = default;

bool Inflater::Begin() {
  if (stream_ != nullptr) return true;
  auto stream = std::make_unique<Stream>();
  if (inflateInit2(&stream->z, -window_bits_) != Z_OK) return false;
  stream_ = std::move(stream);
  return true;
}

// Without takeover nothing is kept from message to message, also no memory.
void Inflater::End() {
  tail_fed_ = 0;
  over_ = false;
  if (!takeover_) stream_.reset();
}

Inflater::Result Inflater::Next(std::string_view input, std::span<char> out) {
  Result result;
  if (!Begin()) return {.ok = false};
  // A block that was marked as the last (RFC 7692 section 7.2.3.4): the next begins anew, with the
  // same window.
  if (over_) {
    if (inflateResetKeep(&stream_->z) != Z_OK) return {.ok = false};
    over_ = false;
  }
  z_stream& z = stream_->z;
  constexpr size_t kMax = std::numeric_limits<uInt>::max();
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
  z.avail_in = static_cast<uInt>(std::min(input.size(), kMax));
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(std::min(out.size(), kMax));
  const uInt had_in = z.avail_in;
  const uInt had_out = z.avail_out;
  const int code = inflate(&z, Z_SYNC_FLUSH);
  result.ok = code == Z_OK || code == Z_BUF_ERROR || code == Z_STREAM_END;
  over_ = code == Z_STREAM_END;
  result.consumed = had_in - z.avail_in;
  result.given = had_out - z.avail_out;
  result.more = z.avail_out == 0 && !over_;
  return result;
}

Inflater::Result Inflater::Flush(std::span<char> out) {
  Result result;
  for (;;) {
    const Result step = Next(kTail.substr(tail_fed_), out.subspan(result.given));
    tail_fed_ += step.consumed;
    result.given += step.given;
    result.ok = step.ok;
    result.more = step.more || tail_fed_ < kTail.size();
    if (!step.ok || !result.more) break;
    if (result.given == out.size() || (step.consumed == 0 && step.given == 0)) break;
  }
  if (result.ok && !result.more) End();
  return result;
}

}  // namespace catzilla::websocket
