// catzillactl get, apply, diff, validate: the configuration.
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "control_client/commands/command.h"
#include "sidecar/base/utf8.h"

namespace catzilla::control_client {
namespace {

struct ApplyFlags {
  std::string file;
  uint64_t if_version = 0;
  bool dry_run = false;
  bool merge = false;
  bool strict = false;
};

// False: it is not UTF-8, which has been said; the API could not even carry it.
bool ReadConfig(const std::string& file, std::string* text) {
  *text = ReadInput(file);
  const size_t at = base::FindInvalidUtf8(*text);
  if (at == std::string::npos) return true;
  v1::Diagnostic finding;
  finding.set_severity(v1::SEVERITY_ERROR);
  finding.set_code("CZ1010");
  if (file != "-") finding.set_file(file);
  finding.set_line(static_cast<uint32_t>(
      1 + std::count(text->begin(), text->begin() + static_cast<std::ptrdiff_t>(at), '\n')));
  finding.set_message("line " + std::to_string(finding.line()) + ": not UTF-8");
  finding.set_hint("save the file as UTF-8");
  std::cerr << "catzillactl: " << DiagnosticLine(finding) << "\n";
  return false;
}

// Findings name the file as it was given, and relative paths in it count from its folder, whatever
// the sidecar's own is.
template <typename Request>
void NameInput(const std::string& file, Request& request) {
  if (file == "-") {
    request.set_folder(std::filesystem::current_path().string());
    return;
  }
  request.set_file(base::PercentSafe(file));
  request.set_folder(std::filesystem::absolute(file).parent_path().string());
}

v1::ApplyRequest MakeApply(const ApplyFlags& flags, std::string text) {
  v1::ApplyRequest request;
  request.set_text(std::move(text));
  NameInput(flags.file, request);
  if (flags.if_version != 0) request.set_if_version(flags.if_version);
  request.set_dry_run(flags.dry_run);
  request.set_merge(flags.merge);
  request.set_strict(flags.strict);
  return request;
}

ExitCode RunApply(const ApplyFlags& flags, Session& session, Client& client) {
  std::string text;
  if (!ReadConfig(flags.file, &text)) return kInvalidConfig;
  const auto result = client.Apply(MakeApply(flags, std::move(text)));
  if (!result.ok()) return Report(result.error());
  PrintDiagnostics(result->diagnostics());
  if (session.PrintStructured(*result)) return kOk;
  if (session.format == Format::kName) {
    std::cout << result->version() << "\n";
    return kOk;
  }
  std::cout << result->diff() << (result->changed() ? "applied" : "unchanged") << ", version "
            << result->version() << (flags.dry_run ? " (dry run)" : "") << "\n";
  return kOk;
}

ExitCode RunDiff(const ApplyFlags& flags, Session& session, Client& client) {
  ApplyFlags dry = flags;
  dry.dry_run = true;
  std::string text;
  if (!ReadConfig(flags.file, &text)) return kInvalidConfig;
  const auto result = client.Apply(MakeApply(dry, std::move(text)));
  if (!result.ok()) return Report(result.error());
  PrintDiagnostics(result->diagnostics());
  if (!session.PrintStructured(*result)) std::cout << result->diff();
  return result->changed() ? kDiffers : kOk;
}

ExitCode RunValidate(const std::string& file, Session& session, Client& client) {
  v1::ValidateRequest request;
  std::string text;
  if (!ReadConfig(file, &text)) return kInvalidConfig;
  request.set_text(std::move(text));
  NameInput(file, request);
  const auto result = client.Validate(request);
  if (!result.ok()) return Report(result.error());
  if (!session.PrintStructured(*result)) {
    PrintDiagnostics(result->diagnostics());
    std::cout << (result->valid() ? "valid" : "invalid") << "\n";
  }
  return result->valid() ? kOk : kInvalidConfig;
}

ExitCode RunGet(v1::Layer layer, Session& session, Client& client) {
  v1::ConfigServiceGetRequest request;
  request.set_layer(layer);
  const auto result = client.GetConfig(request);
  if (!result.ok()) return Report(result.error());
  if (session.format == Format::kJson) {
    std::cout << ToJson(result->config());
  } else if (session.format == Format::kName) {
    for (const v1::ResourceInfo& resource : result->resources())
      std::cout << resource.path() << "\n";
  } else {
    std::cout << "# version " << result->version()
              << (layer == v1::LAYER_EFFECTIVE
                      ? ", without the routes of apps (catzillactl route ls)"
                      : "")
              << "\n"
              << ToYaml(result->config());
  }
  PrintDiagnostics(result->diagnostics());
  return kOk;
}

void AddApplyFlags(CLI::App* command, ApplyFlags& flags) {
  command->add_option("-f,--file", flags.file, "YAML or JSON, - for standard input")->required();
  command->add_flag("--merge", flags.merge, "add to the api layer instead of replacing it");
  command->add_flag("--strict", flags.strict,
                    "refuse what takes effect with a restart only, instead of a warning");
}

}  // namespace

void AddGet(Session& session) {
  CLI::App* get = session.root->add_subcommand("get", "show a resource")->require_subcommand(1);
  CLI::App* config = get->add_subcommand("config", "the configuration, as YAML or JSON");
  const auto layer = std::make_shared<v1::Layer>(v1::LAYER_EFFECTIVE);
  config->add_option("--layer", *layer, "effective, api, file or app")
      ->option_text("LAYER")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, v1::Layer>{{"effective", v1::LAYER_EFFECTIVE},
                                           {"api", v1::LAYER_API},
                                           {"file", v1::LAYER_FILE},
                                           {"app", v1::LAYER_APP}}));
  config->callback([&session, layer] {
    session.run = [layer](Session& chosen, Client& client) {
      return RunGet(*layer, chosen, client);
    };
  });
}

void AddApply(Session& session) {
  CLI::App* command = session.root->add_subcommand("apply", "replace the api layer by a file");
  const auto flags = std::make_shared<ApplyFlags>();
  AddApplyFlags(command, *flags);
  command->add_option("--if-version", flags->if_version,
                      "refuse unless this is the current version");
  command->add_flag("--dry-run", flags->dry_run, "say what would change, change nothing");
  command->callback([&session, flags] {
    session.run = [flags](Session& chosen, Client& client) {
      return RunApply(*flags, chosen, client);
    };
  });
}

void AddDiff(Session& session) {
  CLI::App* command =
      session.root->add_subcommand("diff", "what apply would change; exit code 3 if anything");
  const auto flags = std::make_shared<ApplyFlags>();
  AddApplyFlags(command, *flags);
  command->callback([&session, flags] {
    session.run = [flags](Session& chosen, Client& client) {
      return RunDiff(*flags, chosen, client);
    };
  });
}

void AddValidate(Session& session) {
  CLI::App* command =
      session.root->add_subcommand("validate", "check a file; exit code 6 if it is not valid");
  const auto file = std::make_shared<std::string>();
  command->add_option("-f,--file", *file, "YAML or JSON, - for standard input")->required();
  command->callback([&session, file] {
    session.run = [file](Session& chosen, Client& client) {
      return RunValidate(*file, chosen, client);
    };
  });
}

}  // namespace catzilla::control_client
