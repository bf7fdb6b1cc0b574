// One field of a head, borrowed from whoever parsed it. Values; any thread.
#pragma once

#include <span>
#include <string_view>

namespace catzilla::http {

struct Field {
  std::string_view name;
  std::string_view value;  // Without surrounding white space.
};
using Fields = std::span<const Field>;

}  // namespace catzilla::http
