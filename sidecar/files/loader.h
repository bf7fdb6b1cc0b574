// From a path to its entry: resolves, reads, hashes and writes the heads. The slow half of a mount.
//
// Threads: Load() from any thread that may block. Immutable but for the resolver's root.
// Owns:    the resolver.
// Limits:  kReadTriesMax readings of a file that is being rewritten meanwhile.
// Fails:   as an OpenResult without an entry: 500 and 503. What is missing or forbidden is an entry
//          of kind kNegative, so that it may be remembered.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/base/clock.h"
#include "sidecar/base/ref.h"
#include "sidecar/config/snapshot.h"
#include "sidecar/files/entry.h"
#include "sidecar/files/resolve.h"
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

  // Entries carry `stats`, so that what is evicted is counted where it belongs.
  Loader(std::shared_ptr<const config::Mount> config, std::string server_name, uint64_t mount_id,
         base::Ref<MountStats> stats, ResolveMethod method);

  // What `key` (StripPrefix()'s result, judged kOk) is at `now`. Returns `known` itself, validated
  // anew, if that is still true of it.
  OpenResult Load(std::string_view key, const base::Now& now, const base::Ref<Entry>& known);

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
  // Whether the precompressed siblings are those that `known` was made with.
  bool SameSiblings(std::string_view name, const Entry& known, const base::Now& now);
  Opened OpenSibling(std::string_view name, http::Coding coding, const FileIdentity& original,
                     const base::Now& now);
  // Adds what there is in other codings, and compresses.
  void AddVariants(EntryParts& parts, std::string_view name, const base::Now& now);
  base::Ref<Entry> Sibling(const EntryParts& original, std::string_view name, http::Coding coding,
                           Opened opened, const base::Now& now) const;
  base::Ref<Entry> Gzipped(const EntryParts& original, std::string_view name,
                           const base::Now& now) const;
  OpenResult Large(std::string_view key, std::string_view name, Opened opened,
                   const base::Now& now);
  Heads MakeHeads(std::string_view name, const FileIdentity& identity, std::string_view etag,
                  int64_t last_modified_s, http::Coding coding, bool varies) const;
  OpenResult Build(EntryParts& parts, std::string_view name, std::string_view etag,
                   const base::Now& now, http::Coding coding = http::Coding::kIdentity) const;

  // Constant after construction.
  const std::shared_ptr<const config::Mount> config_;
  const std::string server_name_;
  const uint64_t mount_id_;
  const base::Ref<MountStats> stats_;
  std::string common_fields_;  // Cache-Control and the mount's own headers, on 200, 206 and 304.

  Resolver resolver_;
};

}  // namespace catzilla::files
