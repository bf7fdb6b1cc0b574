#include "sidecar/route/trie.h"

#include <algorithm>

#include "sidecar/base/check.h"

namespace catzilla::route {
namespace {

uint32_t HashText(std::string_view text) {
  // FNV-1a: short keys, fixed at compile time of the Router, compared in full on a hit.
  uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return hash;
}

// The template's segments; the leading '/' begins the first one. "/a/" has the segments "a" and "".
std::vector<std::vector<TemplatePiece>> SplitSegments(const PathTemplate& path) {
  std::vector<std::vector<TemplatePiece>> segments;
  for (const TemplatePiece& piece : path.pieces) {
    if (piece.convertor != Convertor::kLiteral) {
      segments.back().push_back(piece);
      continue;
    }
    std::string text;
    const auto flush = [&] {
      if (!text.empty()) segments.back().push_back({Convertor::kLiteral, std::move(text)});
      text.clear();
    };
    for (const char c : piece.text) {
      if (c != '/') {
        text += c;
        continue;
      }
      if (!segments.empty()) flush();
      segments.emplace_back();
    }
    flush();
  }
  return segments;
}

}  // namespace

struct Trie::Search {
  std::string_view method;
  std::string_view path;
  TrieMatch* best;
  std::vector<uint32_t>* all;  // Null unless every match is wanted.
  int steps = kStepsMax;
  std::array<Capture, kCapturesMax> captures;
};

Trie::Trie(std::vector<Item> items) : items_(std::move(items)), nodes_(1) {
  for (uint32_t order = 0; order < items_.size(); ++order) Insert(order);
}

void Trie::Insert(uint32_t order) {
  const PathTemplate& path = items_[order].path;
  CATZILLA_CHECK(!path.has_inner_path() && path.parameter_count() <= kCapturesMax,
                 "a template that no trie can hold");
  uint32_t node = 0;
  const auto lower = [&](uint32_t at) {
    nodes_[at].order_min = std::min(nodes_[at].order_min, order);
  };
  lower(node);
  for (std::vector<TemplatePiece>& segment : SplitSegments(path)) {
    if (segment.size() == 1 && segment[0].convertor == Convertor::kPath) {
      nodes_[node].path_ends.push_back(order);
      return;
    }
    node = SegmentChild(node, std::move(segment));
    lower(node);
  }
  nodes_[node].ends.push_back(order);
}

uint32_t Trie::SegmentChild(uint32_t node, std::vector<TemplatePiece> pieces) {
  if (pieces.empty()) return StaticChild(node, "");
  if (pieces.size() == 1 && pieces[0].convertor == Convertor::kLiteral) {
    return StaticChild(node, pieces[0].text);
  }
  const auto next = static_cast<uint32_t>(nodes_.size());
  if (pieces.size() == 1) {
    for (const ParameterChild& child : nodes_[node].parameters) {
      if (child.convertor == pieces[0].convertor) return child.node;
    }
    nodes_[node].parameters.push_back({pieces[0].convertor, next});
  } else {
    for (const PatternChild& child : nodes_[node].patterns) {
      if (child.pieces == pieces) return child.node;
    }
    nodes_[node].patterns.push_back({std::move(pieces), next});
  }
  nodes_.emplace_back();
  return next;
}

void Trie::InsertSlot(std::vector<StaticSlot>& slots, StaticSlot slot) {
  const size_t mask = slots.size() - 1;
  size_t at = slot.hash & mask;
  while (slots[at].node != 0) at = (at + 1) & mask;
  slots[at] = std::move(slot);
}

uint32_t Trie::StaticChild(uint32_t node, std::string_view text) {
  if (const uint32_t found = FindStatic(nodes_[node], text); found != 0) return found;
  const auto next = static_cast<uint32_t>(nodes_.size());
  nodes_.emplace_back();
  Node& parent = nodes_[node];
  if ((parent.static_count + 1) * 2 > parent.statics.size()) {
    std::vector<StaticSlot> larger(std::max<size_t>(4, parent.statics.size() * 2));
    for (StaticSlot& slot : parent.statics) {
      if (slot.node != 0) InsertSlot(larger, std::move(slot));
    }
    parent.statics = std::move(larger);
  }
  InsertSlot(parent.statics, {HashText(text), next, std::string(text)});
  ++parent.static_count;
  return next;
}

uint32_t Trie::FindStatic(const Node& node, std::string_view text) const {
  if (node.statics.empty()) return 0;
  const uint32_t hash = HashText(text);
  const size_t mask = node.statics.size() - 1;
  for (size_t at = hash & mask; node.statics[at].node != 0; at = (at + 1) & mask) {
    if (node.statics[at].hash == hash && node.statics[at].text == text)
      return node.statics[at].node;
  }
  return 0;
}

void Trie::Match(std::string_view method, std::string_view path, TrieMatch* best) const {
  if (path.empty() || path[0] != '/') return;
  Search search{method, path, best, nullptr, kStepsMax, {}};
  Walk(search, 0, 1, 0);
  if (search.steps < 0) best->too_complex = true;
}

std::vector<uint32_t> Trie::MatchAll(std::string_view path) const {
  std::vector<uint32_t> all;
  if (path.empty() || path[0] != '/') return all;
  TrieMatch ignored;
  Search search{"", path, &ignored, &all, kStepsMax, {}};
  Walk(search, 0, 1, 0);
  std::sort(all.begin(), all.end());
  return all;
}

// `at` is where the next segment begins; past the end + 1 when the path is used up.
void Trie::Walk(Search& search, uint32_t index, size_t at, uint32_t captured) const {
  const Node& node = nodes_[index];
  TrieMatch& best = *search.best;
  // Nothing below can be better than what is known, unless everything is wanted.
  if (search.all == nullptr && node.order_min >= best.order) return;
  if (at > search.path.size()) {
    Consider(search, node.ends, captured);
    return;
  }
  const size_t slash = search.path.find('/', at);
  const size_t end = slash == std::string_view::npos ? search.path.size() : slash;
  const std::string_view segment = search.path.substr(at, end - at);
  const auto begin32 = static_cast<uint32_t>(at);

  if (const uint32_t child = FindStatic(node, segment); child != 0) {
    Walk(search, child, end + 1, captured);
  }
  for (const ParameterChild& child : node.parameters) {
    if (!Accepts(child.convertor, segment)) continue;
    search.captures[captured] = {begin32, static_cast<uint32_t>(end)};
    Walk(search, child.node, end + 1, captured + 1);
  }
  for (const PatternChild& child : node.patterns) {
    if (!MatchPieces(child.pieces.data(), child.pieces.size(), segment, begin32,
                     &search.captures[captured], &search.steps)) {
      continue;
    }
    const auto parameters = std::count_if(
        child.pieces.begin(), child.pieces.end(),
        [](const TemplatePiece& piece) { return piece.convertor != Convertor::kLiteral; });
    Walk(search, child.node, end + 1, captured + static_cast<uint32_t>(parameters));
  }
  if (!node.path_ends.empty()) {
    search.captures[captured] = {begin32, static_cast<uint32_t>(search.path.size())};
    Consider(search, node.path_ends, captured + 1);
  }
}

void Trie::Consider(Search& search, const std::vector<uint32_t>& ends, uint32_t captured) const {
  TrieMatch& best = *search.best;
  for (const uint32_t order : ends) {
    if (search.all != nullptr) {
      search.all->push_back(order);
      continue;
    }
    if (order >= best.order) return;
    best.partial_order = std::min(best.partial_order, order);
    if (!items_[order].methods.Has(search.method)) continue;
    best.order = order;
    best.captures = search.captures;
    best.capture_count = captured;
    return;
  }
}

}  // namespace catzilla::route
