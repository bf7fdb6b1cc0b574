// Comparing what a peer says with what only the right one knows.
//
// Threads: pure; any.
#pragma once

#include <cstddef>
#include <string_view>

namespace catzilla::base {

// Takes as long for a wrong secret as for the right one: how long depends on what was said, never
// on where it differs. False if `secret` is empty: what was never set lets nobody in.
inline bool IsSecret(std::string_view said, std::string_view secret) {
  if (secret.empty()) return false;
  unsigned char differs = said.size() == secret.size() ? 0 : 1;
  for (size_t i = 0; i < said.size(); ++i) {
    differs |= static_cast<unsigned char>(said[i] ^ secret[i % secret.size()]);
  }
  return differs == 0;
}

}  // namespace catzilla::base
