#include "sidecar/files/loader.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sidecar/files/mime.h"
#include "sidecar/files/path.h"
#include "sidecar/files/read_file.h"
#include "sidecar/http/http_date.h"
#include "sidecar/http/text.h"

namespace catzilla::files {

namespace {

constexpr std::string_view kDateSpace = "Thu, 01 Jan 1970 00:00:00 GMT";

void AppendField(std::string_view name, std::string_view value, std::string& out) {
  out.append(name).append(": ").append(value).append("\r\n");
}

// 404 and 403 may be remembered; our own shortages may not.
bool IsMemorable(uint16_t status) { return status == 404 || status == 403; }

// That a file is empty may be all that its file system can say of any: one byte tells. Of others
// its identity tells.
bool IsAsLong(int fd, uint64_t size) {
  char byte = 0;
  return size > 0 || pread(fd, &byte, 1, 0) == 0;
}

}  // namespace

const char* HeaderProblem(std::string_view name, std::string_view value) {
  if (!http::IsToken(name)) return "the name is not a token (letters, digits, '-')";
  if (!http::AllIn(value, http::kFieldChar)) return "the value has a control byte in it";
  static constexpr std::string_view kOurs[] = {"Accept-Ranges",
                                               "Connection",
                                               "Content-Encoding",
                                               "Content-Length",
                                               "Content-Range",
                                               "Content-Type",
                                               "Date",
                                               "ETag",
                                               "Keep-Alive",
                                               "Last-Modified",
                                               "Server",
                                               "Trailer",
                                               "Transfer-Encoding",
                                               "Upgrade"};
  for (const std::string_view ours : kOurs) {
    if (http::EqualsIgnoringCase(ours, name)) return "the field is written by the sidecar itself";
  }
  return nullptr;
}

struct Loader::Heads {
  std::string head_200, head_206, head_304;
  uint32_t date_offset_200 = 0, date_offset_206 = 0, date_offset_304 = 0;
  uint32_t type_offset_206 = 0;
};

Loader::Loader(std::shared_ptr<const config::Mount> config, std::string server_name,
               uint64_t mount_id, base::Ref<MountStats> stats, ResolveMethod method)
    : config_(std::move(config)),
      server_name_(std::move(server_name)),
      mount_id_(mount_id),
      stats_(std::move(stats)),
      rules_(*config_),
      resolver_(config_->root, config_->symlinks, method) {}

OpenResult Loader::Load(std::string_view key, const base::Now& now, const base::Ref<Entry>& known) {
  std::string path = CollapseSlashes(WithoutJsonKey(key));
  if (!rules_.AllowsPath(path)) return Negative(key, ENOENT, now, known);
  const bool wants_directory = path.empty() ? !key.empty() : path.ends_with('/');
  if (wants_directory) {
    std::string name;
    base::Result<Opened, int> index = OpenIndex(path, now, &name);
    if (!index && config_->directory_listing != config::DirectoryListing::kOff &&
        HttpStatusOf(index.error()) == 404) {
      return List(key, path, now, known);
    }
    if (!index) return Negative(key, index.error(), now, known);
    return File(key, name, std::move(*index), now, known);
  }
  base::Result<Opened, int> opened = resolver_.Open(path, now.monotonic_us, config_->revalidate_us);
  if (!opened) return Negative(key, opened.error(), now, known);
  if (S_ISDIR(opened->status.st_mode)) return Directory(key, now, known);
  if (!rules_.AllowsFile(path, static_cast<uint64_t>(opened->status.st_size))) {
    return Negative(key, ENOENT, now, known);
  }
  return File(key, path, std::move(*opened), now, known);
}

// Finding it...

// The first of the mount's index files that is a file in `directory` ("" or ending with a slash).
base::Result<Opened, int> Loader::OpenIndex(const std::string& directory, const base::Now& now,
                                            std::string* name) {
  int error = ENOENT;
  for (const std::string& index : config_->index_files) {
    *name = directory + index;
    base::Result<Opened, int> opened =
        resolver_.Open(*name, now.monotonic_us, config_->revalidate_us);
    if (opened && S_ISREG(opened->status.st_mode) &&
        rules_.AllowsFile(*name, static_cast<uint64_t>(opened->status.st_size))) {
      return opened;
    }
    if (!opened) error = opened.error();
    if (!opened && HttpStatusOf(error) != 404) break;
  }
  return base::Fail(int{error});
}

OpenResult Loader::Directory(std::string_view key, const base::Now& now,
                             const base::Ref<Entry>& known) {
  if (known && known->kind() == EntryKind::kDirectory) {
    known->SetValidated(now.monotonic_us);
    return {known};
  }
  EntryParts parts;
  parts.kind = EntryKind::kDirectory;
  parts.path = key;
  return Build(parts, {}, {}, now);
}

OpenResult Loader::Negative(std::string_view key, int error, const base::Now& now,
                            const base::Ref<Entry>& known) {
  const uint16_t status = HttpStatusOf(error);
  if (!IsMemorable(status)) return {nullptr, status, error};
  if (known && known->kind() == EntryKind::kNegative && known->negative_status() == status) {
    known->SetValidated(now.monotonic_us);
    return {known, status, error};
  }
  EntryParts parts;
  parts.kind = EntryKind::kNegative;
  parts.negative_status = status;
  parts.path = key;
  OpenResult result = Build(parts, {}, {}, now);
  result.status = status;
  result.error = error;
  return result;
}

// Reading it...

OpenResult Loader::File(std::string_view key, std::string_view name, Opened opened,
                        const base::Now& now, const base::Ref<Entry>& known) {
  FileIdentity identity = FileIdentity::Of(opened.status);
  if (known && known->kind() == EntryKind::kFile && !known->racy() && !known->lost() &&
      known->identity() == identity && IsAsLong(opened.fd.get(), identity.size) &&
      SameSiblings(name, *known, now)) {
    known->SetValidated(now.monotonic_us);
    return {known};
  }
  std::string body;
  for (int tries = 0; tries < kReadTriesMax; ++tries) {
    if (identity.size > config_->cache_file_bytes_max) {
      return Large(key, name, std::move(opened), now);
    }
    const int error = ReadWhole(opened.fd.get(), identity.size, &body);
    if (error == ENOMEM) return Large(key, name, std::move(opened), now);
    if (error != 0 && error != EAGAIN) return {nullptr, HttpStatusOf(error), error};
    struct stat after;
    if (fstat(opened.fd.get(), &after) != 0) return {nullptr, HttpStatusOf(errno), errno};
    const FileIdentity identity_after = FileIdentity::Of(after);
    if (identity_after == identity) {
      if (error == EAGAIN) return Unsized(key, name, opened, now);
      const bool racy = now.wall_us * 1000 - identity.changed_ns < kRacyNs;
      OpenResult result = Small(key, name, identity, racy, body, now);
      if (result.entry) return result;
      return Large(key, name, std::move(opened), now);
    }
    // Rewritten while we read: half of it is old. Once more, with its new length.
    opened.status = after;
    identity = identity_after;
  }
  return {nullptr, 503, EAGAIN};
}

OpenResult Loader::Small(std::string_view key, std::string_view name, const FileIdentity& identity,
                         bool racy, std::string_view body, const base::Now& now) {
  EntryParts parts;
  parts.path = key;
  parts.identity = identity;
  parts.racy = racy;
  parts.in_memory = true;
  parts.body = body;
  const std::string etag = config_->etags ? ContentTag(body) : "";
  AddVariants(parts, name, now);
  return Build(parts, name, etag, now);
}

// Nobody writes to it, and yet it is not as long as its status says: procfs tells 0 and sysfs 4096
// whatever there is. What a read gives is all that can be known of it, so it is read anew whenever
// it is looked at.
OpenResult Loader::Unsized(std::string_view key, std::string_view name, const Opened& opened,
                           const base::Now& now) {
  std::string body;
  const int error = ReadToEnd(opened.fd.get(), kUnsizedBytesMax, &body);
  if (error != 0) return {nullptr, HttpStatusOf(error), error};
  FileIdentity identity = FileIdentity::Of(opened.status);
  identity.size = body.size();
  return Small(key, name, identity, true, body, now);
}

// Also for a small one while there is no memory for it, until it is looked at again. Its tag would
// be of the bytes, which nobody has: it goes without.
OpenResult Loader::Large(std::string_view key, std::string_view name, Opened opened,
                         const base::Now& now) {
  EntryParts parts;
  parts.path = key;
  parts.identity = FileIdentity::Of(opened.status);
  parts.fd = opened.fd.get();
  const bool for_want_of_memory = parts.identity.size <= config_->cache_file_bytes_max;
  if (for_want_of_memory) stats_->AddShared(Counter::kOpenErrors);
  parts.racy = for_want_of_memory;
  const bool tagged = config_->etags && !for_want_of_memory;
  const std::string etag = tagged ? StatusTag(parts.identity) : "";
  AddVariants(parts, name, now);
  OpenResult result = Build(parts, name, etag, now);
  if (result.entry) (void)opened.fd.Release();
  return result;
}

// Writing its heads...

Loader::Heads Loader::MakeHeads(std::string_view name, const EntryParts& parts) const {
  const std::string_view etag = parts.etag;
  const int64_t last_modified_s = parts.last_modified_s;
  std::string type, fields;
  if (parts.content_type != nullptr) {
    type = parts.content_type;
    fields = parts.fields;
  } else {
    type = rules_.ContentType(MimeType(name, config_->mime_types));
    const std::string_view caching = rules_.CacheControl(name);
    if (!caching.empty() && HeaderProblem("Cache-Control", caching) == nullptr) {
      AppendField("Cache-Control", caching, fields);
    }
  }
  // The schema room has refused what HeaderProblem() names. Should it not have, a head must still
  // not be split.
  for (const auto& [field, value] : rules_.Headers(name)) {
    if (HeaderProblem(field, value) == nullptr) AppendField(field, value, fields);
  }
  const auto begin = [this](std::string_view status_line, std::string& head) {
    head.append("HTTP/1.1 ").append(status_line).append("\r\n");
    if (!server_name_.empty()) AppendField("Server", server_name_, head);
    head.append("Date: ");
    const auto date_offset = static_cast<uint32_t>(head.size());
    head.append(kDateSpace).append("\r\n");
    return date_offset;
  };
  const std::string last_modified =
      last_modified_s < 0 ? "" : http::FormatHttpDate(last_modified_s);

  Heads heads;
  heads.date_offset_200 = begin("200 OK", heads.head_200);
  heads.date_offset_206 = begin("206 Partial Content", heads.head_206);
  heads.date_offset_304 = begin("304 Not Modified", heads.head_304);
  AppendField("Content-Type", type, heads.head_200);
  for (std::string* head : {&heads.head_200, &heads.head_206}) {
    if (!last_modified.empty()) AppendField("Last-Modified", last_modified, *head);
    if (!etag.empty()) AppendField("ETag", etag, *head);
    if (parts.coding != http::Coding::kIdentity) {
      AppendField("Content-Encoding", http::CodingName(parts.coding), *head);
    }
    if (parts.varies) AppendField("Vary", "Accept-Encoding", *head);
    if (config_->ranges) AppendField("Accept-Ranges", "bytes", *head);
    head->append(fields);
  }
  heads.type_offset_206 = static_cast<uint32_t>(heads.head_206.size());
  AppendField("Content-Type", type, heads.head_206);
  AppendField("Content-Length", std::to_string(parts.identity.size), heads.head_200);
  // RFC 9110 section 15.4.5: of the validators, Last-Modified only where there is no ETag.
  if (!etag.empty()) {
    AppendField("ETag", etag, heads.head_304);
  } else if (!last_modified.empty()) {
    AppendField("Last-Modified", last_modified, heads.head_304);
  }
  if (parts.varies) AppendField("Vary", "Accept-Encoding", heads.head_304);
  heads.head_304.append(fields);
  return heads;
}

OpenResult Loader::Build(EntryParts& parts, std::string_view name, std::string_view etag,
                         const base::Now& now) const {
  parts.mount_id = mount_id_;
  parts.stats = stats_;
  parts.validated_us = now.monotonic_us;
  parts.ranges = config_->ranges;
  Heads heads;
  if (parts.kind == EntryKind::kFile) {
    // The times 0 and 1 are what images and reproducible builds set: they say nothing. Nor does a
    // time that is still to come.
    const int64_t modified_s = parts.identity.modified_ns / 1'000'000'000;
    const bool believable = modified_s > 1 && modified_s <= now.wall_s();
    if (config_->last_modified && believable) parts.last_modified_s = modified_s;
    parts.etag = etag;
    heads = MakeHeads(name, parts);
    parts.head_200 = heads.head_200;
    parts.head_206 = heads.head_206;
    parts.head_304 = heads.head_304;
    parts.date_offset_200 = heads.date_offset_200;
    parts.date_offset_206 = heads.date_offset_206;
    parts.date_offset_304 = heads.date_offset_304;
    parts.type_offset_206 = heads.type_offset_206;
  }
  base::Ref<Entry> entry = Entry::Build(parts);
  if (!entry) return {nullptr, 503, ENOMEM};
  return {std::move(entry)};
}

}  // namespace catzilla::files
