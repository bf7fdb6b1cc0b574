#include "control_client/output/format.h"

#include <google/protobuf/util/json_util.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "sidecar/base/utf8.h"

namespace catzilla::control_client {
namespace {

// JSON is YAML: the nodes are read and written anew in block style. Quoted scalars stay quoted, for
// "8080" and 8080 are different things.
void Emit(YAML::Emitter& out, const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Map:
      out << YAML::BeginMap;
      for (const auto& field : node) {
        out << YAML::Key << field.first.Scalar() << YAML::Value;
        Emit(out, field.second);
      }
      out << YAML::EndMap;
      return;
    case YAML::NodeType::Sequence:
      out << YAML::BeginSeq;
      for (const auto& item : node) Emit(out, item);
      out << YAML::EndSeq;
      return;
    case YAML::NodeType::Scalar:
      if (node.Tag() == "!") {
        out << YAML::DoubleQuoted << node.Scalar();
      } else {
        out << node.Scalar();
      }
      return;
    default:
      out << YAML::Null;
  }
}

std::string SeverityName(control::v1::Severity severity) {
  switch (severity) {
    case control::v1::SEVERITY_ERROR:
      return "error";
    case control::v1::SEVERITY_WARNING:
      return "warning";
    default:
      return "info";
  }
}

}  // namespace

std::string Table::Text() const {
  std::vector<size_t> widths;
  for (const std::string& column : columns_) widths.push_back(column.size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  const auto append = [&](const std::vector<std::string>& cells) {
    for (size_t i = 0; i < cells.size(); ++i) {
      text += cells[i];
      if (i + 1 < cells.size()) text += std::string(widths[i] - cells[i].size() + 3, ' ');
    }
    text += '\n';
  };
  append(columns_);
  for (const auto& row : rows_) append(row);
  return text;
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string text;
  google::protobuf::util::MessageToJsonString(message, &text, options);
  return text;
}

std::string ToYaml(const google::protobuf::Message& message) {
  YAML::Emitter out;
  Emit(out, YAML::Load(ToJson(message)));
  return std::string(out.c_str()) + "\n";
}

std::string Age(int64_t seconds) {
  // Before 2001: nobody said when.
  if (seconds < 0 || seconds > 1'000'000'000) return "-";
  const auto number = [](int64_t value) { return std::to_string(value); };
  if (seconds < 120) return number(seconds) + "s";
  if (seconds < 7200) return number(seconds / 60) + "m";
  if (seconds < 172'800) return number(seconds / 3600) + "h";
  return number(seconds / 86'400) + "d";
}

std::string Bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f%s" : "%.1f%s", value, kUnits[unit]);
  return text;
}

std::string Duration(uint64_t microseconds) {
  char text[32];
  const auto value = static_cast<double>(microseconds);
  if (microseconds < 1000) {
    std::snprintf(text, sizeof(text), "%.0fus", value);
  } else if (microseconds < 1'000'000) {
    std::snprintf(text, sizeof(text), "%.1fms", value / 1e3);
  } else {
    std::snprintf(text, sizeof(text), "%.1fs", value / 1e6);
  }
  return text;
}

std::string Count(uint64_t number, const std::string& noun) {
  return std::to_string(number) + " " + noun + (number == 1 ? "" : "s");
}

std::string EnumName(std::string name, const std::string& prefix) {
  name.erase(0, prefix.size());
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

std::string Indented(std::string_view text, size_t spaces) {
  std::string lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines += std::string(spaces, ' ') + base::PercentSafe(text.substr(0, end)) + "\n";
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string Layer(control::v1::Layer layer) {
  switch (layer) {
    case control::v1::LAYER_APP:
      return "app";
    case control::v1::LAYER_FILE:
      return "file";
    case control::v1::LAYER_API:
      return "api";
    case control::v1::LAYER_EFFECTIVE:
      return "effective";
    default:
      return "-";
  }
}

std::string DiagnosticLine(const control::v1::Diagnostic& diagnostic) {
  std::string line = SeverityName(diagnostic.severity());
  if (!diagnostic.code().empty()) line += " " + diagnostic.code();
  if (!diagnostic.path().empty()) line += " " + diagnostic.path();
  if (diagnostic.line() != 0) {
    line += " (" + (diagnostic.file().empty() ? "line " : diagnostic.file() + ":") +
            std::to_string(diagnostic.line()) + ")";
  }
  line += ": " + diagnostic.message();
  if (!diagnostic.hint().empty()) line += " (" + diagnostic.hint() + ")";
  return line;
}

}  // namespace catzilla::control_client
