#include "sidecar/schema/layers.h"

#include <algorithm>

#include "sidecar/schema/fields.h"
#include "sidecar/schema/reflect.h"

namespace catzilla::schema {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr std::string_view LayerText(config::Layer layer) {
  switch (layer) {
    case config::Layer::kApp:
      return "the app";
    case config::Layer::kFile:
      return "the file";
    case config::Layer::kApi:
      return "the API";
  }
  return "";
}

class Merger {
 public:
  explicit Merger(const Layers& layers) : layers_(layers) {}

  Merged Run() {
    Singletons();
    // Lowest precedence last: what is already there wins.
    const config::v1::Config& file = layers_.file->config;
    const config::v1::Config& api = layers_.api->config;
    Section("listeners", file.listeners(), api.listeners(), merged_.config.mutable_listeners());
    Section("mounts", file.mounts(), api.mounts(), merged_.config.mutable_mounts());
    Section("routes", file.routes(), api.routes(), merged_.config.mutable_routes());
    Section("caches", file.caches(), api.caches(), merged_.config.mutable_caches());
    Section("pools", file.pools(), api.pools(), merged_.config.mutable_pools());
    for (const auto& [name, app] : layers_.apps) Apps(name, *app);
    Implied();
    DropShadowedMounts();
    FillDefaults(&merged_.config);
    return std::move(merged_);
  }

 private:
  void Singletons() {
    for (const auto* from : {&layers_.file->config, &layers_.api->config}) {
      const bool api = from == &layers_.api->config;
      const Reflection* reflection = from->GetReflection();
      for (int i = 0; i < from->GetDescriptor()->field_count(); ++i) {
        const FieldDescriptor* field = from->GetDescriptor()->field(i);
        if (field->is_repeated() || !reflection->HasField(*from, field)) continue;
        if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
          SetScalar(&merged_.config, field, ScalarText(*from, field));
          Note(field->name(), api);
          continue;
        }
        const Message& block = reflection->GetMessage(*from, field);
        Overlay(merged_.config.GetReflection()->MutableMessage(&merged_.config, field), block);
        for (int n = 0; n < block.GetDescriptor()->field_count(); ++n) {
          const FieldDescriptor* inner = block.GetDescriptor()->field(n);
          const bool set = inner->is_repeated() ? block.GetReflection()->FieldSize(block, inner) > 0
                                                : block.GetReflection()->HasField(block, inner);
          if (set) Note(field->name() + "." + inner->name(), api);
        }
      }
    }
  }

  // Remembers where `path` came from.
  void Note(const std::string& path, bool api) {
    Source source;
    source.layer = api ? config::Layer::kApi : config::Layer::kFile;
    const auto& origins = api ? layers_.api->origins : layers_.file->origins;
    const auto origin = origins.find(path);
    source.line = FindLine(api ? layers_.api->lines : layers_.file->lines, path);
    if (origin != origins.end()) {
      source.origin = origin->second;
      source.line = 0;
    } else if (!api) {
      source.file = layers_.file->file;
      source.origin = source.file + (source.line > 0 ? ":" + std::to_string(source.line) : "");
    } else {
      source.origin = "API";
    }
    merged_.sources[path] = std::move(source);
  }

  template <typename Resources>
  void Section(const std::string& section, const Resources& file, const Resources& api,
               Resources* out) {
    std::unordered_map<std::string, const typename Resources::value_type*> of_api;
    for (const auto& resource : api) {
      if (!of_api.emplace(resource.name(), &resource).second) Double(section, resource.name());
    }
    std::set<std::string> taken;
    for (const auto& resource : file) {
      const std::string path = ResourcePath(section, resource.name());
      if (!taken.insert(resource.name()).second) {
        Double(section, resource.name());
        continue;
      }
      if (layers_.api->tombstones.contains(path) && !of_api.contains(resource.name())) continue;
      const auto higher = of_api.find(resource.name());
      *out->Add() = higher == of_api.end() ? resource : *higher->second;
      Note(path, higher != of_api.end());
      if (higher != of_api.end()) Shadow(path, config::Layer::kApi, config::Layer::kFile, "");
    }
    for (const auto& resource : api) {
      if (!taken.insert(resource.name()).second) continue;
      *out->Add() = resource;
      Note(ResourcePath(section, resource.name()), true);
    }
  }

