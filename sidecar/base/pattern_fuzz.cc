// A pattern, a line end, a path: whatever both are, matching ends, a match is also a hold, and a
// pattern of plain bytes matches itself.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sidecar/base/pattern.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using catzilla::base::Pattern;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\n');
  const std::string_view text = input.substr(0, end);
  const std::string_view path = end == input.npos ? text : input.substr(end + 1);
  const auto pattern = Pattern::Compile(text);
  if (!pattern) return 0;
  if (pattern->Matches(path) && !pattern->MatchesOrHolds(path)) std::abort();
  const bool plain = text.find_first_of("*?[\\") == text.npos;
  if (plain && text[0] != '/' && text.back() != '/' && !pattern->Matches(text)) std::abort();
  return 0;
}
