// One name pattern of a mount, in the manner of fnmatch and .gitignore, matched in linear time.
//
//   *       any bytes but '/'            ?      one byte but '/'
//   [a-z]   one of these, [!a-z] none    \x     x itself
//   **      any bytes, also '/'          **/    any directories, also none
//
// A pattern with a '/' counts from the mount's root ("private/*.key", "/index.html"); one without
// is about a single name, wherever it stands ("*.bak"). Case matters, as it does in the paths.
//
// Threads: immutable; any. Owns: its tokens. Limits: kTokensMax; a match costs at most that much
// per byte of the path, whatever the pattern: all positions advance together, nothing backtracks.
// Fails:   Compile() says why.
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/result.h"

namespace catzilla::base {

class Pattern {
 public:
  static constexpr size_t kTokensMax = 255;

  static Result<Pattern, const char*> Compile(std::string_view text);

  // `path` is relative to the mount, without a slash in front.
  bool Matches(std::string_view path) const { return Run(path, false); }
  // Also true below a directory that matches.
  bool MatchesOrHolds(std::string_view path) const { return Run(path, true); }

 private:
  using States = std::bitset<kTokensMax + 1>;
  enum class Kind : uint8_t { kBytes, kName, kAnything, kDirectories };
  struct Token {
    Kind kind = Kind::kBytes;
    std::bitset<256> bytes;  // kBytes: one of these.
  };

  bool Run(std::string_view path, bool holds) const;
  States Step(const States& from, unsigned char byte) const;
  void Enter(States& states, size_t at) const;
  const char* AddClass(std::string_view text, size_t* at);

  std::vector<Token> tokens_;
  bool anchored_ = false;
};

}  // namespace catzilla::base
