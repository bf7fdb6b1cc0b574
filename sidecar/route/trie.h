// A trie of path templates, segment by segment.
//
// Every template carries an `order`; of all templates that match a path, the one with the smallest
// order and a listed method wins. For the app that is the declaration, for operators the rank by
// specificity: one search serves both rules.
//
// Threads: immutable after Build; any thread may Match.
// Limits:  kCapturesMax parameters in a template; kStepsMax tries inside pattern segments.
// Cost:    grows with the path's segments and with the alternatives that really overlap on it, not
//          with the number of templates: every node knows the smallest order below it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sidecar/route/method_set.h"
#include "sidecar/route/path_template.h"

namespace catzilla::route {

inline constexpr size_t kCapturesMax = 16;

struct TrieMatch {
  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t order = kNone;          // Of the best full match.
  uint32_t partial_order = kNone;  // Of the first whose path matches, whatever its methods.
  bool too_complex = false;        // The tries ran out: what was found may not be all.
  std::array<Capture, kCapturesMax> captures;
  uint32_t capture_count = 0;
};

class Trie {
 public:
  struct Item {
    PathTemplate path;
    MethodSet methods;
  };

  // `items[i]` has order i. REQUIRES: no has_inner_path(), at most kCapturesMax parameters.
  explicit Trie(std::vector<Item> items);

  void Match(std::string_view method, std::string_view path, TrieMatch* best) const;

  // Every order whose template matches the path. For Allow and for diagnostics; allocates.
  std::vector<uint32_t> MatchAll(std::string_view path) const;

  const Item& item(uint32_t order) const { return items_[order]; }
  size_t size() const { return items_.size(); }

 private:
  static constexpr int kStepsMax = 4096;

  // One parameter as a whole segment, by convertor.
  struct ParameterChild {
    Convertor convertor;
    uint32_t node;
  };
  // A segment of several pieces: "{name}.{ext}", "v{version}".
  struct PatternChild {
    std::vector<TemplatePiece> pieces;
    uint32_t node;
  };
  struct StaticSlot {
    uint32_t hash = 0;
    uint32_t node = 0;  // 0: free; the root is nobody's child.
    std::string text;
  };
  struct Node {
    std::vector<StaticSlot> statics;  // Open addressing, a power of two.
    uint32_t static_count = 0;
    std::vector<ParameterChild> parameters;
    std::vector<PatternChild> patterns;
    std::vector<uint32_t> ends;       // Orders that end here, ascending.
    std::vector<uint32_t> path_ends;  // Orders with a {x:path} from here on, ascending.
    uint32_t order_min = TrieMatch::kNone;
  };
  struct Search;

  void Insert(uint32_t order);
  uint32_t StaticChild(uint32_t node, std::string_view text);
  uint32_t FindStatic(const Node& node, std::string_view text) const;
  static void InsertSlot(std::vector<StaticSlot>& slots, StaticSlot slot);
  uint32_t SegmentChild(uint32_t node, std::vector<TemplatePiece> pieces);
  void Walk(Search& search, uint32_t node, size_t at, uint32_t captured) const;
  void Consider(Search& search, const std::vector<uint32_t>& ends, uint32_t captured) const;

  std::vector<Item> items_;
  std::vector<Node> nodes_;
};

}  // namespace catzilla::route
