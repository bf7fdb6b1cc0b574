// What a directory without an index file shows: a page for people, JSON for programs.
//
// Threads: ReadListing() blocks: the files executor's. The rest is pure.
// Owns:    nothing that outlives the call.
// Limits:  kNamesReadMax names are read, kEntriesMax shown, a body of kBodyBytesMax; each says when
//          it cut the list. Of a cut list the first names in byte order are there.
// Fails:   with errno. What is not served (hidden, blocked, unreadable, a link that leads out, a
//          device) is not shown, nor are names that no URL reaches (control bytes, backslashes).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/result.h"

namespace catzilla::files {

struct ListedFile {
  std::string name;  // Any bytes but '/' and NUL.
  bool is_directory = false;
  uint64_t size = 0;
  int64_t modified_s = 0;
};

struct Listing {
  static constexpr size_t kNamesReadMax = 65'536;
  static constexpr size_t kEntriesMax = 5'000;
  static constexpr size_t kBodyBytesMax = 4u << 20;

  std::string prefix;  // Where the mount is: "/" or "/static".
  std::string path;    // Below it: "" or "sub/deeper/".
  std::vector<ListedFile> entries;
  bool cut = false;
};

// Looks at one name: false if it is not served; else fills the rest.
using ListingFilter = std::function<bool(int directory, ListedFile* file)>;

// Directories first, each sorted by name. `directory` is an open descriptor of one; it is not
// taken over.
base::Result<Listing, int> ReadListing(int directory, const ListingFilter& filter);

enum class ListingFormat : uint8_t { kHtml, kJson };
std::string WriteListing(const Listing& listing, ListingFormat format);

std::string_view ListingType(ListingFormat format);
// Lines for the head, each with its CRLF: what a page may do, and that it is asked for each time.
// `chosen`: the client's Accept decided about the format.
std::string ListingFields(ListingFormat format, bool chosen);

// Behind the key of a directory: the JSON twin of its page. No request's path has a NUL.
constexpr std::string_view kJsonKey{"\0json", 5};
std::string_view WithoutJsonKey(std::string_view key);

}  // namespace catzilla::files
