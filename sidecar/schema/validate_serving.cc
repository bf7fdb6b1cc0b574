#include "sidecar/schema/validate_serving.h"

#include <algorithm>
#include <string_view>

#include "sidecar/base/pattern.h"
#include "sidecar/schema/validate.h"

namespace catzilla::schema {

namespace {

// Every answer has them before its body, and a head must fit one buffer (http/output_queue.h).
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

}  // namespace

void ValidateServingRules(const config::v1::Mount& mount, const std::string& path,
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
  CheckExtensions(mount.allowed_extensions(), path + ".allowed_extensions", report);
  CheckExtensions(mount.blocked_extensions(), path + ".blocked_extensions", report);
  for (const std::string& allowed : mount.allowed_extensions()) {
    for (const std::string& blocked : mount.blocked_extensions()) {
      if (!SameIgnoringCase(allowed, blocked)) continue;
      report(Code::kContradiction, path + ".blocked_extensions",
             Quoted(blocked) + " is allowed and blocked", "take it out of one of both");
    }
  }
  if (mount.blocked_patterns_size() > kPatternsMax) {
    report(Code::kTooMany, path + ".blocked_patterns",
           std::to_string(mount.blocked_patterns_size()) + " patterns, and a mount takes " +
               std::to_string(kPatternsMax),
           "move what must not be served out of the root");
  }
  for (int i = 0; i < mount.blocked_patterns_size(); ++i) {
    const auto pattern = base::Pattern::Compile(mount.blocked_patterns(i));
    if (pattern) continue;
    report(Code::kBadPattern, At(path + ".blocked_patterns", i),
           Quoted(mount.blocked_patterns(i)) + " " + pattern.error(),
           "for example *.bak or private/**");
  }
  for (const auto& [extension, type] : mount.mime_types()) {
    const std::string inner = path + ".mime_types[" + extension + "]";
    if (extension.empty() || extension[0] == '.' || extension.find('/') != std::string::npos) {
      report(Code::kBadMediaType, inner, Quoted(extension) + " is no extension",
             "write it without the dot: webp");
    }
    const size_t slash = type.find('/');
    if (slash == std::string::npos || !IsToken(type.substr(0, slash)) || !IsFieldValue(type)) {
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
  size_t head_bytes = mount.cache_control().size();
  for (const auto& [name, value] : mount.headers()) head_bytes += name.size() + value.size() + 4;
  if (head_bytes > kHeaderBytesMax) {
    report(Code::kTooMany, path + ".headers",
           "cache_control and headers take " + std::to_string(head_bytes) +
               " bytes of each answer's head, more than " + std::to_string(kHeaderBytesMax),
           "shorten them");
  }
}

}  // namespace catzilla::schema
