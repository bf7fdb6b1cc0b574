#include "sidecar/files/rules.h"

#include <gtest/gtest.h>

namespace catzilla::files {
namespace {

TEST(Rules, BlockExtensionsInAnyCaseAndTheirPrecompressedSiblings) {
  config::Mount config;
  config.blocked_extensions = {"env"};
  const Rules rules(config);
  EXPECT_TRUE(rules.AllowsFile("a.txt", 1));
  for (const char* path : {"a.env", "deep/a.ENV", "a.env.gz", "a.env.br", "a.env.zst"}) {
    EXPECT_FALSE(rules.AllowsFile(path, 1)) << path;
  }
}

TEST(Rules, AllowOnlyWhatIsListed) {
  config::Mount config;
  config.allowed_extensions = {"html", "js"};
  const Rules rules(config);
  EXPECT_TRUE(rules.AllowsFile("a.html", 1));
  EXPECT_TRUE(rules.AllowsFile("a.JS", 1));
  EXPECT_FALSE(rules.AllowsFile("README", 1));
  EXPECT_FALSE(rules.AllowsFile("a.js.gz", 1));
}

TEST(Rules, BlockPatternsWithAllBelowThem) {
  config::Mount config;
  config.blocked_patterns = {"*.bak", "/private"};
  const Rules rules(config);
  for (const char* path : {"a.bak", "a.bak.gz", "x/a.bak", "private", "private/", "private/a/b"}) {
    EXPECT_FALSE(rules.AllowsPath(path)) << path;
  }
  EXPECT_TRUE(rules.AllowsPath("x/private"));
  EXPECT_TRUE(rules.AllowsPath(""));
}

TEST(Rules, APatternThatDoesNotCompileShowsNothing) {
  config::Mount config;
  config.blocked_patterns = {"[a"};
  EXPECT_FALSE(Rules(config).AllowsPath("a.txt"));
}

TEST(Rules, LimitTheSize) {
  config::Mount config;
  config.file_bytes_max = 10;
  EXPECT_TRUE(Rules(config).AllowsFile("a", 10));
  EXPECT_FALSE(Rules(config).AllowsFile("a", 11));
}

TEST(Rules, LabelFingerprintedNames) {
  for (const char* name : {"app.3f2a1b9c.js", "index-Diwr4Tda.css", "app.3f2a1b9c.js.map",
                           "css/app.3f2a1b9c.min.css"}) {
    EXPECT_TRUE(IsFingerprinted(name)) << name;
  }
  for (const char* name : {"app.js", "jquery-3.7.1.min.js", "report-20240101.pdf", "3f2a1b9c",
                           "a.stylesheet.css", "3f2a1b9c.js", ".3f2a1b9c.js", ""}) {
    EXPECT_FALSE(IsFingerprinted(name)) << name;
  }
  config::Mount config;
  config.cache_control = "no-store";
  EXPECT_EQ(Rules(config).CacheControl("app.3f2a1b9c.js"), "no-store");
  config.fingerprinted_immutable = true;
  EXPECT_EQ(Rules(config).CacheControl("app.3f2a1b9c.js"), "public, max-age=31536000, immutable");
  EXPECT_EQ(Rules(config).CacheControl("app.js"), "no-store");
}

TEST(Rules, SayTheCharset) {
  config::Mount config;
  EXPECT_EQ(Rules(config).ContentType("text/css; charset=utf-8"), "text/css; charset=utf-8");
  config.charset = "iso-8859-1";
  EXPECT_EQ(Rules(config).ContentType("text/css; charset=utf-8"), "text/css; charset=iso-8859-1");
  EXPECT_EQ(Rules(config).ContentType("image/png"), "image/png");
  config.charset = "";
  EXPECT_EQ(Rules(config).ContentType("text/css; charset=utf-8"), "text/css");
}

}  // namespace
}  // namespace catzilla::files
