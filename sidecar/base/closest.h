// "did you mean": the word that someone most likely meant.
//
// Pure; any thread. Words of more than 64 bytes are close to nothing.
#pragma once

#include <string_view>
#include <vector>

namespace catzilla::base {

// The closest of `candidates` to `word`, empty if none is close.
std::string_view Closest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace catzilla::base
