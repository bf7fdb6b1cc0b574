#include "control_client/commands/command.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

namespace catzilla::control_client {

bool Session::PrintStructured(const google::protobuf::Message& message) const {
  if (format == Format::kJson) {
    std::cout << ToJson(message);
    return true;
  }
  if (format == Format::kYaml) {
    std::cout << ToYaml(message);
    return true;
  }
  return false;
}

ExitCode Report(const RpcError& error) {
  std::cerr << "catzillactl: " << error.message << "\n";
  for (const v1::Diagnostic& diagnostic : error.diagnostics) {
    std::cerr << "  " << DiagnosticLine(diagnostic) << "\n";
  }
  return error.exit_code;
}

void PrintDiagnostics(const google::protobuf::RepeatedPtrField<v1::Diagnostic>& diagnostics) {
  for (const v1::Diagnostic& diagnostic : diagnostics) {
    std::cerr << DiagnosticLine(diagnostic) << "\n";
  }
}

std::string ReadInput(const std::string& path) {
  std::ostringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
    return text.str();
  }
  std::ifstream file(path);
  if (!file) {
    throw CLI::ValidationError("-f", path + ": " + std::strerror(errno) +
                                         " (give a file that exists, or - for standard input)");
  }
  text << file.rdbuf();
  return text.str();
}

}  // namespace catzilla::control_client
