#include "sidecar/websocket/deflater.h"

#include <zlib.h>

#include "sidecar/base/check.h"

namespace catzilla::websocket {
namespace {

// Fast: the loop does it itself, at most one frame of the link at a time.
constexpr int kLevel = 1;
constexpr int kMemoryLevel = 8;
constexpr size_t kTailBytes = 4;  // 00 00 ff ff, which every message leaves out.

}  // namespace

struct Deflater::Stream {
  z_stream z{};
  ~Stream() { deflateEnd(&z); }
};

Deflater::Deflater() = default;
Deflater::~Deflater() = default;

std::string_view Deflater::Piece(std::string_view piece, bool last, int window_bits) {
  std::unique_ptr<Stream>& stream = streams_[static_cast<size_t>(window_bits)];
  if (stream == nullptr) {
    stream = std::make_unique<Stream>();
    CATZILLA_CHECK(deflateInit2(&stream->z, kLevel, Z_DEFLATED, -window_bits, kMemoryLevel,
                                Z_DEFAULT_STRATEGY) == Z_OK,
                   "zlib has no memory");
  } else {
    deflateReset(&stream->z);
  }
  z_stream& z = stream->z;
  out_.resize(deflateBound(&z, static_cast<uLong>(piece.size())) + 16);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
  z.avail_in = static_cast<uInt>(piece.size());
  z.next_out = reinterpret_cast<Bytef*>(out_.data());
  z.avail_out = static_cast<uInt>(out_.size());
  deflate(&z, Z_SYNC_FLUSH);
  CATZILLA_CHECK(z.avail_in == 0 && z.avail_out > 0, "deflateBound() has promised enough");
  const size_t bytes = out_.size() - z.avail_out;
  // An empty piece flushes to nothing at all: its block is what a last one of no bytes looks like.
  if (bytes < kTailBytes) return last ? std::string_view("\0", 1) : std::string_view();
  return std::string_view(out_).substr(0, last ? bytes - kTailBytes : bytes);
}

}  // namespace catzilla::websocket
