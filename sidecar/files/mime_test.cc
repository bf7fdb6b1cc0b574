#include "sidecar/files/mime.h"

#include <gtest/gtest.h>

namespace catzilla::files {
namespace {

TEST(Mime, GoesByTheLastExtension) {
  struct {
    std::string_view name, type;
  } const kRows[] = {
      {"index.html", "text/html; charset=utf-8"},
      {"APP.JS", "text/javascript; charset=utf-8"},
      {"a/b.d/app.min.mjs", "text/javascript; charset=utf-8"},
      {"style.css", "text/css; charset=utf-8"},
      {"app.js.map", "application/json"},
      {"logo.svg", "image/svg+xml"},
      {"font.woff2", "font/woff2"},
      {"module.wasm", "application/wasm"},
      {"site.webmanifest", "application/manifest+json"},
      {"archive.tar.gz", "application/gzip"},
      {"README", "application/octet-stream"},
      {"a.b/README", "application/octet-stream"},
      {"x.", "application/octet-stream"},
      {"x.unknown", "application/octet-stream"},
      {"", "application/octet-stream"},
  };
  for (const auto& row : kRows) EXPECT_EQ(MimeType(row.name, {}), row.type) << row.name;
  EXPECT_GE(MimeTableSize(), 150u);
}

TEST(Mime, IsOverriddenByTheMount) {
  EXPECT_EQ(MimeType("a.HTML", {{"html", "text/html; charset=iso-8859-1"}}),
            "text/html; charset=iso-8859-1");
  EXPECT_EQ(MimeType("a.wat", {{"Wat", "text/plain"}}), "text/plain");
}

}  // namespace
}  // namespace catzilla::files
