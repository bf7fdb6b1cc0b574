// Three layers of configuration, and the one they make: api over file over app.
//
// Resources merge whole, by name; the other blocks field by field. A deleted file resource is a
// tombstone of the api layer. Pure; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include "catzilla/config/v1/config.pb.h"
#include "catzilla/control/v1/route_service.pb.h"
#include "sidecar/config/snapshot.h"
#include "sidecar/schema/diagnostic.h"
#include "sidecar/schema/yaml.h"

namespace catzilla::schema {

// The file, with what flags and environment lay over it.
struct FileLayer {
  config::v1::Config config;
  LineMap lines;
  std::string file;  // As shown; empty: there is none.
  std::map<std::string, std::string>
      origins;  // Path -> "--root", "CATZILLA_...", where not the file.
};

struct ApiLayer {
  config::v1::Config config;
  std::set<std::string> tombstones;            // "mounts[assets]"
  LineMap lines;                               // Of the text that was applied, if it was text.
  std::map<std::string, std::string> origins;  // Resource -> who put it there.
};

// What one app has registered.
struct AppLayer {
  control::v1::Registration registration;
  bool trusted = false;     // Runs as the sidecar's own user: may mount any directory.
  uint64_t generation = 0;  // Of the workers that answer by this table; 0: it has none yet.
};

struct Layers {
  std::shared_ptr<const FileLayer> file = std::make_shared<FileLayer>();
  std::shared_ptr<const ApiLayer> api = std::make_shared<ApiLayer>();
  std::map<std::string, std::shared_ptr<const AppLayer>> apps;  // By name.
};

// Where a resource or a field of the merged configuration came from.
struct Source {
  config::Layer layer = config::Layer::kFile;
  std::string file;
  uint32_t line = 0;
  std::string origin;  // "config.yaml:12", "uid 1000", "app shop", "default"
};

struct Merged {
  config::v1::Config config;  // Defaults filled in. Without the routes of apps.
  std::unordered_map<std::string, Source> sources;  // "mounts[assets]", "limits.idle_timeout"
  Diagnostics diagnostics;                          // Of merging: doubles and shadows.
};

Merged Merge(const Layers& layers);

// Writes file and line into a diagnostic, from its path.
void Locate(const Layers& layers, const Merged& merged, Diagnostic* diagnostic);

// The routes of all apps as configuration shows them; "shop#12" is route 12 of the app shop.
void AddAppRoutes(const Layers& layers, config::v1::Config* config);
std::string AppRouteName(const std::string& app, const control::v1::AppRoute& route);

// Lays what is set in `over` over `base`; lists are replaced, named resources too.
void Overlay(google::protobuf::Message* base, const google::protobuf::Message& over);

// "mounts[assets]" for a resource message of a repeated field of Config.
std::string ResourcePath(const std::string& section, const std::string& name);

// Without host case, port or trailing slash: what is compared when mounts meet.
std::string NormalPrefix(const std::string& prefix);
std::string NormalHost(const std::string& host);

}  // namespace catzilla::schema
