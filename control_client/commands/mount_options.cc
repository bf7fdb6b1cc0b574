#include "control_client/commands/mount_options.h"

#include <climits>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace catzilla::control_client {

namespace {

using Texts = std::vector<std::string>;

// "a=b" at the first '='; false: there is none, or nothing in front of it.
bool Split(const std::string& text, char mark, std::string* left, std::string* right) {
  const size_t at = text.find(mark);
  if (at == std::string::npos || at == 0) return false;
  *left = text.substr(0, at);
  const size_t begin = text.find_first_not_of(' ', at + 1);
  *right = begin == std::string::npos ? "" : text.substr(begin);
  return true;
}

std::string Malformed(const char* option, const std::string& text, const char* form) {
  return std::string(option) + ": \"" + text + "\" is not of the form " + form;
}

template <typename Map>
std::string SetPairs(const Texts& texts, char mark, const char* option, const char* form,
                     Map* pairs) {
  std::string left, right;
  for (const std::string& text : texts) {
    if (!Split(text, mark, &left, &right)) return Malformed(option, text, form);
    (*pairs)[left] = right;
  }
  return "";
}

// The rule of one pattern; a pattern that was named before has one.
config::v1::FileRule& RuleOf(const std::string& pattern, config::v1::Mount& mount) {
  for (auto& rule : *mount.mutable_file_rules()) {
    if (rule.match(0) == pattern) return rule;
  }
  auto& rule = *mount.add_file_rules();
  rule.add_match(pattern);
  return rule;
}

std::string SetFileRules(const MountOptions& options, config::v1::Mount& mount) {
  std::string pattern, rest, name, value;
  for (const std::string& text : options.rule_cache_controls) {
    if (!Split(text, '=', &pattern, &rest)) {
      return Malformed("--cache-control-for", text, "PATTERN=VALUE");
    }
    RuleOf(pattern, mount).set_cache_control(rest);
  }
  for (const std::string& text : options.rule_headers) {
    if (!Split(text, '=', &pattern, &rest) || !Split(rest, ':', &name, &value)) {
      return Malformed("--header-for", text, "PATTERN=Name: value");
    }
    (*RuleOf(pattern, mount).mutable_headers())[name] = value;
  }
  return "";
}

void SetTexts(const MountOptions& options, config::v1::Mount& mount) {
  const auto all = [](const Texts& from, auto* to) { to->Assign(from.begin(), from.end()); };
  all(options.index_files, mount.mutable_index_files());
  all(options.allowed_extensions, mount.mutable_allowed_extensions());
  all(options.blocked_extensions, mount.mutable_blocked_extensions());
  all(options.blocked_patterns, mount.mutable_blocked_patterns());
  all(options.precompressed, mount.mutable_precompressed());
  all(options.gzip_types, mount.mutable_gzip_types());
  all(options.preload, mount.mutable_preload());
}

void SetWords(const MountOptions& options, config::v1::Mount& mount) {
  if (options.symlinks == "never") mount.set_symlinks(config::v1::SYMLINKS_NEVER);
  if (options.symlinks == "inside") mount.set_symlinks(config::v1::SYMLINKS_INSIDE);
  if (options.symlinks == "anywhere") mount.set_symlinks(config::v1::SYMLINKS_ANYWHERE);
  if (options.invalidation == "immediate") {
    mount.set_invalidation(config::v1::INVALIDATION_IMMEDIATE);
  }
  if (options.invalidation == "lazy") mount.set_invalidation(config::v1::INVALIDATION_LAZY);
  if (options.invalidation == "ttl") mount.set_invalidation(config::v1::INVALIDATION_TTL);
  if (options.directory_listing == "off") {
    mount.set_directory_listing(config::v1::DIRECTORY_LISTING_OFF);
  }
  if (options.directory_listing == "html") {
    mount.set_directory_listing(config::v1::DIRECTORY_LISTING_HTML);
  }
  if (options.directory_listing == "json") {
    mount.set_directory_listing(config::v1::DIRECTORY_LISTING_JSON);
  }
  if (options.fingerprinted == "off") mount.set_fingerprinted(config::v1::FINGERPRINTED_OFF);
  if (options.fingerprinted == "immutable") {
    mount.set_fingerprinted(config::v1::FINGERPRINTED_IMMUTABLE);
  }
}

}  // namespace