  void Apps(const std::string& name, const AppLayer& app) {
    AppSection("mounts", name, app.registration.mounts(), merged_.config.mutable_mounts());
    AppSection("caches", name, app.registration.caches(), merged_.config.mutable_caches());
    google::protobuf::RepeatedPtrField<config::v1::Pool> pools;
    *pools.Add() = app.registration.pool();
    pools.Mutable(0)->set_name(name);
    AppSection("pools", name, pools, merged_.config.mutable_pools());
  }

  template <typename Resources>
  void AppSection(const std::string& section, const std::string& app, const Resources& from,
                  Resources* out) {
    for (const auto& resource : from) {
      const std::string path = ResourcePath(section, resource.name());
      const auto taken = merged_.sources.find(path);
      if (taken != merged_.sources.end()) {
        if (taken->second.layer == config::Layer::kApp) {
          Double(section, resource.name());
        } else if (section != "pools") {  // An operator's pool is meant to say how an app is run.
          Shadow(path, taken->second.layer, config::Layer::kApp, "");
        }
        continue;
      }
      *out->Add() = resource;
      merged_.sources[path] = {config::Layer::kApp, "", 0, "app " + app};
    }
  }

  void Double(const std::string& section, const std::string& name) {
    const std::string path = ResourcePath(section, name);
    merged_.diagnostics.push_back({Code::kDuplicateName, Severity::kError, path, 0,
                                   "two " + section + " are named \"" + name + "\"",
                                   "rename one of them", ""});
  }

  void Shadow(const std::string& path, config::Layer by, config::Layer what,
              const std::string& by_path) {
    merged_.diagnostics.push_back({Code::kShadowed, Severity::kWarning, path, 0,
                                   "the one of " + std::string(LayerText(what)) + " is hidden by " +
                                       (by_path.empty() ? "the one" : by_path) + " of " +
                                       std::string(LayerText(by)),
                                   "delete one of them if this is not meant", ""});
  }

  // What exists without being written: a listener, the pool "app", the cache "default" if it is
  // asked for.
  void Implied() {
    config::v1::Config& config = merged_.config;
    if (config.listeners().empty()) {
      config.add_listeners()->set_name("http");
      merged_.sources["listeners[http]"].origin = "default";
    }
    if (!merged_.sources.contains("pools[app]")) {
      config.add_pools()->set_name("app");
      merged_.sources["pools[app]"].origin = "default";
    }
    bool wanted =
        std::any_of(config.routes().begin(), config.routes().end(),
                    [](const config::v1::Route& route) { return route.cache() == "default"; });
    for (const auto& [name, app] : layers_.apps) {
      for (const auto& route : app->registration.table().routes()) {
        wanted |= route.has_cache() &&
                  (route.cache().cache().empty() || route.cache().cache() == "default");
      }
    }
    if (wanted && !merged_.sources.contains("caches[default]")) {
      config.add_caches()->set_name("default");
      merged_.sources["caches[default]"].origin = "default";
    }
  }

  // Two mounts of one host and prefix: the higher layer's wins; of one layer they are an error.
  void DropShadowedMounts() {
    struct Holder {
      std::string path;
      config::Layer layer;
    };
    std::map<std::pair<std::string, std::string>, Holder> best;
    std::set<std::string> dropped;
    for (const auto& mount : merged_.config.mounts()) {
      const std::string path = ResourcePath("mounts", mount.name());
      const config::Layer layer = merged_.sources[path].layer;
      const auto [held, fresh] = best.try_emplace(
          {NormalHost(mount.host()), NormalPrefix(mount.prefix())}, Holder{path, layer});
      if (fresh) continue;
      if (held->second.layer == layer) {
        merged_.diagnostics.push_back(
            {Code::kMountConflict, Severity::kError, path + ".prefix", 0,
             held->second.path + " has the same host and the prefix " + mount.prefix(),
             "give one of them another prefix or host", ""});
        continue;
      }
      const bool replaces = layer > held->second.layer;
      const Holder loser = replaces ? held->second : Holder{path, layer};
      if (replaces) held->second = {path, layer};
      Shadow(loser.path, held->second.layer, loser.layer, held->second.path);
      dropped.insert(loser.path);
    }
    auto* mounts = merged_.config.mutable_mounts();
    for (int i = mounts->size(); i-- > 0;) {
      const std::string path = ResourcePath("mounts", mounts->Get(i).name());
      if (!dropped.contains(path)) continue;
      mounts->DeleteSubrange(i, 1);
    }
  }

