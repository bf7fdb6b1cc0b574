#include "sidecar/schema/store.h"

#include <algorithm>

#include "sidecar/base/check.h"
#include "sidecar/schema/compile.h"
#include "sidecar/schema/render.h"
#include "sidecar/schema/state_file.h"
#include "sidecar/schema/validate.h"

namespace catzilla::schema {
namespace {

config::v1::Config WithAppRoutes(const Layers& layers, const Merged& merged) {
  config::v1::Config config = merged.config;
  AddAppRoutes(layers, &config);
  return config;
}

std::string Bytes(const google::protobuf::Message& message) { return RenderYaml(message); }

// What of the apps is not in the merged configuration: their tables, and who answers by them.
bool SameApps(const Layers& a, const Layers& b) {
  if (a.apps.size() != b.apps.size()) return false;
  for (const auto& [name, layer] : a.apps) {
    const auto other = b.apps.find(name);
    if (other == b.apps.end() || other->second->generation != layer->generation) return false;
    if (other->second != layer && other->second->registration.table().SerializeAsString() !=
                                      layer->registration.table().SerializeAsString()) {
      return false;
    }
  }
  return true;
}

template <typename Resources>
void ForEach(
    const char* section, const Resources& resources,
    const std::function<void(const std::string&, const google::protobuf::Message&)>& visit) {
  for (const auto& resource : resources) visit(ResourcePath(section, resource.name()), resource);
}

void ForEachResource(
    const config::v1::Config& config,
    const std::function<void(const std::string&, const google::protobuf::Message&)>& visit) {
  ForEach("listeners", config.listeners(), visit);
  ForEach("mounts", config.mounts(), visit);
  ForEach("routes", config.routes(), visit);
  ForEach("caches", config.caches(), visit);
  ForEach("pools", config.pools(), visit);
}

// A directory that has gone since its mount was accepted must not forbid every later change.
void TolerateOldGaps(const Version& running, const Merged& wanted, Diagnostics* diagnostics) {
  for (Diagnostic& diagnostic : *diagnostics) {
    if (diagnostic.code != Code::kMissingDirectory) continue;
    const std::string path = diagnostic.path.substr(0, diagnostic.path.rfind('.'));
    std::string before;
    std::string now;
    ForEach("mounts", running.merged.config.mounts(),
            [&](const std::string& at, const auto& mount) {
              if (at == path) before = Bytes(mount);
            });
    ForEach("mounts", wanted.config.mounts(), [&](const std::string& at, const auto& mount) {
      if (at == path) now = Bytes(mount);
    });
    if (!before.empty() && before == now) diagnostic.severity = Severity::kWarning;
  }
}

// What is kept of the running listeners is theirs, not the file's of the next start.
void KeepListenerSources(const Version& running, Merged* merged) {
  const auto is_listener = [](const auto& source) {
    return source.first.starts_with("listeners[");
  };
  std::erase_if(merged->sources, is_listener);
  for (const auto& source : running.merged.sources) {
    if (is_listener(source)) merged->sources.insert(source);
  }
}

// What waits for a restart, to tell whether that has changed.
std::string Pending(const Diagnostics& diagnostics) {
  std::string text;
  for (const Diagnostic& diagnostic : diagnostics) {
    if (diagnostic.code != Code::kRestartRequired) continue;
    text += diagnostic.path + diagnostic.message + "\n";
  }
  return text;
}

}  // namespace

size_t Version::restart_pending() const {
  return static_cast<size_t>(std::count_if(
      diagnostics.begin(), diagnostics.end(),
      [](const Diagnostic& diagnostic) { return diagnostic.code == Code::kRestartRequired; }));
}

ConfigStore::ConfigStore(StoreOptions options) : options_(std::move(options)) {
  CATZILLA_CHECK(options_.wall_clock_us != nullptr, "a ConfigStore needs a clock");
}

std::shared_ptr<const Version> ConfigStore::Current() const {
  base::MutexLock lock(mutex_);
  return current_;
}

std::shared_ptr<const Rejection> ConfigStore::LastRejected() const {
  base::MutexLock lock(mutex_);
  return last_rejected_;
}

uint64_t ConfigStore::RejectionsTotal(config::Layer layer) const {
  base::MutexLock lock(mutex_);
  return rejections_[static_cast<size_t>(layer)];
}

std::vector<HistoryEntry> ConfigStore::History() const {
  base::MutexLock lock(mutex_);
  return history_;
}

// Changing it...

Outcome ConfigStore::SetFile(FileLayer layer, Diagnostics findings, const std::string& origin) {
  base::MutexLock change(change_mutex_);
  const auto current = Current();
  if (current == nullptr) return Start(std::move(layer), std::move(findings), origin);
  Layers layers = current->layers;
  layers.file = std::make_shared<const FileLayer>(std::move(layer));
  ChangeOptions options;
  options.origin = origin;
  return Commit(Build(std::move(layers), std::move(findings), current.get()), config::Layer::kFile,
                options);
}

Outcome ConfigStore::Start(FileLayer layer, Diagnostics findings, const std::string& origin) {
  Layers layers;
  layers.file = std::make_shared<const FileLayer>(std::move(layer));
  ChangeOptions options;
  options.origin = origin;
  Candidate of_file = Build(layers, std::move(findings), nullptr);
  const std::string state_dir = of_file.merged.config.control().state_dir();
  if (HasErrors(of_file.diagnostics))
    return Commit(std::move(of_file), config::Layer::kFile, options);

  StateFile state(state_dir);
  ApiLayer kept;
  Diagnostics state_findings;
  if (state_dir.empty() || !state.Load(&kept, &state_findings)) {
    return Commit(std::move(of_file), config::Layer::kFile, options);
  }
  Layers with_api = layers;
  with_api.api = std::make_shared<const ApiLayer>(std::move(kept));
  Candidate all = Build(std::move(with_api), state_findings, nullptr);
  if (!HasErrors(all.diagnostics)) return Commit(std::move(all), config::Layer::kFile, options);

  // What operators once applied does not fit any more. The file is served; theirs is kept aside,
  // and the refusal is visible: better than a pod that cannot start.
  Diagnostics why = all.diagnostics;
  const std::string aside = state.SetAside();
  why.push_back({Code::kNotPersisted, Severity::kWarning, "control.state_dir", 0,
                 "the changes kept there are not served",
                 aside.empty() ? "correct or remove them"
                               : "they are in " + aside + "; apply them again when corrected",
                 ""});
  Outcome outcome = Commit(std::move(of_file), config::Layer::kFile, options);
  Reject(config::Layer::kApi, state.path(), why);
  outcome.diagnostics.insert(outcome.diagnostics.end(), why.begin(), why.end());
  return outcome;
}

Outcome ConfigStore::ChangeApi(const Edit& edit, const ChangeOptions& options) {
  base::MutexLock change(change_mutex_);
  const auto current = Current();
  CATZILLA_CHECK(current != nullptr, "the api layer changes only after the start");
  if (options.if_version && *options.if_version != current->number) {
    return {Applied::kConflict, current->number, {}, ""};
  }
  ApiLayer layer = *current->layers.api;
  layer.lines.clear();
  Diagnostics findings = edit(*current, &layer);
  Layers layers = current->layers;
  layers.api = std::make_shared<const ApiLayer>(std::move(layer));
  return Commit(Build(std::move(layers), std::move(findings), current.get(), options.strict),
                config::Layer::kApi, options);
}

Outcome ConfigStore::SetApp(const std::string& name, std::shared_ptr<const AppLayer> layer,
                            const ChangeOptions& options) {
  base::MutexLock change(change_mutex_);
  const auto current = Current();
  CATZILLA_CHECK(current != nullptr, "apps register only after the start");
  Layers layers = current->layers;
  if (layer == nullptr) {
    layers.apps.erase(name);
  } else {
    layers.apps[name] = std::move(layer);
  }
  return Commit(Build(std::move(layers), {}, current.get()), config::Layer::kApp, options);
}

Diagnostics ConfigStore::Check(config::v1::Config config, LineMap lines, Diagnostics findings,
                               config::Layer layer) const {
  const auto current = Current();
  Layers layers = current != nullptr ? current->layers : Layers();
  if (layer == config::Layer::kApi) {
    ApiLayer api = *layers.api;
    api.config = std::move(config);
    api.lines = std::move(lines);
    layers.api = std::make_shared<const ApiLayer>(std::move(api));
    return Build(std::move(layers), std::move(findings), current.get()).diagnostics;
  }
  // A file is checked by itself: it may be meant for another sidecar, or for the next start of this
  // one.
  FileLayer file;
  file.config = std::move(config);
  file.lines = std::move(lines);
  layers.file = std::make_shared<const FileLayer>(std::move(file));
  layers.api = std::make_shared<const ApiLayer>();
  layers.apps.clear();
  return Build(std::move(layers), std::move(findings), nullptr).diagnostics;
}

// The way of a candidate...

ConfigStore::Candidate ConfigStore::Build(Layers layers, Diagnostics findings,
                                          const Version* running, bool strict) const {
  Candidate candidate;
  candidate.layers = std::move(layers);
  candidate.merged = Merge(candidate.layers);
  candidate.diagnostics = std::move(findings);
  Diagnostics found = candidate.merged.diagnostics;
  ValidateContext context;
  context.memory_limit_bytes = options_.memory_limit_bytes;
  context.check_files = options_.check_files;
  Validate(candidate.layers, candidate.merged, context, &found);
  if (running != nullptr) {
    KeepRunning(running->merged.config, strict, &candidate.merged.config, &found);
  }
  if (running != nullptr) TolerateOldGaps(*running, candidate.merged, &found);
  for (Diagnostic& diagnostic : found) {
    Locate(candidate.layers, candidate.merged, &diagnostic);
    candidate.diagnostics.push_back(std::move(diagnostic));
  }
  if (running != nullptr) KeepListenerSources(*running, &candidate.merged);
  return candidate;
}

Outcome ConfigStore::Commit(Candidate candidate, config::Layer layer,
                            const ChangeOptions& options) {
  const auto current = Current();
  Outcome outcome;
  outcome.version = current == nullptr ? 0 : current->number;
  outcome.diagnostics = candidate.diagnostics;
  if (options.with_diff) {
    outcome.diff = DiffConfigs(
        current == nullptr ? config::v1::Config() : WithAppRoutes(current->layers, current->merged),
        WithAppRoutes(candidate.layers, candidate.merged));
  }
  if (HasErrors(candidate.diagnostics)) {
    outcome.applied = Applied::kRefused;
    if (!options.dry_run) Reject(layer, options.origin, candidate.diagnostics);
    return outcome;
  }
  const bool same = current != nullptr &&
                    Bytes(current->merged.config) == Bytes(candidate.merged.config) &&
                    SameApps(current->layers, candidate.layers) &&
                    Pending(current->diagnostics) == Pending(candidate.diagnostics);
  outcome.applied = same ? Applied::kUnchanged : Applied::kChanged;
  if (options.dry_run) return outcome;

  const bool api_changed = layer == config::Layer::kApi;
  const std::string state_dir = candidate.merged.config.control().state_dir();
  if (api_changed && !state_dir.empty()) {
    const std::string wrong = StateFile(state_dir).Save(*candidate.layers.api);
    if (!wrong.empty()) {
      outcome.diagnostics.push_back(
          {Code::kNotPersisted, Severity::kWarning, "control.state_dir", 0, wrong,
           "the change is served, but a restart forgets it: make the directory writable", ""});
    }
  }
  auto version = MakeVersion(std::move(candidate), layer, options.origin, current.get());
  if (same) {
    // Lines and comments may have moved; nothing that is served has.
    auto moved = std::make_shared<Version>(*version);
    moved->number = current->number;
    moved->time_us = current->time_us;
    moved->layer = current->layer;
    moved->origin = current->origin;
    moved->snapshot = current->snapshot;
    moved->stamps = current->stamps;
    version = std::move(moved);
  }
  outcome.version = version->number;
  {
    base::MutexLock lock(mutex_);
    current_ = version;
    if (last_rejected_ != nullptr && last_rejected_->layer == layer) last_rejected_ = nullptr;
    if (!same) {
      history_.push_back({version->number, version->time_us, layer, options.origin});
      if (history_.size() > kHistoryMax) history_.erase(history_.begin());
    }
  }
  if (!same) Tell({version, nullptr});
  return outcome;
}

std::shared_ptr<const Version> ConfigStore::MakeVersion(Candidate candidate, config::Layer layer,
                                                        const std::string& origin,
                                                        const Version* previous) const {
  auto version = std::make_shared<Version>();
  version->number = previous == nullptr ? 1 : previous->number + 1;
  version->time_us = options_.wall_clock_us();
  version->layer = layer;
  version->origin = origin;
  version->snapshot =
      Compile(candidate.layers, candidate.merged, version->number, options_.memory_limit_bytes,
              previous == nullptr ? nullptr : previous->snapshot.get());
  version->layers = std::move(candidate.layers);
  version->merged = std::move(candidate.merged);
  version->diagnostics = std::move(candidate.diagnostics);

  std::map<std::string, std::string> before;
  if (previous != nullptr) {
    ForEachResource(previous->merged.config, [&](const std::string& path, const auto& resource) {
      before[path] = Bytes(resource);
    });
  }
  ForEachResource(version->merged.config, [&](const std::string& path, const auto& resource) {
    const auto same = before.find(path);
    const bool kept =
        same != before.end() && same->second == Bytes(resource) && previous->stamps.contains(path);
    version->stamps[path] =
        kept ? previous->stamps.at(path) : Stamp{version->number, version->time_us};
  });
  return version;
}

void ConfigStore::Reject(config::Layer layer, const std::string& origin,
                         const Diagnostics& diagnostics) {
  auto rejection = std::make_shared<Rejection>();
  rejection->time_us = options_.wall_clock_us();
  rejection->layer = layer;
  rejection->origin = origin;
  rejection->diagnostics = diagnostics;
  {
    base::MutexLock lock(mutex_);
    last_rejected_ = rejection;
    ++rejections_[static_cast<size_t>(layer)];
  }
  Tell({nullptr, rejection});
}

// Observers...

void ConfigStore::Tell(const Event& event) {
  base::MutexLock lock(observers_mutex_);
  for (const auto& [id, observer] : observers_) observer(event);
}

int ConfigStore::Subscribe(Observer observer) {
  base::MutexLock lock(observers_mutex_);
  const int id = next_observer_++;
  observers_.emplace(id, std::move(observer));
  return id;
}

void ConfigStore::Unsubscribe(int id) {
  base::MutexLock lock(observers_mutex_);
  observers_.erase(id);
}

}  // namespace catzilla::schema
