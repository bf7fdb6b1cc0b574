// catzillactl completion, version: no sidecar is needed (version asks one if it answers).
#include <iostream>

#include "control_client/commands/command.h"

namespace catzilla::control_client {
namespace {

// Every subcommand's path and options, from the parser itself, so that nothing is listed twice.
void Collect(const CLI::App* app, const std::string& path,
             std::map<std::string, std::string>& words) {
  std::string list;
  for (const CLI::App* sub : app->get_subcommands([](const CLI::App*) { return true; })) {
    list += sub->get_name() + " ";
    Collect(sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), words);
  }
  for (const CLI::Option* option : app->get_options()) {
    for (const std::string& name : option->get_lnames()) list += "--" + name + " ";
  }
  words[path] = list;
}

std::string BashCompletion(const CLI::App* root) {
  std::map<std::string, std::string> words;
  Collect(root, "", words);
  std::string text =
      "_catzillactl() {\n  local path=\"\" word\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \"$word\" in -*) ;; *) path=\"${path:+$path }$word\" ;; esac\n  done\n"
      "  case \"$path\" in\n";
  for (const auto& [path, list] : words) {
    text += "    \"" + path + "\") COMPREPLY=($(compgen -W \"" + list +
            "\" -- \"${COMP_WORDS[COMP_CWORD]}\")) ;;\n";
  }
  return text +
         "    *) COMPREPLY=($(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\")) ;;\n  esac\n}\n"
         "complete -F _catzillactl catzillactl\n";
}

}  // namespace

void AddCompletion(Session& session) {
  CLI::App* command =
      session.root->add_subcommand("completion", "print shell completion: bash or zsh");
  const auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  command->callback([&session, shell] {
    session.run = [shell](Session& chosen, Client&) {
      if (*shell == "zsh") std::cout << "autoload -U bashcompinit && bashcompinit\n";
      std::cout << BashCompletion(chosen.root);
      return kOk;
    };
  });
}

void AddVersion(Session& session) {
  CLI::App* command = session.root->add_subcommand("version", "catzillactl's and the sidecar's");
  const auto client_only = std::make_shared<bool>(false);
  command->add_flag("--client", *client_only, "do not ask the sidecar");
  command->callback([&session, client_only] {
    session.run = [client_only](Session&, Client& client) {
      std::cout << "catzillactl " << CATZILLA_VERSION << "\n";
      if (*client_only) return kOk;
      const auto result = client.Status();
      if (!result.ok()) return Report(result.error());
      std::cout << "sidecar     " << result->version() << "\n";
      return kOk;
    };
  });
}

}  // namespace catzilla::control_client
