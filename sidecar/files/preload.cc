// The loader's walk for what is opened before anybody asks for it.
#include <algorithm>
#include <set>
#include <utility>

#include "sidecar/files/loader.h"

namespace catzilla::files {

// Directory by directory, each once however many links lead there; what would not be served is not
// found either.
std::vector<std::string> Loader::FindPreloads(const base::Now& now) {
  std::vector<std::string> keys, directories = {""};
  std::set<std::pair<dev_t, ino_t>> seen;
  for (size_t at = 0; at < directories.size(); ++at) {
    const std::string directory = directories[at];
    base::Result<Opened, int> opened =
        resolver_.Open(directory, now.monotonic_us, config_->revalidate_us);
    if (!opened || !seen.emplace(opened->status.st_dev, opened->status.st_ino).second) continue;
    base::Result<Listing, int> listing =
        ReadListing(opened->fd.get(),
                    [&](int fd, ListedFile* file) { return Lists(directory, fd, now, file); });
    if (!listing) continue;
    for (const ListedFile& file : listing->entries) {
      const std::string below = directory + file.name;
      if (file.is_directory) {
        if (directories.size() < kPreloadsMax) directories.push_back(below + "/");
        continue;
      }
      if (!rules_.Preloads(below)) continue;
      const auto& indexes = config_->index_files;
      if (keys.size() + 2 > kPreloadsMax) return keys;
      keys.push_back("/" + below);
      if (std::find(indexes.begin(), indexes.end(), file.name) != indexes.end()) {
        keys.push_back("/" + directory);
      }
    }
  }
  return keys;
}

}  // namespace catzilla::files
