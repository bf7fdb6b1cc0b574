// Reads tests/conformance/malformed.txt; its first lines say how. For tests only.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace catzilla::http {

struct MalformedCase {
  std::string name;
  uint16_t status = 0;  // 0: accepted.
  int requests = 0;     // How many, if accepted.
  std::string bytes;
};

inline void PrintTo(const MalformedCase& tested, std::ostream* out) { *out << tested.name; }

// The bytes that a table's text stands for.
std::string Unescape(std::string_view text);

// CHECKs that the file is there and well-formed.
std::vector<MalformedCase> ReadMalformedTable(const std::string& path);

}  // namespace catzilla::http
