// What one loop lends to the exchanges and connections that live on it.
//
// Threads: the loop's. Owns: the loop's pools; the rest is borrowed and outlives it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/exchange/plan.h"
#include "sidecar/http/output_queue.h"
#include "sidecar/http/request_parser.h"
#include "sidecar/http/response_head.h"
#include "sidecar/loop/loop.h"
#include "sidecar/stats/access_log.h"
#include "sidecar/stats/loop_stats.h"
#include "sidecar/worker/dispatcher.h"

namespace catzilla::exchange {

class Exchange;

// Finds an exchange again after something outside its loop has finished: the slot may have been used
// for another exchange since, then the epoch differs and the message is dropped.
struct Ticket {
  uint32_t slot = 0;
  uint32_t epoch = 0;

  uint64_t packed() const { return static_cast<uint64_t>(epoch) << 32 | slot; }
  static Ticket FromPacked(uint64_t packed) {
    return {static_cast<uint32_t>(packed), static_cast<uint32_t>(packed >> 32)};
  }
};

// The exchanges of a loop: made once, used again and again.
class ExchangeTable {
 public:
  ExchangeTable();
  ~ExchangeTable();
  Exchange* Take();
  void Give(Exchange* exchange);
  Exchange* Find(Ticket ticket);  // Null: it is over.
  size_t in_use() const { return in_use_; }

 private:
  struct Slot {
    std::unique_ptr<Exchange> exchange;
    uint32_t epoch = 1;
    bool used = false;
  };
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  size_t in_use_ = 0;
};

struct Context {
  loop::Loop& loop;
  worker::Dispatcher& dispatcher;
  files::OpenSink& open_sink;
  stats::LoopStats& stats;
  stats::AccessLog* access_log = nullptr;  // Null: off.
  uint64_t random_state = 1;  // For request ids; seeded by main.

  std::shared_ptr<const Plan> plan;  // Replaced between two turns, never within one.
  bool draining = false;             // Answers say Connection: close.
  http::DateCache date;
  http::OutputPool outputs{64};
  http::HeadPool heads{256};
  ExchangeTable exchanges;
  std::string scratch;       // For one answer, within one call.

  // splitmix64: ids need to differ, not to be secret.
  uint64_t NextRandom() {
    uint64_t z = random_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  int index() const { return loop.index(); }
  const base::Now& now() const { return loop.now(); }
};

}  // namespace catzilla::exchange
