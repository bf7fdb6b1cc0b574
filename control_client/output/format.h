// How results are printed: tables for people, JSON and YAML for programs, names for pipes.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "catzilla/control/v1/common.pb.h"

namespace catzilla::control_client {

enum class Format { kTable, kWide, kJson, kYaml, kName };

// Columns as wide as their widest cell; NAME first, AGE last, as kubectl does it.
class Table {
 public:
  explicit Table(std::vector<std::string> columns) : columns_(std::move(columns)) {}
  void Row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string Text() const;
  bool empty() const { return rows_.empty(); }

 private:
  std::vector<std::string> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Field names as in the .proto files, so that what is printed can be applied again.
std::string ToJson(const google::protobuf::Message& message);
std::string ToYaml(const google::protobuf::Message& message);

// "12", "3m", "2d4h": since then.
std::string Age(int64_t seconds);
std::string Bytes(uint64_t bytes);            // "1.5MiB"
std::string Duration(uint64_t microseconds);  // "850us", "1.2ms", "3.4s"
// "1 object", "2 objects"
std::string Count(uint64_t number, const std::string& noun);
// The name of an enum's value without its prefix: "ready" of WORKER_STATE_READY.
std::string EnumName(std::string name, const std::string& prefix);
// Text of several lines that came from outside, made safe for a terminal, each line indented.
std::string Indented(std::string_view text, size_t spaces);
std::string Layer(control::v1::Layer layer);

// One line per finding: "error CZ1203 mounts[assets].root (config.yaml:4): … (hint)".
std::string DiagnosticLine(const control::v1::Diagnostic& diagnostic);

}  // namespace catzilla::control_client
