// From a path to its entry: resolves, reads, hashes and writes the heads. The slow half of a mount.
//
// Threads: Load() from any thread that may block. Immutable but for the resolver's root.
// Owns:    the resolver.
// Limits:  kReadTriesMax readings of a file that is being rewritten meanwhile; kUnsizedBytesMax.
// Fails:   as an OpenResult without an entry: 500 and 503. What is missing or forbidden is an entry
//          of kind kNegative, so that it may be remembered.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/clock.h"
#include "sidecar/base/ref.h"
#include "sidecar/config/snapshot.h"
#include "sidecar/files/entry.h"
#include "sidecar/files/listing.h"
#include "sidecar/files/resolve.h"
#include "sidecar/files/rules.h"
#include "sidecar/files/stats.h"

namespace catzilla::files {

struct OpenResult {
  base::Ref<Entry> entry;  // Null: answer `status` instead.
  uint16_t status = 0;     // Set when there is no entry.
  int error = 0;           // errno, for the log line that names the cause; 0: none.
};

// Why a field cannot be sent with files, or nullptr if it can: it is no token, it would split the
// head, or it is ours to write.
const char* HeaderProblem(std::string_view name, std::string_view value);

class Loader {
 public:
  static constexpr int kReadTriesMax = 4;
  // A file that changed this shortly before it was read may change again without its times moving.
  static constexpr int64_t kRacyNs = 100'000'000;
  static constexpr size_t kPreloadsMax = 10'000;
  // Of a file whose size the file system does not tell; a longer one is 500 (EFBIG).
  static constexpr uint64_t kUnsizedBytesMax = 1 << 20;

  // Entries carry `stats`, so that what is evicted is counted where it belongs.
  Loader(std::shared_ptr<const config::Mount> config, std::string server_name, uint64_t mount_id,
         base::Ref<MountStats> stats, ResolveMethod method);

  // What `key` (StripPrefix()'s result, judged kOk) is at `now`. Returns `known` itself, validated
  // anew, if that is still true of it.
  OpenResult Load(std::string_view key, const base::Now& now, const base::Ref<Entry>& known);

  // preload.cc: the keys of what the mount's configuration wants opened ahead, kPreloadsMax at
  // most.
  std::vector<std::string> FindPreloads(const base::Now& now);

  Resolver& resolver() { return resolver_; }
  const Resolver& resolver() const { return resolver_; }

 private:
  struct Heads;

  base::Result<Opened, int> OpenIndex(const std::string& directory, const base::Now& now,
                                      std::string* name);
  OpenResult Directory(std::string_view key, const base::Now& now, const base::Ref<Entry>& known);
  OpenResult Negative(std::string_view key, int error, const base::Now& now,
                      const base::Ref<Entry>& known);
  OpenResult File(std::string_view key, std::string_view name, Opened opened, const base::Now& now,
                  const base::Ref<Entry>& known);
  OpenResult List(std::string_view key, const std::string& path, const base::Now& now,
                  const base::Ref<Entry>& known);
  bool Lists(const std::string& path, int directory, const base::Now& now, ListedFile* file);
  OpenResult Unsized(std::string_view key, std::string_view name, const Opened& opened,
                     const base::Now& now);
  OpenResult Small(std::string_view key, std::string_view name, const FileIdentity& identity,
                   bool racy, std::string_view body, const base::Now& now);
  OpenResult Large(std::string_view key, std::string_view name, Opened opened,
                   const base::Now& now);
  Heads MakeHeads(std::string_view name, const EntryParts& parts) const;
  OpenResult Build(EntryParts& parts, std::string_view name, std::string_view etag,
                   const base::Now& now) const;
  // load_variants.cc
  bool SameSiblings(std::string_view name, const Entry& known, const base::Now& now);
  Opened OpenSibling(std::string_view name, http::Coding coding, const FileIdentity& original,
                     const base::Now& now);
  void AddVariants(EntryParts& parts, std::string_view name, const base::Now& now);
  base::Ref<Entry> Sibling(const EntryParts& original, std::string_view name, http::Coding coding,
                           Opened opened, const base::Now& now) const;
  base::Ref<Entry> Gzipped(const EntryParts& original, std::string_view name,
                           const base::Now& now) const;

  // Constant after construction.
  const std::shared_ptr<const config::Mount> config_;
  const std::string server_name_;
  const uint64_t mount_id_;
  const base::Ref<MountStats> stats_;
  const Rules rules_;

  Resolver resolver_;
};

}  // namespace catzilla::files