void AddMountOptions(CLI::App& add, MountOptions& options) {
  options.command = &add;
  add.add_option("PREFIX", options.prefix, "begins with /")->required();
  add.add_option("DIRECTORY", options.root, "as the sidecar sees it")->required();
  add.add_option("--name", options.name, "default: made of the prefix");
  add.add_option("--host", options.host, "only for this host");
  add.add_option("--index-file", options.index_file, "served for a directory; empty: none");
  add.add_option("--index-files", options.index_files, "the first that is there; comma-separated")
      ->delimiter(',');
  add.add_option("--cache-control", options.cache_control, "the field of 200, 206 and 304");
  add.add_option("--cache-control-for", options.rule_cache_controls,
                 "PATTERN=VALUE: of files that match, instead; may be repeated");
  add.add_option("--fingerprinted", options.fingerprinted, "off (default) or immutable")
      ->check(CLI::IsMember({"off", "immutable"}));
  add.add_option("--header", options.headers, "\"Name: value\" on 200, 206, 304; may be repeated");
  add.add_option("--header-for", options.rule_headers,
                 "\"PATTERN=Name: value\": of files that match; may be repeated");
  add.add_option("--mime-type", options.mime_types, "EXTENSION=TYPE; may be repeated");
  add.add_option("--charset", options.charset, "of text types (utf-8); off: none");
  add.add_option("--precompressed", options.precompressed, "br, zstd, gzip: files beside a file")
      ->delimiter(',')
      ->check(CLI::IsMember({"br", "zstd", "gzip"}));
  add.add_option("--gzip-level", options.gzip_level, "1 (fast) to 9 (small); 0 (default): none");
  add.add_option("--gzip-min-size", options.gzip_min_size, "smaller files are not (1KiB)");
  add.add_option("--gzip-types", options.gzip_types, "media types, text/* for all of a kind")
      ->delimiter(',');
  add.add_flag("--no-etags", options.no_etags, "send no ETag");
  add.add_flag("--no-last-modified", options.no_last_modified, "send no Last-Modified");
  add.add_flag("--no-ranges", options.no_ranges, "answer a Range with the whole file");
  add.add_option("--directory-listing", options.directory_listing, "off (default), html or json")
      ->check(CLI::IsMember({"off", "html", "json"}));
  add.add_option("--spa-fallback", options.spa_fallback, "answers navigations to what is missing");
  add.add_option("--error-page", options.error_pages, "404=404.html; 403 and 503 too");
  add.add_flag("--hidden-files", options.hidden_files, "serve names that begin with a dot");
  add.add_option("--symlinks", options.symlinks, "never, inside (default) or anywhere")
      ->check(CLI::IsMember({"never", "inside", "anywhere"}));
  add.add_option("--allowed-extensions", options.allowed_extensions, "others are 404")
      ->delimiter(',');
  add.add_option("--blocked-extensions", options.blocked_extensions, "these are 404")
      ->delimiter(',');
  add.add_option("--block", options.blocked_patterns, "404 for what matches; may be repeated");
  add.add_option("--max-file-size", options.max_file_size, "larger files are 404");
  add.add_option("--max-cached-file", options.max_cached_file, "larger ones use sendfile (1MiB)");
  add.add_option("--cache-memory", options.cache_memory, "a file cache of its own (64MiB)");
  add.add_option("--cache-entries", options.cache_entries, "the most files in --cache-memory");
  add.add_option("--rate-limit", options.rate_limit, "bytes per second of one answer (64KiB)");
  add.add_option("--preload", options.preload, "open what matches at once; may be repeated");
  add.add_option("--revalidate", options.revalidate, "changes on disk are seen after this (1s)");
  add.add_option("--invalidation", options.invalidation, "immediate (default), lazy or ttl")
      ->check(CLI::IsMember({"immediate", "lazy", "ttl"}));
}

std::string SetMount(const MountOptions& options, config::v1::Mount& mount) {
  if (options.given("--name")) mount.set_name(options.name);
  if (options.given("--host")) mount.set_host(options.host);
  mount.set_prefix(options.prefix);
  // The sidecar may have another working directory than this shell.
  char absolute[PATH_MAX];
  const bool found = realpath(options.root.c_str(), absolute) != nullptr;
  mount.set_root(found ? absolute : options.root);
  if (options.given("--index-file")) mount.set_index_file(options.index_file);
  if (options.given("--cache-control")) mount.set_cache_control(options.cache_control);
  if (options.given("--revalidate")) mount.set_revalidate(options.revalidate);
  if (options.given("--max-cached-file")) mount.set_max_cached_file(options.max_cached_file);
  if (options.given("--hidden-files")) mount.set_hidden_files(options.hidden_files);
  if (options.given("--spa-fallback")) mount.set_spa_fallback(options.spa_fallback);
  if (options.given("--max-file-size")) mount.set_max_file_size(options.max_file_size);
  if (options.given("--charset")) mount.set_charset(options.charset);
  if (options.given("--gzip-level")) mount.set_gzip_level(options.gzip_level);
  if (options.given("--gzip-min-size")) mount.set_gzip_min_size(options.gzip_min_size);
  if (options.given("--cache-memory")) mount.set_cache_memory(options.cache_memory);
  if (options.given("--cache-entries")) mount.set_cache_entries(options.cache_entries);
  if (options.given("--rate-limit")) mount.set_rate_limit(options.rate_limit);
  if (options.no_etags) mount.set_etags(false);
  if (options.no_last_modified) mount.set_last_modified(false);
  if (options.no_ranges) mount.set_ranges(false);
  SetWords(options, mount);
  SetTexts(options, mount);
  std::string wrong =
      SetPairs(options.headers, ':', "--header", "\"Name: value\"", mount.mutable_headers());
  if (wrong.empty()) {
    wrong =
        SetPairs(options.error_pages, '=', "--error-page", "404=FILE", mount.mutable_error_pages());
  }
  if (wrong.empty()) {
    wrong = SetPairs(options.mime_types, '=', "--mime-type", "EXTENSION=TYPE",
                     mount.mutable_mime_types());
  }
  return wrong.empty() ? SetFileRules(options, mount) : wrong;
}

}  // namespace catzilla::control_client
