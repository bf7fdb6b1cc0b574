// The loader's way to a file's variants in other content codings: what a deploy has put beside it,
// and what we compress ourselves.
#include <algorithm>

#include "sidecar/files/codings.h"
#include "sidecar/files/loader.h"
#include "sidecar/files/mime.h"
#include "sidecar/files/read_file.h"

namespace catzilla::files {

namespace {
constexpr http::Coding kCodings[] = {http::Coding::kGzip, http::Coding::kBrotli,
                                     http::Coding::kZstd};
}  // namespace

Opened Loader::OpenSibling(std::string_view name, http::Coding coding, const FileIdentity& original,
                           const base::Now& now) {
  const auto& served = config_->precompressed;
  if (std::find(served.begin(), served.end(), http::CodingName(coding)) == served.end()) return {};
  const std::string path = std::string(name).append(SiblingSuffix(coding));
  if (!rules_.AllowsPath(path)) return {};
  base::Result<Opened, int> opened = resolver_.Open(path, now.monotonic_us, config_->revalidate_us);
  if (!opened || !S_ISREG(opened->status.st_mode)) return {};
  if (!rules_.AllowsSize(static_cast<uint64_t>(opened->status.st_size))) return {};
  // Older than the original: left behind by an earlier deploy.
  if (FileIdentity::Of(opened->status).modified_ns < original.modified_ns) return {};
  return std::move(*opened);
}

bool Loader::SameSiblings(std::string_view name, const Entry& known, const base::Now& now) {
  if (config_->precompressed.empty()) return true;
  for (const http::Coding coding : kCodings) {
    const Entry* variant = known.variant(coding);
    // What we compressed ourselves has no inode.
    if (variant != nullptr && variant->identity().inode == 0) variant = nullptr;
    const Opened opened = OpenSibling(name, coding, known.identity(), now);
    if (static_cast<bool>(opened.fd) != (variant != nullptr)) return false;
    if (variant != nullptr && !(variant->identity() == FileIdentity::Of(opened.status))) {
      return false;
    }
  }
  return true;
}

void Loader::AddVariants(EntryParts& parts, std::string_view name, const base::Now& now) {
  const bool compress = config_->gzip_level > 0 && parts.in_memory &&
                        parts.identity.size >= config_->gzip_bytes_min &&
                        rules_.Compresses(MimeType(name, config_->mime_types));
  parts.varies = compress || !config_->precompressed.empty();
  if (!parts.varies) return;
  for (const http::Coding coding : kCodings) {
    Opened opened = OpenSibling(name, coding, parts.identity, now);
    if (!opened.fd) continue;
    const FileIdentity identity = FileIdentity::Of(opened.status);
    if (now.wall_us * 1000 - identity.changed_ns < kRacyNs) parts.racy = true;
    base::Ref<Entry> variant = Sibling(parts, name, coding, std::move(opened), now);
    if (!variant) parts.racy = true;  // Rewritten meanwhile, perhaps: look again.
    parts.variants[static_cast<size_t>(coding)] = std::move(variant);
  }
  base::Ref<Entry>& gzip = parts.variants[static_cast<size_t>(http::Coding::kGzip)];
  if (compress && !gzip) gzip = Gzipped(parts, name, now);
}

base::Ref<Entry> Loader::Sibling(const EntryParts& original, std::string_view name,
                                 http::Coding coding, Opened opened, const base::Now& now) const {
  EntryParts parts;
  parts.path = original.path;
  parts.varies = true;
  parts.coding = coding;
  parts.identity = FileIdentity::Of(opened.status);
  std::string body, etag;
  if (parts.identity.size > config_->cache_file_bytes_max) {
    parts.fd = opened.fd.get();
    etag = StatusTag(parts.identity, TagSuffix(coding));
  } else {
    struct stat after;
    if (ReadWhole(opened.fd.get(), parts.identity.size, &body) != 0 ||
        fstat(opened.fd.get(), &after) != 0 || !(FileIdentity::Of(after) == parts.identity)) {
      return nullptr;
    }
    parts.in_memory = true;
    parts.body = body;
    etag = ContentTag(body, TagSuffix(coding));
  }
  OpenResult result = Build(parts, name, config_->etags ? etag : "", now);
  if (result.entry && parts.fd >= 0) (void)opened.fd.Release();
  return std::move(result.entry);
}

base::Ref<Entry> Loader::Gzipped(const EntryParts& original, std::string_view name,
                                 const base::Now& now) const {
  const std::string body = GzipWhole(original.body, config_->gzip_level);
  stats_->AddShared(Counter::kCompressedIn, static_cast<int64_t>(original.body.size()));
  stats_->AddShared(Counter::kCompressedOut, static_cast<int64_t>(body.size()));
  if (body.empty()) return nullptr;  // Not smaller: the entry without it remembers that.
  EntryParts parts;
  parts.path = original.path;
  parts.varies = true;
  parts.coding = http::Coding::kGzip;
  parts.identity = original.identity;
  parts.identity.inode = 0;
  parts.identity.size = body.size();
  parts.in_memory = true;
  parts.body = body;
  // Of the coded bytes: another zlib may make others of the same file.
  const std::string etag = ContentTag(body, TagSuffix(http::Coding::kGzip));
  return Build(parts, name, config_->etags ? etag : "", now).entry;
}

}  // namespace catzilla::files
