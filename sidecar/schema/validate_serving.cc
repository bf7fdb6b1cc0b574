#include "sidecar/schema/validate_serving.h"

#include <algorithm>
#include <string_view>

#include "sidecar/base/pattern.h"
#include "sidecar/schema/units.h"
#include "sidecar/schema/validate.h"

namespace catzilla::schema {

namespace {

// Of the mount's fields in one head, which must fit one buffer (http/output_queue.h).
constexpr size_t kHeaderBytesMax = 8 * 1024;
constexpr int kPatternsMax = 64;
using Texts = google::protobuf::RepeatedPtrField<std::string>;

std::string Quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::string At(const std::string& path, int index) {
  return path + "[" + std::to_string(index) + "]";
}

bool IsFileName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

// "app/index.html": names that stay below the root, none of them hidden.
bool IsFileBelow(std::string_view path) {
  for (;;) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (!IsFileName(name) || name[0] == '.') return false;
    if (slash == path.npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool IsExtension(std::string_view text) {
  return !text.empty() && text.find_first_of("./\\*?[") == text.npos;
}

bool SameIgnoringCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

void CheckExtensions(const Texts& extensions, const std::string& path, const ReportError& report) {
  for (int i = 0; i < extensions.size(); ++i) {
    if (IsExtension(extensions[i])) continue;
    report(Code::kBadExtension, At(path, i), Quoted(extensions[i]) + " is no extension",
           "write it without the dot, as \"env\"; for more use blocked_patterns");
  }
}

void CheckPatterns(const Texts& patterns, const std::string& path, const ReportError& report) {
  if (patterns.size() > kPatternsMax) {
    report(Code::kTooMany, path,
           std::to_string(patterns.size()) + " patterns, and one list takes " +
               std::to_string(kPatternsMax),
           "write fewer and wider ones");
  }
  for (int i = 0; i < patterns.size(); ++i) {
    const auto pattern = base::Pattern::Compile(patterns[i]);
    if (pattern) continue;
    report(Code::kBadPattern, At(path, i), Quoted(patterns[i]) + " " + pattern.error(),
           "for example *.bak or private/**");
  }
}

void CheckNames(const config::v1::Mount& mount, const std::string& path,
                const ReportError& report) {
  for (int i = 0; i < mount.index_files_size(); ++i) {
    if (IsFileName(mount.index_files(i))) continue;
    report(Code::kBadPath, At(path + ".index_files", i),
           Quoted(mount.index_files(i)) + " is no file name",
           "name a file inside the directory, for example index.html");
  }
  const bool own_index = !mount.index_file().empty() && mount.index_file() != "index.html";
  if (mount.index_files_size() > 0 && own_index) {
    report(Code::kContradiction, path + ".index_files",
           "index_file says " + Quoted(mount.index_file()) + " and index_files something else",
           "put all names into index_files");
  }
  if (!mount.spa_fallback().empty() && !IsFileBelow(mount.spa_fallback())) {
    report(Code::kBadPath, path + ".spa_fallback",
           Quoted(mount.spa_fallback()) + " is no path of a visible file below the root",
           "for example index.html");
  }
  if (!mount.fallback_pool().empty() && !mount.spa_fallback().empty()) {
    report(Code::kContradiction, path + ".fallback_pool",
           "says that a pool answers for what is missing, and spa_fallback that a file does",
           "remove one of them");
  }
  if (mount.internal()) {
    const bool named = !mount.fallback_pool().empty() || !mount.spa_fallback().empty();
    if (named || mount.directory_listing() > config::v1::DIRECTORY_LISTING_OFF) {
      report(Code::kContradiction, path + ".internal",
             "an internal mount has files and nothing else: no fallback and no listing",
             "remove fallback_pool, spa_fallback and directory_listing, or internal");
    }
  }
  if (mount.internal() && !mount.host().empty()) {
    report(Code::kContradiction, path + ".internal",
           "an internal mount is for the answers to every host", "remove host, or internal");
  }
  for (const auto& [status, file] : mount.error_pages()) {
    const std::string inner = path + ".error_pages[" + status + "]";
    if (status != "403" && status != "404" && status != "503") {
      report(Code::kUnknownValue, inner, Quoted(status) + " is no status that has a page",
             "403, 404 and 503 have");
    }
    if (IsFileBelow(file)) continue;
    report(Code::kBadPath, inner, Quoted(file) + " is no path of a visible file below the root",
           "for example 404.html");
  }
}

void CheckWhatIsServed(const config::v1::Mount& mount, const std::string& path,
                       const ReportError& report) {
  CheckExtensions(mount.allowed_extensions(), path + ".allowed_extensions", report);
  CheckExtensions(mount.blocked_extensions(), path + ".blocked_extensions", report);
  for (const std::string& allowed : mount.allowed_extensions()) {
    for (const std::string& blocked : mount.blocked_extensions()) {
      if (!SameIgnoringCase(allowed, blocked)) continue;
      report(Code::kContradiction, path + ".blocked_extensions",
             Quoted(blocked) + " is allowed and blocked", "take it out of one of both");
    }
  }
  CheckPatterns(mount.blocked_patterns(), path + ".blocked_patterns", report);
  CheckPatterns(mount.preload(), path + ".preload", report);
}

bool IsMediaType(std::string_view type) {
  const size_t slash = type.find('/');
  return slash != type.npos && IsToken(type.substr(0, slash)) && IsFieldValue(type);
}

void CheckTypes(const config::v1::Mount& mount, const std::string& path,
                const ReportError& report) {
  for (const auto& [extension, type] : mount.mime_types()) {
    const std::string inner = path + ".mime_types[" + extension + "]";
    if (extension.empty() || extension[0] == '.' || extension.find('/') != std::string::npos) {
      report(Code::kBadMediaType, inner, Quoted(extension) + " is no extension",
             "write it without the dot: webp");
    }
    if (!IsMediaType(type)) {
      report(Code::kBadMediaType, inner, Quoted(type) + " is no media type",
             "for example image/webp");
    }
  }
  const std::string& charset = mount.charset();
  const bool word = std::all_of(charset.begin(), charset.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
  if (charset.empty() || !word) {
    report(Code::kBadMediaType, path + ".charset", Quoted(charset) + " is no charset",
           "for example utf-8, or off");
  }
}

void CheckCodings(const config::v1::Mount& mount, const std::string& path,
                  const ReportError& report) {
  for (int i = 0; i < mount.precompressed_size(); ++i) {
    const std::string& coding = mount.precompressed(i);
    if (coding == "br" || coding == "zstd" || coding == "gzip") continue;
    report(Code::kUnknownValue, At(path + ".precompressed", i),
           Quoted(coding) + " is no coding that is served", "there are br, zstd and gzip");
  }
  for (int i = 0; i < mount.gzip_types_size(); ++i) {
    if (IsMediaType(mount.gzip_types(i))) continue;
    report(Code::kBadMediaType, At(path + ".gzip_types", i),
           Quoted(mount.gzip_types(i)) + " is no media type",
           "for example text/* or image/svg+xml");
  }
  if (mount.has_cache_memory()) {
    const auto whole = ParseSize(mount.cache_memory(), 0);
    const auto one = ParseSize(mount.max_cached_file(), 0);
    if (whole && one && *whole / 4 < *one) {
      report(Code::kLimitRelation, path + ".cache_memory",
             "is " + mount.cache_memory() + ", and one file may take " + mount.max_cached_file(),
             "set max_cached_file to a quarter of it at most, or raise cache_memory");
    }
  }
  if (mount.cache_entries() > 0 && !mount.has_cache_memory()) {
    report(Code::kContradiction, path + ".cache_entries", "is given, and cache_memory is not",
           "set cache_memory too: the shared cache is limited by its bytes alone");
  }
  if (mount.gzip_types_size() > 0 && mount.gzip_level() == 0) {
    report(Code::kContradiction, path + ".gzip_types", "is given, and gzip_level is 0",
           "set gzip_level from 1 to 9 (6 is usual), or take it out");
  }
}

// Every answer has them before its body, and a head must fit one buffer.
void CheckHeadBytes(const config::v1::Mount& mount, const std::string& path,
                    const ReportError& report) {
  const auto sum = [](std::string_view caching, const auto& headers) {
    size_t bytes = caching.size();
    for (const auto& [name, value] : headers) bytes += name.size() + value.size() + 4;
    return bytes;
  };
  const size_t own = sum(mount.cache_control(), mount.headers());
  size_t most = own;
  std::string where = path + ".headers";
  for (int i = 0; i < mount.file_rules_size(); ++i) {
    const auto& rule = mount.file_rules(i);
    const size_t bytes = own + sum(rule.cache_control(), rule.headers());
    if (bytes <= most || own > kHeaderBytesMax) continue;
    most = bytes;
    where = At(path + ".file_rules", i) + ".headers";
  }
  if (most <= kHeaderBytesMax) return;
  report(Code::kTooMany, where,
         "cache_control and headers take " + std::to_string(most) +
             " bytes of each answer's head, more than " + std::to_string(kHeaderBytesMax),
         "shorten them");
}

void CheckFileRules(const config::v1::Mount& mount, const std::string& path,
                    const ReportError& report) {
  for (int i = 0; i < mount.file_rules_size(); ++i) {
    const auto& rule = mount.file_rules(i);
    const std::string inner = At(path + ".file_rules", i);
    if (rule.match_size() == 0) {
      report(Code::kMissing, inner + ".match", "is not given", "for example match: [\"*.js\"]");
    }
    if (!rule.has_cache_control() && rule.headers().empty()) {
      report(Code::kMissing, inner, "says nothing of the files that match",
             "give it cache_control or headers");
    }
    CheckPatterns(rule.match(), inner + ".match", report);
    if (IsFieldValue(rule.cache_control())) continue;
    report(Code::kBadHeader, inner + ".cache_control", "has control characters or spaces at an end",
           "for example public, max-age=3600");
  }
}

}  // namespace

void ValidateServingRules(const config::v1::Mount& mount, const std::string& path,
                          const ReportError& report) {
  CheckNames(mount, path, report);
  CheckWhatIsServed(mount, path, report);
  CheckTypes(mount, path, report);
  CheckCodings(mount, path, report);
  CheckFileRules(mount, path, report);
  CheckHeadBytes(mount, path, report);
}

}  // namespace catzilla::schema
