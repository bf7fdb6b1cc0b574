// What this room's tests share: folders that go away, layers from text. Tests only.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/schema/store.h"
#include "sidecar/schema/yaml.h"

namespace catzilla::schema {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/catzilla-schema-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDir() {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) ADD_FAILURE() << error.message();
  }
  std::string path;
};

inline void Write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

inline StoreOptions Options(bool check_files = false) {
  StoreOptions options;
  options.memory_limit_bytes = 1ull << 30;
  options.check_files = check_files;
  options.wall_clock_us = [] { return int64_t{1'700'000'000'000'000}; };
  return options;
}

inline FileLayer FileOf(const std::string& text) {
  Document document = ReadDocument(text, "f.yaml");
  EXPECT_TRUE(document.diagnostics.empty()) << Format(document.diagnostics[0]);
  FileLayer layer;
  layer.config = std::move(document.config);
  layer.lines = std::move(document.lines);
  layer.file = "f.yaml";
  return layer;
}

inline Outcome SetFile(ConfigStore& store, const std::string& text) {
  return store.SetFile(FileOf(text), {}, "f.yaml");
}

inline Outcome Apply(ConfigStore& store, const std::string& text, ChangeOptions options = {}) {
  options.origin = "uid 0";
  return store.ChangeApi(
      [&](const Version&, ApiLayer* layer) {
        layer->config = ReadDocument(text).config;
        return Diagnostics();
      },
      options);
}

inline std::shared_ptr<AppLayer> AppOf(const std::vector<std::string>& templates,
                                       bool trusted = true) {
  auto app = std::make_shared<AppLayer>();
  app->trusted = trusted;
  uint32_t id = 0;
  for (const std::string& text : templates) {
    auto* route = app->registration.mutable_table()->add_routes();
    route->set_id(++id);
    route->set_declaration_index(id);
    route->set_kind(control::v1::ROUTE_KIND_API);
    route->add_methods("GET");
    route->set_template_(text);
  }
  return app;
}

inline std::string Codes(const Diagnostics& diagnostics) {
  std::string out;
  for (const Diagnostic& diagnostic : diagnostics) {
    out += Format(diagnostic) + "\n";
  }
  return out;
}

}  // namespace catzilla::schema
