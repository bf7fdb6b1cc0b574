#include "sidecar/files/listing.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sidecar/files/listing_page.h"

namespace catzilla::files {

base::Result<Listing, int> ReadListing(int directory, const ListingFilter& filter) {
  const int own = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (own < 0) return base::Fail(int{errno});
  DIR* stream = fdopendir(own);
  if (stream == nullptr) {
    const int error = errno;
    close(own);
    return base::Fail(int{error});
  }
  Listing listing;
  std::vector<std::string> names;
  errno = 0;
  for (const dirent* entry; (entry = readdir(stream)) != nullptr;) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (names.size() == Listing::kNamesReadMax) {
      listing.cut = true;
      break;
    }
    names.emplace_back(name);
  }
  const int error = errno;
  if (error == 0) {
    std::sort(names.begin(), names.end());
    for (std::string& name : names) {
      ListedFile file;
      file.name = std::move(name);
      if (!filter(dirfd(stream), &file)) continue;
      if (listing.entries.size() == Listing::kEntriesMax) {
        listing.cut = true;
        break;
      }
      listing.entries.push_back(std::move(file));
    }
  }
  closedir(stream);
  if (error != 0) return base::Fail(int{error});
  std::sort(listing.entries.begin(), listing.entries.end(),
            [](const ListedFile& a, const ListedFile& b) {
              return a.is_directory != b.is_directory ? a.is_directory : a.name < b.name;
            });
  return listing;
}

std::string WriteListing(const Listing& listing, ListingFormat format) {
  return format == ListingFormat::kJson ? ListingJson(listing) : ListingHtml(listing);
}

std::string_view ListingType(ListingFormat format) {
  return format == ListingFormat::kJson ? "application/json" : "text/html; charset=utf-8";
}

std::string ListingFields(ListingFormat format, bool chosen) {
  std::string out = "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n";
  if (chosen) out += "Vary: Accept\r\n";
  if (format == ListingFormat::kHtml) {
    out.append("Content-Security-Policy: ").append(ListingPolicy()).append("\r\n");
  }
  return out;
}

std::string_view WithoutJsonKey(std::string_view key) {
  if (key.ends_with(kJsonKey)) key.remove_suffix(kJsonKey.size());
  return key;
}

}  // namespace catzilla::files
