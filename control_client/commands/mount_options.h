// The options of `mount add`, one for each field of a mount.
// Owns: what was given, until the command runs. Fails: what has no form it can be sent in is said
// by SetMount(); all else is for the sidecar to judge.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "catzilla/config/v1/config.pb.h"

namespace catzilla::control_client {

struct MountOptions {
  CLI::App* command = nullptr;  // Tells an option that was given from one that is empty.
  std::string prefix, root, name, host;
  std::string index_file, cache_control, revalidate, max_cached_file, symlinks, invalidation;
  std::string directory_listing, spa_fallback, max_file_size, fingerprinted, charset;
  std::string gzip_min_size, rate_limit, cache_memory;
  uint32_t gzip_level = 0, cache_entries = 0;
  std::vector<std::string> index_files, allowed_extensions, blocked_extensions, blocked_patterns;
  std::vector<std::string> precompressed, gzip_types, preload;
  // "Name: value", "404=404.html", "webp=image/webp", "*.js=max-age=60", "*.js=Name: value".
  std::vector<std::string> headers, error_pages, mime_types, rule_cache_controls, rule_headers;
  bool hidden_files = false, no_etags = false, no_last_modified = false, no_ranges = false;

  bool given(const char* option) const { return command->count(option) > 0; }
};

void AddMountOptions(CLI::App& add, MountOptions& options);

// Returns what is wrong with an option's form, or an empty string.
std::string SetMount(const MountOptions& options, config::v1::Mount& mount);

}  // namespace catzilla::control_client
