#include "sidecar/base/pattern.h"

namespace catzilla::base {

Result<Pattern, const char*> Pattern::Compile(std::string_view text) {
  Pattern pattern;
  const bool below = text.ends_with('/');
  if (below) text.remove_suffix(1);
  pattern.anchored_ = text.find('/') != std::string_view::npos;
  if (text.starts_with('/')) text.remove_prefix(1);
  if (text.empty()) return Fail<const char*>("is empty");
  for (size_t i = 0; i < text.size(); ++i) {
    if (pattern.tokens_.size() == kTokensMax) return Fail<const char*>("is too long");
    Token token;
    const char c = text[i];
    if (c == '*' && text.substr(i).starts_with("**")) {
      while (i + 1 < text.size() && text[i + 1] == '*') ++i;
      const bool directories = i + 1 < text.size() && text[i + 1] == '/';
      if (directories) ++i;
      token.kind = directories ? Kind::kDirectories : Kind::kAnything;
    } else if (c == '*') {
      token.kind = Kind::kName;
    } else if (c == '?') {
      token.bytes.set().reset('/');
    } else if (c == '[') {
      pattern.tokens_.emplace_back();
      if (const char* wrong = pattern.AddClass(text, &i)) return Fail(wrong);
      continue;
    } else {
      if (c == '\\' && ++i == text.size()) return Fail<const char*>("ends with a backslash");
      token.bytes.set(static_cast<unsigned char>(text[i]));
    }
    pattern.tokens_.push_back(token);
  }
  return pattern;
}

// `*at` is at the '['; left at its ']'. Fills the last token.
const char* Pattern::AddClass(std::string_view text, size_t* at) {
  std::bitset<256>& bytes = tokens_.back().bytes;
  size_t i = *at + 1;
  const bool negated = i < text.size() && (text[i] == '!' || text[i] == '^');
  if (negated) ++i;
  for (const size_t first = i;; ++i) {
    if (i >= text.size()) return "has a [ without its ]";
    if (text[i] == ']' && i != first) break;  // In front it is one of the bytes.
    const auto low = static_cast<unsigned char>(text[i]);
    auto high = low;
    if (i + 2 < text.size() && text[i + 1] == '-' && text[i + 2] != ']') {
      high = static_cast<unsigned char>(text[i + 2]);
      i += 2;
    }
    if (high < low) return "has a range that runs backwards";
    for (unsigned byte = low; byte <= high; ++byte) bytes.set(byte);
  }
  if (negated) bytes.flip();
  bytes.reset('/');
  *at = i;
  return nullptr;
}

// What may match nothing is passed at once.
void Pattern::Enter(States& states, size_t at) const {
  states.set(at);
  while (at < tokens_.size() && tokens_[at].kind != Kind::kBytes) states.set(++at);
}

Pattern::States Pattern::Step(const States& from, unsigned char byte) const {
  States to;
  for (size_t at = 0; at < tokens_.size(); ++at) {
    if (!from.test(at)) continue;
    const Token& token = tokens_[at];
    switch (token.kind) {
      case Kind::kBytes:
        if (token.bytes.test(byte)) Enter(to, at + 1);
        break;
      case Kind::kName:
        if (byte != '/') Enter(to, at);
        break;
      case Kind::kAnything:
        Enter(to, at);
        break;
      case Kind::kDirectories:
        // It ends only behind a slash.
        to.set(at);
        if (byte == '/') Enter(to, at + 1);
        break;
    }
  }
  return to;
}

bool Pattern::Run(std::string_view path, bool holds) const {
  States states;
  Enter(states, 0);
  for (const char c : path) {
    if (c == '/') {
      if (holds && states.test(tokens_.size())) return true;
      if (!anchored_) {
        // The next name begins from the start.
        states.reset();
        Enter(states, 0);
        continue;
      }
    }
    states = Step(states, static_cast<unsigned char>(c));
  }
  return states.test(tokens_.size());
}

}  // namespace catzilla::base
