// What every command gets, and the list of all of them.
//
// A command adds its own subcommand to the parser and, when it is chosen, sets `run`. main.cc then
// connects and calls it.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "control_client/client.h"
#include "control_client/output/format.h"

namespace catzilla::control_client {

struct Session {
  CLI::App* root = nullptr;
  ClientOptions options;
  Format format = Format::kTable;
  std::function<ExitCode(Session&, Client&)> run;  // Of the chosen command.

  // Prints `message` as JSON or YAML if that was asked for; false: print a table instead.
  bool PrintStructured(const google::protobuf::Message& message) const;
};

// Prints the error and its diagnostics to standard error.
ExitCode Report(const RpcError& error);
void PrintDiagnostics(const google::protobuf::RepeatedPtrField<v1::Diagnostic>& diagnostics);

// A file's text, or standard input for "-". Throws CLI::ValidationError with the remedy.
std::string ReadInput(const std::string& path);

// "500ms", "10s", "2m", or milliseconds. False: not a duration above zero.
bool ParseDuration(const std::string& text, int64_t* milliseconds);

// "name: value" of each -H, several of one name as one list. False: one is no header, which has
// been said.
bool ReadHeaders(const std::vector<std::string>& given,
                 google::protobuf::Map<std::string, std::string>* headers);

void AddStatus(Session& session);
void AddGet(Session& session);
void AddApply(Session& session);
void AddDiff(Session& session);
void AddValidate(Session& session);
void AddMount(Session& session);
void AddRoute(Session& session);
void AddWorker(Session& session);
void AddCache(Session& session);
void AddStats(Session& session);
void AddExplain(Session& session);
void AddMemory(Session& session);
void AddDrain(Session& session);
void AddCompletion(Session& session);
void AddVersion(Session& session);

}  // namespace catzilla::control_client
