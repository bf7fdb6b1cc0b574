// Bytes that came from outside, as text that protobuf's strings and a terminal may carry.
//
// Pure; any thread. Never fails.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace catzilla::base {

// Bytes of the character at the front, 1 to 4; 0: there is no well-formed one (RFC 3629: no
// overlong forms, no surrogates, nothing above U+10FFFF). REQUIRES: `text` is not empty.
size_t Utf8CharacterBytes(std::string_view text);

// Where the first byte stands that is not of well-formed UTF-8; npos: there is none.
size_t FindInvalidUtf8(std::string_view bytes);

// The same text, with each byte that is not UTF-8 and each control character as "%E9". Text that
// has none comes back as it was.
std::string PercentSafe(std::string_view bytes);

// The longest beginning of at most `bytes_max` bytes that ends between two characters.
std::string_view CutUtf8(std::string_view text, size_t bytes_max);

}  // namespace catzilla::base
