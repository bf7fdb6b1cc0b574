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

// Levenshtein's distance, given up past `limit`.
size_t Distance(std::string_view a, std::string_view b, size_t limit) {
  if (a.size() > b.size() + limit || b.size() > a.size() + limit) return limit + 1;
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

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

std::string_view Closest(std::string_view word, const std::vector<std::string_view>& candidates) {
  if (word.size() > 64) return {};
  const size_t limit = std::max<size_t>(1, word.size() / 3);
  std::string_view best;
  size_t best_distance = limit + 1;
  for (const std::string_view candidate : candidates) {
    size_t distance = Distance(word, candidate, limit);
    // "max_body" for "max_body_size", "ttl" for "cache_ttl".
    if (distance > limit && word.size() >= 3 &&
        (candidate.find(word) != std::string_view::npos ||
         word.find(candidate) != std::string_view::npos)) {
      distance = limit;
    }
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
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
