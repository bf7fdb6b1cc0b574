#include "sidecar/schema/diagnostic.h"

#include <algorithm>

#include "catzilla/control/v1/common.pb.h"
#include "sidecar/base/utf8.h"

namespace catzilla::schema {
namespace {

struct Entry {
  std::string_view code;
  std::string_view meaning;
};

constexpr Entry kEntries[] = {
#define DIAGNOSTIC(name, code, meaning) {code, meaning},
#include "sidecar/schema/diagnostic_codes.inc"
#undef DIAGNOSTIC
};

}  // namespace

std::string_view CodeText(Code code) { return kEntries[static_cast<size_t>(code)].code; }
std::string_view CodeMeaning(Code code) { return kEntries[static_cast<size_t>(code)].meaning; }

std::string_view SeverityText(Severity severity) {
  switch (severity) {
    case Severity::kInfo:
      return "info";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "error";
}

bool HasErrors(const Diagnostics& diagnostics) {
  return std::any_of(diagnostics.begin(), diagnostics.end(),
                     [](const Diagnostic& d) { return d.severity == Severity::kError; });
}

std::string Format(const Diagnostic& diagnostic) {
  std::string out;
  if (!diagnostic.file.empty()) {
    out += diagnostic.file + ":";
    if (diagnostic.line > 0) out += std::to_string(diagnostic.line) + ":";
    out += " ";
  } else if (diagnostic.line > 0) {
    out += "line " + std::to_string(diagnostic.line) + ": ";
  }
  out += std::string(SeverityText(diagnostic.severity)) + " " +
         std::string(CodeText(diagnostic.code)) + ": ";
  if (!diagnostic.path.empty()) out += diagnostic.path + ": ";
  out += diagnostic.message;
  if (!diagnostic.hint.empty()) out += " (" + diagnostic.hint + ")";
  return out;
}

void ToProto(const Diagnostic& diagnostic, control::v1::Diagnostic* out) {
  out->set_code(std::string(CodeText(diagnostic.code)));
  out->set_severity(static_cast<control::v1::Severity>(diagnostic.severity));
  // What they quote may be bytes of anyone; protobuf's strings carry only UTF-8.
  out->set_path(base::PercentSafe(diagnostic.path));
  out->set_line(diagnostic.line);
  out->set_message(base::PercentSafe(diagnostic.message));
  out->set_hint(base::PercentSafe(diagnostic.hint));
  out->set_file(base::PercentSafe(diagnostic.file));
}

std::string DiagnosticsReference() {
  std::string out =
      "# Diagnostics\n\nEvery finding about a configuration has one of these codes, in the API, on "
      "the command\n"
      "line and in the log. Printed by `catzilla-sidecar --print-diagnostics`; do not "
      "edit.\n\n"
      "| code | meaning |\n|---|---|\n";
  for (const Entry& entry : kEntries) {
    out += "| `" + std::string(entry.code) + "` | " + std::string(entry.meaning) + " |\n";
  }
  return out;
}

}  // namespace catzilla::schema
