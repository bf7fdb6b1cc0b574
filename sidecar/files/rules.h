// What of a mount is served, and how it is labelled: decided when an entry is built, never per
// request.
//
// Threads: immutable; any. Owns: the compiled patterns.
// Fails:   a pattern that does not compile blocks everything: the schema has refused it, and what
//          somebody wanted hidden must not be shown.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sidecar/base/pattern.h"
#include "sidecar/config/snapshot.h"

namespace catzilla::files {

class Rules {
 public:
  using Fields = std::vector<std::pair<std::string, std::string>>;

  explicit Rules(const config::Mount& config);

  // Whether the path (without a slash in front) may be opened at all; else it is as if missing.
  bool AllowsPath(std::string_view path) const;
  // Of a regular file: its extension and size too. A precompressed sibling ("a.env.gz") is blocked
  // with its original.
  bool AllowsFile(std::string_view path, uint64_t bytes) const;

  bool AllowsSize(uint64_t bytes) const;
  // Whether files of this media type are compressed, if their size is right.
  bool Compresses(std::string_view type) const;
  // Whether a file is opened before anybody asks for it.
  bool Preloads(std::string_view path) const;

  // The Cache-Control of a file; empty: none.
  std::string_view CacheControl(std::string_view name) const;
  // The mount's own fields, and those of the file's rule.
  Fields Headers(std::string_view name) const;
  // `type` with the mount's charset instead of the built-in one.
  std::string ContentType(std::string_view type) const;

 private:
  struct FileRule {
    std::vector<base::Pattern> match;
    const config::FileRule* config = nullptr;
  };
  std::vector<base::Pattern> Compile(const std::vector<std::string>& texts);
  const config::FileRule* RuleOf(std::string_view name) const;

  const config::Mount& config_;
  bool broken_ = false;  // Before the patterns: they set it.
  std::vector<base::Pattern> blocked_;
  std::vector<base::Pattern> preloaded_;
  std::vector<FileRule> rules_;
};

// app.3f2a1b9c.js, index-Diwr4Tda.css: eight or more letters and digits before the extension, a
// digit among them, set off by '.' or '-'. All digits (a date) is none.
bool IsFingerprinted(std::string_view name);

}  // namespace catzilla::files
