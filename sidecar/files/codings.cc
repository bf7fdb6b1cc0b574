#include "sidecar/files/codings.h"

#include <zlib.h>

#include <algorithm>

#include "sidecar/http/text.h"

namespace catzilla::files {

std::string_view SiblingSuffix(http::Coding coding) {
  static constexpr std::string_view kSuffixes[] = {"", ".gz", ".br", ".zst"};
  return kSuffixes[static_cast<size_t>(coding)];
}

std::string_view TagSuffix(http::Coding coding) {
  static constexpr std::string_view kSuffixes[] = {"", "-gz", "-br", "-zst"};
  return kSuffixes[static_cast<size_t>(coding)];
}

bool IsCompressibleType(std::string_view type) {
  type = http::Trim(type.substr(0, type.find(';')));
  if (type.starts_with("text/") || type.ends_with("+xml") || type.ends_with("+json")) return true;
  static constexpr std::string_view kTypes[] = {"application/javascript",
                                                "application/json",
                                                "application/wasm",
                                                "application/xml",
                                                "image/bmp",
                                                "image/x-icon",
                                                "font/ttf",
                                                "font/otf"};
  return std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
}

std::string GzipWhole(std::string_view bytes, int level) {
  z_stream stream{};
  constexpr int kGzipWindow = 15 + 16;
  if (deflateInit2(&stream, level, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return {};
  }
  // What does not fit is not worth its place in memory.
  std::string out(bytes.size() - bytes.size() / 16, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const bool done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
  out.resize(done ? stream.total_out : 0);
  deflateEnd(&stream);
  return out;
}

Entry& SelectVariant(Entry& entry, const http::RequestHead& request) {
  if (!entry.has_variants() || !request.Has(http::HeaderId::kAcceptEncoding)) return entry;
  const http::AcceptEncoding accept(request);
  Entry* best = &entry;
  int best_quality = 0;
  for (const http::Coding coding :
       {http::Coding::kBrotli, http::Coding::kZstd, http::Coding::kGzip}) {
    Entry* variant = entry.variant(coding);
    if (variant == nullptr || accept.Quality(coding) <= best_quality) continue;
    best = variant;
    best_quality = accept.Quality(coding);
  }
  return accept.Quality(http::Coding::kIdentity) > best_quality ? entry : *best;
}

}  // namespace catzilla::files
