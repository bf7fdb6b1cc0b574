#include "sidecar/route/path_template.h"

#include <algorithm>
#include <cstddef>

namespace catzilla::route {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

base::Result<Convertor, std::string> ConvertorByName(std::string_view name) {
  if (name == "str") return Convertor::kString;
  if (name == "int") return Convertor::kInt;
  if (name == "float") return Convertor::kFloat;
  if (name == "uuid") return Convertor::kUuid;
  if (name == "path") return Convertor::kPath;
  return base::Fail("unknown convertor '" + std::string(name) +
                    "' (known: str, int, float, uuid, path)");
}

bool IsUuid(std::string_view text) {
  // Starlette's pattern: the hyphens are optional, one by one.
  static constexpr size_t kGroups[] = {8, 4, 4, 4, 12};
  size_t at = 0;
  for (size_t group = 0; group < 5; ++group) {
    if (group > 0 && at < text.size() && text[at] == '-') ++at;
    for (size_t i = 0; i < kGroups[group]; ++i, ++at) {
      if (at >= text.size() || !IsHex(text[at])) return false;
    }
  }
  return at == text.size();
}

bool IsFloat(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && IsDigit(text[at])) ++at;
  if (at == 0) return false;
  if (at == text.size()) return true;
  if (text[at] != '.' || at + 1 == text.size()) return false;
  return std::all_of(text.begin() + static_cast<std::ptrdiff_t>(at) + 1, text.end(), IsDigit);
}

}  // namespace

size_t PathTemplate::parameter_count() const {
  return static_cast<size_t>(std::count_if(pieces.begin(), pieces.end(), [](const auto& piece) {
    return piece.convertor != Convertor::kLiteral;
  }));
}

bool PathTemplate::has_inner_path() const {
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].convertor != Convertor::kPath) continue;
    if (i + 1 != pieces.size()) return true;
    if (i > 0 && !pieces[i - 1].text.ends_with('/')) return true;
  }
  return false;
}

base::Result<PathTemplate, std::string> ParseTemplate(std::string_view text) {
  if (text.empty() || text[0] != '/') {
    return base::Fail(std::string("a path template begins with '/'"));
  }
  PathTemplate result;
  std::string literal;
  std::vector<std::string_view> names;
  const auto flush = [&] {
    if (literal.empty()) return;
    if (result.pieces.empty()) result.literal_prefix = literal;
    result.pieces.push_back({Convertor::kLiteral, std::move(literal)});
    literal.clear();
  };
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '}') return base::Fail(std::string("'}' without '{'"));
    if (text[at] != '{') {
      literal += text[at];
      continue;
    }
    const size_t close = text.find('}', at);
    if (close == std::string_view::npos) return base::Fail(std::string("'{' without '}'"));
    std::string_view name = text.substr(at + 1, close - at - 1);
    Convertor convertor = Convertor::kString;
    if (const size_t colon = name.find(':'); colon != std::string_view::npos) {
      auto named = ConvertorByName(name.substr(colon + 1));
      if (!named.ok()) return base::Fail(named.error());
      convertor = *named;
      name = name.substr(0, colon);
    }
    const bool valid =
        !name.empty() && IsNameStart(name[0]) &&
        std::all_of(name.begin(), name.end(), [](char c) { return IsNameStart(c) || IsDigit(c); });
    if (!valid) {
      return base::Fail("'" + std::string(name) + "' is no parameter name (letters, digits, '_')");
    }
    if (std::find(names.begin(), names.end(), name) != names.end()) {
      return base::Fail("parameter '" + std::string(name) + "' stands twice");
    }
    names.push_back(name);
    flush();
    result.pieces.push_back({convertor, std::string(name)});
    at = close;
  }
  flush();
  return result;
}

bool Accepts(Convertor convertor, std::string_view text) {
  switch (convertor) {
    case Convertor::kLiteral:
      return false;
    case Convertor::kString:
      return !text.empty() && text.find('/') == std::string_view::npos;
    case Convertor::kInt:
      return !text.empty() && std::all_of(text.begin(), text.end(), IsDigit);
    case Convertor::kFloat:
      return IsFloat(text);
    case Convertor::kUuid:
      return IsUuid(text);
    case Convertor::kPath:
      return true;
  }
  return false;
}

size_t LongestTake(Convertor convertor, std::string_view text) {
  if (convertor == Convertor::kPath) return text.size();
  const size_t slash = text.find('/');
  const size_t segment = slash == std::string_view::npos ? text.size() : slash;
  if (segment == 0) return SIZE_MAX;
  if (convertor == Convertor::kString) return segment;
  size_t take = 0;
  const auto fits = [&](char c) {
    switch (convertor) {
      case Convertor::kInt:
        return IsDigit(c);
      case Convertor::kFloat:
        return IsDigit(c) || c == '.';
      default:
        return IsHex(c) || c == '-';
    }
  };
  while (take < segment && fits(text[take])) ++take;
  return take == 0 ? SIZE_MAX : take;
}

bool MatchPieces(const TemplatePiece* pieces, size_t count, std::string_view text, uint32_t base,
                 Capture* captures, int* steps) {
  if (--*steps < 0) return false;
  if (count == 0) return text.empty();
  const TemplatePiece& piece = pieces[0];
  if (piece.convertor == Convertor::kLiteral) {
    if (!text.starts_with(piece.text)) return false;
    const size_t taken = piece.text.size();
    return MatchPieces(pieces + 1, count - 1, text.substr(taken),
                       base + static_cast<uint32_t>(taken), captures, steps);
  }
  const size_t longest = LongestTake(piece.convertor, text);
  if (longest == SIZE_MAX) return false;
  const bool any_text =
      piece.convertor == Convertor::kString || piece.convertor == Convertor::kPath;
  const size_t shortest = piece.convertor == Convertor::kPath ? 0 : 1;
  for (size_t take = longest + 1; take-- > shortest && *steps >= 0;) {
    if (!any_text && !Accepts(piece.convertor, text.substr(0, take))) continue;
    if (MatchPieces(pieces + 1, count - 1, text.substr(take), base + static_cast<uint32_t>(take),
                    captures + 1, steps)) {
      captures[0] = {base, base + static_cast<uint32_t>(take)};
      return true;
    }
  }
  return false;
}

}  // namespace catzilla::route
