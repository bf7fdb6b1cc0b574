#include "sidecar/files/rules.h"

#include <algorithm>

#include "sidecar/files/codings.h"
#include "sidecar/http/text.h"

namespace catzilla::files {

namespace {

constexpr std::string_view kSiblings[] = {".gz", ".br", ".zst"};
constexpr std::string_view kBuiltInCharset = "; charset=utf-8";

std::string_view NameOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string_view ExtensionOf(std::string_view path) {
  const std::string_view name = NameOf(path);
  const size_t dot = name.rfind('.');
  return dot == name.npos ? std::string_view() : name.substr(dot + 1);
}

bool Has(const std::vector<std::string>& extensions, std::string_view extension) {
  return std::any_of(extensions.begin(), extensions.end(), [&](const std::string& one) {
    return http::EqualsIgnoringCase(one, extension);
  });
}

// "a.env" of "a.env.gz"; empty: it is nobody's sibling.
std::string_view OriginalOf(std::string_view path) {
  for (const std::string_view suffix : kSiblings) {
    if (path.size() > suffix.size() &&
        http::EqualsIgnoringCase(path.substr(path.size() - suffix.size()), suffix)) {
      return path.substr(0, path.size() - suffix.size());
    }
  }
  return {};
}

}  // namespace

Rules::Rules(const config::Mount& config)
    : config_(config),
      blocked_(Compile(config.blocked_patterns)),
      preloaded_(Compile(config.preload)) {
  for (const config::FileRule& rule : config.file_rules) {
    rules_.push_back({Compile(rule.match), &rule});
  }
}

std::vector<base::Pattern> Rules::Compile(const std::vector<std::string>& texts) {
  std::vector<base::Pattern> patterns;
  for (const std::string& text : texts) {
    auto pattern = base::Pattern::Compile(text);
    if (pattern) {
      patterns.push_back(std::move(*pattern));
    } else {
      broken_ = true;
    }
  }
  return patterns;
}

const config::FileRule* Rules::RuleOf(std::string_view name) const {
  for (const FileRule& rule : rules_) {
    const bool matches = std::any_of(rule.match.begin(), rule.match.end(),
                                     [&](const auto& one) { return one.Matches(name); });
    if (matches) return rule.config;
  }
  return nullptr;
}

bool Rules::AllowsPath(std::string_view path) const {
  if (broken_) return false;
  while (path.ends_with('/')) path.remove_suffix(1);
  const std::string_view original = OriginalOf(path);
  return std::none_of(blocked_.begin(), blocked_.end(), [&](const base::Pattern& pattern) {
    return pattern.MatchesOrHolds(path) || (!original.empty() && pattern.Matches(original));
  });
}

bool Rules::AllowsSize(uint64_t bytes) const {
  return config_.file_bytes_max == 0 || bytes <= config_.file_bytes_max;
}

bool Rules::AllowsFile(std::string_view path, uint64_t bytes) const {
  if (!AllowsSize(bytes) || !AllowsPath(path)) return false;
  const std::string_view extension = ExtensionOf(path);
  if (!config_.allowed_extensions.empty() && !Has(config_.allowed_extensions, extension)) {
    return false;
  }
  const std::string_view original = OriginalOf(path);
  return !Has(config_.blocked_extensions, extension) &&
         (original.empty() || !Has(config_.blocked_extensions, ExtensionOf(original)));
}

bool Rules::Compresses(std::string_view type) const {
  if (config_.gzip_types.empty()) return IsCompressibleType(type);
  type = http::Trim(type.substr(0, type.find(';')));
  const std::string_view kind = type.substr(0, type.find('/'));
  return std::any_of(config_.gzip_types.begin(), config_.gzip_types.end(), [&](const auto& one) {
    const std::string_view wanted = one;
    return http::EqualsIgnoringCase(wanted, type) ||
           (wanted.ends_with("/*") &&
            http::EqualsIgnoringCase(wanted.substr(0, wanted.size() - 2), kind));
  });
}

bool Rules::Preloads(std::string_view path) const {
  return std::any_of(preloaded_.begin(), preloaded_.end(),
                     [&](const auto& one) { return one.MatchesOrHolds(path); });
}

Rules::Fields Rules::Headers(std::string_view name) const {
  const config::FileRule* rule = RuleOf(name);
  if (rule == nullptr || rule->headers.empty()) return config_.headers;
  Fields fields;
  for (const auto& field : config_.headers) {
    const bool replaced = std::any_of(
        rule->headers.begin(), rule->headers.end(),
        [&](const auto& own) { return http::EqualsIgnoringCase(own.first, field.first); });
    if (!replaced) fields.push_back(field);
  }
  fields.insert(fields.end(), rule->headers.begin(), rule->headers.end());
  return fields;
}

std::string_view Rules::CacheControl(std::string_view name) const {
  const config::FileRule* rule = RuleOf(name);
  if (rule != nullptr && rule->cache_control.has_value()) return *rule->cache_control;
  if (config_.fingerprinted_immutable && IsFingerprinted(name)) {
    return "public, max-age=31536000, immutable";
  }
  return config_.cache_control;
}

std::string Rules::ContentType(std::string_view type) const {
  if (!type.ends_with(kBuiltInCharset) || config_.charset == "utf-8") return std::string(type);
  std::string out(type.substr(0, type.size() - kBuiltInCharset.size()));
  if (!config_.charset.empty()) out.append("; charset=").append(config_.charset);
  return out;
}

bool IsFingerprinted(std::string_view path) {
  std::string_view name = NameOf(path);
  // "app.3f2a1b9c.js.map" and "app.3f2a1b9c.min.js" count too: the part may stand further in front.
  for (size_t dot = name.find_last_of('.'); dot != name.npos && dot > 0; dot = name.rfind('.')) {
    name = name.substr(0, dot);
    const size_t begin = name.find_last_of(".-");
    if (begin == name.npos || begin == 0) return false;
    const std::string_view part = name.substr(begin + 1);
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    const auto digits = std::count_if(part.begin(), part.end(), digit);
    const auto letters = std::count_if(part.begin(), part.end(), letter);
    const auto all = static_cast<std::ptrdiff_t>(part.size());
    if (all >= 8 && digits > 0 && letters > 0 && digits + letters == all) return true;
  }
  return false;
}

}  // namespace catzilla::files
