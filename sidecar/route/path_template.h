// Path templates: "/items/{id:int}", "/{name}.{ext}", "/files/{rest:path}".
//
// Convertors are Starlette's: str (one segment, not empty), int (digits), float (digits, maybe a
// point and digits), uuid (8-4-4-4-12 hex), path (anything, slashes too, may be empty).
// Pure; any thread. Fails: ParseTemplate says what is wrong and where.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/result.h"

namespace catzilla::route {

enum class Convertor : uint8_t { kLiteral, kString, kInt, kFloat, kUuid, kPath };

struct TemplatePiece {
  Convertor convertor = Convertor::kLiteral;
  std::string text;  // The literal's text, or the parameter's name.
  bool operator==(const TemplatePiece&) const = default;
};

struct PathTemplate {
  std::vector<TemplatePiece> pieces;
  std::string literal_prefix;  // Up to the first parameter.

  size_t parameter_count() const;
  // A path convertor anywhere but at the very end of its own segment: no trie can tell where it
  // ends.
  bool has_inner_path() const;
};

base::Result<PathTemplate, std::string> ParseTemplate(std::string_view text);

// Where a parameter's value is in the path. Half-open.
struct Capture {
  uint32_t begin = 0;
  uint32_t end = 0;  // Not included.
};

// How many bytes at the start of `text` a convertor may take at the most; text ends the segment, or
// the path for kPath. Returns SIZE_MAX where it may take none at all.
size_t LongestTake(Convertor convertor, std::string_view text);
// Whether `text` as a whole is a value of the convertor.
bool Accepts(Convertor convertor, std::string_view text);

// Matches all of `text` against `pieces`, greedily and backtracking as Python's re does; writes a
// Capture for each parameter, offset by `base`, in order. REQUIRES: room for all of them. Each try
// takes a step; with none left the answer is false and *steps is negative: a path made to be slow
// must not hold a loop.
bool MatchPieces(const TemplatePiece* pieces, size_t count, std::string_view text, uint32_t base,
                 Capture* captures, int* steps);

}  // namespace catzilla::route
