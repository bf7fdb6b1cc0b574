// The memory of S3-FIFO: which keys left the small queue lately, as hashes in a four-way table.
//
// Threads: its shard's lock guards it. Limits: Resize(); a new one takes the place of the oldest of
//          its set. Fails: never; a false match admits an entry a little early.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace catzilla::base {

class CacheGhosts {
 public:
  void Resize(size_t slots) { slots_.resize(std::bit_ceil(std::max<size_t>(slots, 64))); }

  void Remember(uint64_t hash) {
    if (++turn_ == 0) turn_ = 1;
    Slot* set = Set(hash);
    Slot* victim = set;
    for (int i = 0; i < 4; ++i) {
      if (set[i].turn == 0 || set[i].tag == Tag(hash)) {
        victim = &set[i];
        break;
      }
      if (turn_ - set[i].turn > turn_ - victim->turn) victim = &set[i];
    }
    *victim = {Tag(hash), turn_};
  }

  // True when `hash` left within the last `window` turns; forgets it.
  bool Take(uint64_t hash, size_t window) {
    Slot* set = Set(hash);
    for (int i = 0; i < 4; ++i) {
      if (set[i].turn == 0 || set[i].tag != Tag(hash)) continue;
      const bool recent = turn_ - set[i].turn < window;
      set[i] = {};
      return recent;
    }
    return false;
  }

 private:
  struct Slot {
    uint32_t tag = 0;
    uint32_t turn = 0;  // Of leaving; 0: empty.
  };
  static uint32_t Tag(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }
  Slot* Set(uint64_t hash) { return &slots_[(hash >> 4 & (slots_.size() / 4 - 1)) * 4]; }

  std::vector<Slot> slots_;
  uint32_t turn_ = 0;
};

}  // namespace catzilla::base
