// What a file is, by the last extension of its name.
// Pure; any thread. Text types say charset=utf-8: what is not UTF-8 gets a type by the mount's
// config.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace catzilla::files {

// The Content-Type of the file called `name`. `overrides` (extension without its dot, type) come
// first; case does not matter. Unknown extensions are application/octet-stream.
std::string_view MimeType(std::string_view name,
                          const std::vector<std::pair<std::string, std::string>>& overrides);

// For tests: how many extensions are built in.
size_t MimeTableSize();

}  // namespace catzilla::files
