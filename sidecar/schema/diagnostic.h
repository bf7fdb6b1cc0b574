// One finding about a configuration: typed, with its place and the remedy.
//
// Threads: plain values. The list of codes is diagnostic_codes.inc and nowhere else.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/closest.h"

namespace catzilla::control::v1 {
class Diagnostic;
}

namespace catzilla::schema {

enum class Code : uint16_t {
#define DIAGNOSTIC(name, code, meaning) name,
#include "sidecar/schema/diagnostic_codes.inc"
#undef DIAGNOSTIC
};

enum class Severity : uint8_t { kInfo = 1, kWarning = 2, kError = 3 };

struct Diagnostic {
  Code code = Code::kSyntax;
  Severity severity = Severity::kError;
  std::string path;     // "mounts[assets].root"; empty: the whole document.
  uint32_t line = 0;    // 1-based; 0: not from a file.
  std::string message;  // What is wrong, with the value.
  std::string hint;     // What to do about it; may be empty.
  std::string file;
};

using Diagnostics = std::vector<Diagnostic>;

std::string_view CodeText(Code code);     // "CZ1203"
std::string_view CodeMeaning(Code code);  // The sentence of the list.
std::string_view SeverityText(Severity severity);

bool HasErrors(const Diagnostics& diagnostics);

// "config.yaml:12: error CZ1203: mounts[assets].root: no such directory (create it, ...)"
std::string Format(const Diagnostic& diagnostic);

void ToProto(const Diagnostic& diagnostic, control::v1::Diagnostic* out);

using base::Closest;

// docs/diagnostics.md
std::string DiagnosticsReference();

}  // namespace catzilla::schema
