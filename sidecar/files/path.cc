#include "sidecar/files/path.h"

#include <climits>

#include "sidecar/base/check.h"

namespace catzilla::files {

namespace {

constexpr size_t kNameBytesMax = NAME_MAX;
constexpr size_t kPathBytesMax = PATH_MAX - 1;

PathVerdict JudgeSegment(std::string_view segment, const PathRules& rules) {
  if (segment.empty() || segment[0] != '.') {
    return segment.size() > kNameBytesMax ? PathVerdict::kTooLong : PathVerdict::kOk;
  }
  // http/target has removed or refused these. Should one arrive, it is not to be resolved by
  // anybody.
  if (segment == "." || segment == "..") return PathVerdict::kBad;
  if (!rules.hidden_files && segment != ".well-known") return PathVerdict::kHidden;
  return segment.size() > kNameBytesMax ? PathVerdict::kTooLong : PathVerdict::kOk;
}

bool IsUrlPathByte(unsigned char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return std::string_view("/-._~!$&'()*+,;=:@").find(static_cast<char>(c)) !=
         std::string_view::npos;
}

}  // namespace

std::string_view StripPrefix(std::string_view path, std::string_view prefix) {
  if (prefix != "/") {
    CATZILLA_CHECK(path.starts_with(prefix), "a mount was asked for a path outside its prefix");
    path.remove_prefix(prefix.size());
    CATZILLA_CHECK(path.empty() || path[0] == '/', "a mount's prefix ended inside a segment");
  }
  return path;
}

PathVerdict JudgePath(std::string_view relative, const PathRules& rules) {
  // Bad bytes first: 400 for them must not depend on where a hidden name stands.
  for (const char c : relative) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || byte == '\\') return PathVerdict::kBad;
  }
  PathVerdict verdict = PathVerdict::kOk;
  for (size_t begin = 0; begin <= relative.size();) {
    size_t end = relative.find('/', begin);
    if (end == std::string_view::npos) end = relative.size();
    const PathVerdict one = JudgeSegment(relative.substr(begin, end - begin), rules);
    if (one == PathVerdict::kBad) return one;
    if (verdict == PathVerdict::kOk) verdict = one;
    begin = end + 1;
  }
  if (verdict == PathVerdict::kOk && relative.size() > kPathBytesMax) return PathVerdict::kTooLong;
  return verdict;
}

uint16_t StatusOf(PathVerdict verdict) { return verdict == PathVerdict::kBad ? 400 : 404; }

std::string CollapseSlashes(std::string_view relative) {
  std::string out;
  out.reserve(relative.size());
  for (const char c : relative) {
    if (c == '/' && (out.empty() || out.back() == '/')) continue;
    out.push_back(c);
  }
  return out;
}

void AppendEscapedPath(std::string_view path, std::string& out) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (IsUrlPathByte(byte)) {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
}

}  // namespace catzilla::files
