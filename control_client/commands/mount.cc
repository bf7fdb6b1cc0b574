// catzillactl mount add, rm, ls: static mounts, live.
#include <climits>
#include <cstdlib>
#include <ctime>
#include <iostream>

#include "control_client/commands/command.h"

namespace catzilla::control_client {
namespace {

struct AddFlags {
  std::string prefix;
  std::string root;
  std::string name;
  std::string host;
  std::string index_file;
  std::string cache_control;
  std::string revalidate;
  std::string max_cached_file;
  std::string symlinks;
  std::string directory_listing;
  std::string spa_fallback;
  std::string max_file_size;
  std::string fingerprinted;
  std::string charset;
  std::vector<std::string> index_files;
  std::vector<std::string> allowed_extensions;
  std::vector<std::string> blocked_extensions;
  std::vector<std::string> blocked_patterns;
  std::string invalidation;
  bool hidden_files = false;
  bool dry_run = false;
  CLI::App* command = nullptr;

  bool given(const char* option) const { return command->count(option) > 0; }
};

// What is served of the directory, and what is not.
void SetServingRules(const AddFlags& flags, config::v1::Mount& mount) {
  if (flags.directory_listing == "off") {
    mount.set_directory_listing(config::v1::DIRECTORY_LISTING_OFF);
  } else if (flags.directory_listing == "html") {
    mount.set_directory_listing(config::v1::DIRECTORY_LISTING_HTML);
  } else if (flags.directory_listing == "json") {
    mount.set_directory_listing(config::v1::DIRECTORY_LISTING_JSON);
  }
  if (flags.fingerprinted == "off") mount.set_fingerprinted(config::v1::FINGERPRINTED_OFF);
  if (flags.fingerprinted == "immutable") {
    mount.set_fingerprinted(config::v1::FINGERPRINTED_IMMUTABLE);
  }
  if (flags.given("--spa-fallback")) mount.set_spa_fallback(flags.spa_fallback);
  if (flags.given("--max-file-size")) mount.set_max_file_size(flags.max_file_size);
  if (flags.given("--charset")) mount.set_charset(flags.charset);
  for (const auto& one : flags.index_files) mount.add_index_files(one);
  for (const auto& one : flags.allowed_extensions) mount.add_allowed_extensions(one);
  for (const auto& one : flags.blocked_extensions) mount.add_blocked_extensions(one);
  for (const auto& one : flags.blocked_patterns) mount.add_blocked_patterns(one);
}

void AddServingRules(CLI::App& add, AddFlags& flags) {
  add.add_option("--directory-listing", flags.directory_listing, "off (default), html or json")
      ->check(CLI::IsMember({"off", "html", "json"}));
  add.add_option("--index-files", flags.index_files, "the first that is there; comma-separated")
      ->delimiter(',');
  add.add_option("--spa-fallback", flags.spa_fallback, "answers navigations to what is missing");
  add.add_option("--allowed-extensions", flags.allowed_extensions, "others are 404")
      ->delimiter(',');
  add.add_option("--blocked-extensions", flags.blocked_extensions, "these are 404")->delimiter(',');
  add.add_option("--block", flags.blocked_patterns, "404 for what matches; may be repeated");
  add.add_option("--max-file-size", flags.max_file_size, "larger files are 404");
  add.add_option("--fingerprinted", flags.fingerprinted, "off (default) or immutable")
      ->check(CLI::IsMember({"off", "immutable"}));
  add.add_option("--charset", flags.charset, "of text types (utf-8); off: none");
}

ExitCode RunAdd(const AddFlags& flags, Session& session, Client& client) {
  v1::MountServiceCreateRequest request;
  config::v1::Mount& mount = *request.mutable_mount();
  if (flags.given("--name")) mount.set_name(flags.name);
  if (flags.given("--host")) mount.set_host(flags.host);
  mount.set_prefix(flags.prefix);
  // The sidecar may have another working directory than this shell.
  char absolute[PATH_MAX];
  mount.set_root(realpath(flags.root.c_str(), absolute) != nullptr ? absolute : flags.root);
  if (flags.given("--index-file")) mount.set_index_file(flags.index_file);
  if (flags.given("--cache-control")) mount.set_cache_control(flags.cache_control);
  if (flags.given("--revalidate")) mount.set_revalidate(flags.revalidate);
  if (flags.given("--max-cached-file")) mount.set_max_cached_file(flags.max_cached_file);
  if (flags.given("--hidden-files")) mount.set_hidden_files(flags.hidden_files);
  if (flags.symlinks == "never") mount.set_symlinks(config::v1::SYMLINKS_NEVER);
  if (flags.symlinks == "inside") mount.set_symlinks(config::v1::SYMLINKS_INSIDE);
  if (flags.symlinks == "anywhere") mount.set_symlinks(config::v1::SYMLINKS_ANYWHERE);
  if (flags.invalidation == "immediate") mount.set_invalidation(config::v1::INVALIDATION_IMMEDIATE);
  if (flags.invalidation == "lazy") mount.set_invalidation(config::v1::INVALIDATION_LAZY);
  if (flags.invalidation == "ttl") mount.set_invalidation(config::v1::INVALIDATION_TTL);
  SetServingRules(flags, mount);
  request.set_dry_run(flags.dry_run);
  const auto result = client.CreateMount(request);
  if (!result.ok()) return Report(result.error());
  PrintDiagnostics(result->diagnostics());
  if (session.PrintStructured(*result)) return kOk;
  const std::string& name = result->mount().mount().name();
  if (session.format == Format::kName) {
    std::cout << name << "\n";
  } else {
    std::cout << "mount " << name << " added: " << result->mount().mount().prefix() << " -> "
              << result->mount().mount().root() << ", version " << result->version()
              << (flags.dry_run ? " (dry run)" : "") << "\n";
  }
  return kOk;
}

// One line per mount; fails if any did, and names it.
ExitCode RunRemove(const std::vector<std::string>& names, Client& client) {
  ExitCode worst = kOk;
  for (const std::string& name : names) {
    v1::MountServiceDeleteRequest request;
    request.set_name(name);
    const auto result = client.DeleteMount(request);
    if (result.ok()) {
      PrintDiagnostics(result->diagnostics());
      std::cout << "mount " << name << " removed, version " << result->version() << "\n";
    } else {
      std::cerr << "mount " << name << ": ";
      worst = Report(result.error());
    }
  }
  return worst;
}

ExitCode RunList(Session& session, Client& client) {
  const auto result = client.ListMounts();
  if (!result.ok()) return Report(result.error());
  if (session.PrintStructured(*result)) return kOk;
  Table table({"NAME", "HOST", "PREFIX", "ROOT", "SOURCE", "AGE"});
  for (const v1::MountState& state : result->mounts()) {
    const config::v1::Mount& mount = state.mount();
    if (session.format == Format::kName) {
      std::cout << mount.name() << "\n";
      continue;
    }
    table.Row({mount.name(), mount.host().empty() ? "*" : mount.host(), mount.prefix(),
               mount.root(), Layer(state.info().layer()),
               Age(std::time(nullptr) - state.info().time().seconds())});
  }
  if (session.format != Format::kName) std::cout << table.Text();
  return kOk;
}

}  // namespace

void AddMount(Session& session) {
  CLI::App* mount =
      session.root->add_subcommand("mount", "static mounts, live")->require_subcommand(1);

  CLI::App* add = mount->add_subcommand("add", "serve a directory under a prefix");
  const auto flags = std::make_shared<AddFlags>();
  flags->command = add;
  add->add_option("PREFIX", flags->prefix, "begins with /")->required();
  add->add_option("DIRECTORY", flags->root, "as the sidecar sees it")->required();
  add->add_option("--name", flags->name, "default: made of the prefix");
  add->add_option("--host", flags->host, "only for this host");
  add->add_option("--index-file", flags->index_file, "served for a directory; empty: none");
  add->add_option("--cache-control", flags->cache_control, "the field of 200, 206 and 304");
  add->add_option("--revalidate", flags->revalidate, "changes on disk are seen after this (1s)");
  add->add_option("--max-cached-file", flags->max_cached_file, "larger files use sendfile (1MiB)");
  add->add_option("--symlinks", flags->symlinks, "never, inside (default) or anywhere")
      ->check(CLI::IsMember({"never", "inside", "anywhere"}));
  add->add_option("--invalidation", flags->invalidation, "immediate (default), lazy or ttl")
      ->check(CLI::IsMember({"immediate", "lazy", "ttl"}));
  AddServingRules(*add, *flags);
  add->add_flag("--hidden-files", flags->hidden_files, "serve names that begin with a dot");
  add->add_flag("--dry-run", flags->dry_run, "check only");
  add->callback([&session, flags] {
    session.run = [flags](Session& chosen, Client& client) {
      return RunAdd(*flags, chosen, client);
    };
  });

  CLI::App* remove = mount->add_subcommand("rm", "stop serving mounts");
  const auto names = std::make_shared<std::vector<std::string>>();
  remove->add_option("NAME", *names, "one or more")->required();
  remove->callback([&session, names] {
    session.run = [names](Session&, Client& client) { return RunRemove(*names, client); };
  });

  mount->add_subcommand("ls", "list mounts")->callback([&session] { session.run = &RunList; });
}

}  // namespace catzilla::control_client