  const Layers& layers_;
  Merged merged_;
};

}  // namespace

std::string ResourcePath(const std::string& section, const std::string& name) {
  return section + "[" + name + "]";
}

std::string NormalPrefix(const std::string& prefix) {
  std::string out = prefix;
  while (out.size() > 1 && out.ends_with('/')) out.pop_back();
  return out;
}

std::string NormalHost(const std::string& host) {
  std::string out = host;
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (out.ends_with('.')) out.pop_back();
  return out;
}

void Overlay(Message* base, const Message& over) {
  const Reflection* reflection = over.GetReflection();
  for (int i = 0; i < over.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = over.GetDescriptor()->field(i);
    if (!field->is_repeated()) continue;
    // MergeFrom would append.
    if (reflection->FieldSize(over, field) > 0) base->GetReflection()->ClearField(base, field);
  }
  base->MergeFrom(over);
}

Merged Merge(const Layers& layers) { return Merger(layers).Run(); }

void Locate(const Layers& layers, const Merged& merged, Diagnostic* diagnostic) {
  if (diagnostic->line > 0 || !diagnostic->file.empty()) return;
  std::string path = diagnostic->path;
  // The innermost source that encloses the path; "limits.idle_timeout" before "limits".
  for (;;) {
    const auto found = merged.sources.find(path);
    if (found != merged.sources.end()) {
      if (found->second.layer == config::Layer::kFile) {
        diagnostic->file = found->second.file;
        diagnostic->line = FindLine(layers.file->lines, diagnostic->path);
      } else if (found->second.layer == config::Layer::kApi) {
        diagnostic->line = FindLine(layers.api->lines, diagnostic->path);
      }
      return;
    }
    const size_t cut = path.find_last_of(".[");
    if (cut == std::string::npos) break;
    path.resize(cut);
  }
  // Of something that was not kept, a double for example: the file is the likely place.
  const uint32_t line = FindLine(layers.file->lines, diagnostic->path);
  if (line == 0) return;
  diagnostic->file = layers.file->file;
  diagnostic->line = line;
}

std::string AppRouteName(const std::string& app, const control::v1::AppRoute& route) {
  return app + "#" + std::to_string(route.id());
}

void AddAppRoutes(const Layers& layers, config::v1::Config* config) {
  for (const auto& [name, app] : layers.apps) {
    for (const auto& route : app->registration.table().routes()) {
      config::v1::Route* out = config->add_routes();
      out->set_name(AppRouteName(name, route));
      if (!route.host().empty()) out->set_host(route.host());
      *out->mutable_methods() = route.methods();
      out->set_path(route.template_());
      out->set_pool(name);
      if (route.has_cache()) {
        out->set_cache(route.cache().cache().empty() ? "default" : route.cache().cache());
        if (route.cache().has_ttl()) out->set_cache_ttl(route.cache().ttl());
        *out->mutable_cache_tags() = route.cache().tags();
        if (route.cache().ignores_cookies()) out->set_cache_ignores_cookies(true);
      }
      if (route.has_max_body_size())
        out->set_max_body_size(std::to_string(route.max_body_size()) + "B");
      if (route.has_request_timeout()) out->set_request_timeout(route.request_timeout());
      if (route.idempotent()) out->set_idempotent(true);
    }
  }
}

}  // namespace catzilla::schema
