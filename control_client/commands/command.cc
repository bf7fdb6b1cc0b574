#include "control_client/commands/command.h"

#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <system_error>

#include "sidecar/base/utf8.h"

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

bool ReadHeaders(const std::vector<std::string>& given,
                 google::protobuf::Map<std::string, std::string>* headers) {
  for (const std::string& header : given) {
    const size_t colon = header.find(':');
    if (colon == std::string::npos || colon == 0) {
      std::cerr << "catzillactl: '" << base::PercentSafe(header)
                << "' is no header (give \"name: value\")\n";
      return false;
    }
    std::string name = header.substr(0, colon);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const size_t begin = header.find_first_not_of(" \t", colon + 1);
    const std::string value = begin == std::string::npos ? "" : header.substr(begin);
    const auto [place, is_new] = headers->insert({name, value});
    if (!is_new) place->second += (name == "cookie" ? "; " : ", ") + value;
  }
  return true;
}

bool ParseDuration(const std::string& text, int64_t* milliseconds) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const std::string unit = end;
  const double scale = unit == "s"                    ? 1000
                       : unit == "m"                  ? 60'000
                       : unit.empty() || unit == "ms" ? 1
                                                      : 0;
  *milliseconds = static_cast<int64_t>(number * scale);
  return *milliseconds > 0;
}

std::string ReadInput(const std::string& path) {
  std::ostringstream text;
  if (path == "-") {
    text << std::cin.rdbuf();
    return text.str();
  }
  if (std::error_code error; std::filesystem::is_directory(path, error)) {
    throw CLI::ValidationError("-f", path + ": is a folder (give a file in it)");
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
