// The loader's way to a directory's listing: what it shows is what would be served.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "sidecar/files/loader.h"
#include "sidecar/files/path.h"
#include "sidecar/files/read_file.h"

namespace catzilla::files {

// A directory's times do not move when a file in it is rewritten, so it is read anew whenever the
// window is over; the same bytes are the same entry.
OpenResult Loader::List(std::string_view key, const std::string& path, const base::Now& now,
                        const base::Ref<Entry>& known) {
  base::Result<Opened, int> opened = resolver_.Open(path, now.monotonic_us, config_->revalidate_us);
  if (!opened) return Negative(key, opened.error(), now, known);
  if (!S_ISDIR(opened->status.st_mode)) return Negative(key, ENOENT, now, known);
  base::Result<Listing, int> listing = ReadListing(
      opened->fd.get(),
      [&](int directory, ListedFile* file) { return Lists(path, directory, now, file); });
  if (!listing) return Negative(key, listing.error(), now, known);
  listing->prefix = config_->prefix;
  listing->path = path;

  const bool page = config_->directory_listing == config::DirectoryListing::kHtml;
  const bool json = !page || key.ends_with(kJsonKey);
  const ListingFormat format = json ? ListingFormat::kJson : ListingFormat::kHtml;
  const std::string body = WriteListing(*listing, format);
  const std::string etag = ContentTag(body);
  if (known && known->kind() == EntryKind::kFile && known->in_memory() && known->body() == body) {
    known->SetValidated(now.monotonic_us);
    return {known};
  }
  const std::string fields = ListingFields(format, page);
  EntryParts parts;
  parts.path = key;
  parts.identity = FileIdentity::Of(opened->status);
  parts.identity.size = body.size();
  parts.identity.modified_ns = 0;  // Nothing that a client could compare: there is no date for it.
  parts.in_memory = true;
  parts.body = body;
  parts.content_type = ListingType(format).data();
  parts.fields = fields;
  return Build(parts, {}, config_->etags ? etag : "", now);
}

bool Loader::Lists(const std::string& path, int directory, const base::Now& now, ListedFile* file) {
  if (JudgePath(file->name, {config_->hidden_files}) != PathVerdict::kOk) return false;
  const std::string below = path + file->name;
  if (!rules_.AllowsPath(below)) return false;
  struct stat status;
  if (fstatat(directory, file->name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return false;
  if (S_ISLNK(status.st_mode)) {
    // Where it leads, and whether it may: as a request would find out.
    const base::Result<Opened, int> target =
        resolver_.Open(below, now.monotonic_us, config_->revalidate_us);
    if (!target) return false;
    status = target->status;
  } else if (faccessat(directory, file->name.c_str(), S_ISDIR(status.st_mode) ? R_OK | X_OK : R_OK,
                       AT_EACCESS) != 0) {
    return false;
  }
  file->is_directory = S_ISDIR(status.st_mode);
  if (!file->is_directory && !S_ISREG(status.st_mode)) return false;
  file->size = file->is_directory ? 0 : static_cast<uint64_t>(status.st_size);
  file->modified_s = status.st_mtim.tv_sec;
  return file->is_directory || rules_.AllowsFile(below, file->size);
}

}  // namespace catzilla::files
