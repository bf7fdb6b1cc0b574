// What one loop lends to the exchanges and connections that live on it.
//
// Threads: the loop's. Owns: the loop's pools; the rest is borrowed and outlives it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sidecar/cache/key.h"
#include "sidecar/exchange/plan.h"
#include "sidecar/exchange/slot_table.h"
#include "sidecar/files/answer.h"
#include "sidecar/http/output_queue.h"
#include "sidecar/http/request_parser.h"
#include "sidecar/http/response_head.h"
#include "sidecar/loop/loop.h"
#include "sidecar/loop/timer.h"
#include "sidecar/stats/access_log.h"
#include "sidecar/stats/loop_stats.h"
#include "sidecar/websocket/deflater.h"
#include "sidecar/worker/dispatcher.h"

namespace catzilla::upstream {
class Agent;
}
namespace catzilla::files {
class PassedFiles;
}

namespace catzilla::exchange {

class Exchange;
class FillDriver;

// The exchanges of a loop, and the fills it leads: made once, used again and again.
using ExchangeTable = SlotTable<Exchange>;
using FillDriverTable = SlotTable<FillDriver>;

struct Context {
  Context(loop::Loop& on_loop, loop::Wheel& on_wheel, worker::Dispatcher& with_dispatcher,
          files::OpenSink& with_sink, stats::LoopStats& with_stats);
  ~Context();

  loop::Loop& loop;
  loop::Wheel& wheel;
  worker::Dispatcher& dispatcher;
  upstream::Agent* upstreams = nullptr;  // Null: no plan has a route to one.
  files::OpenSink& open_sink;
  files::PassedFiles* passed_files = nullptr;  // Null: such files are read as they are sent.
  stats::LoopStats& stats;
  stats::AccessLog* access_log = nullptr;  // Null: off.
  uint64_t random_state = 1;               // For request ids; seeded by main.

  // Replaced by a message, so also in the midst of a turn: who needs something of it for longer
  // than a call holds that.
  std::shared_ptr<const Plan> plan;
  bool draining = false;  // Answers say Connection: close.
  http::DateCache date;
  http::OutputPool outputs{64};
  http::HeadPool heads{256};
  ExchangeTable exchanges;
  FillDriverTable fill_drivers;
  // For one answer, within one call.
  std::string scratch;
  cache::CacheKey key;
  files::AnswerScratch file_scratch;
  static constexpr size_t kMessageBufferBytes = 64 * 1024;
  std::unique_ptr<char[]> message_buffer;
  websocket::Deflater deflater;

  // For one piece of a WebSocket's message, within one call.
  std::span<char> MessageBuffer() {
    if (message_buffer == nullptr) message_buffer.reset(new char[kMessageBufferBytes]);
    return {message_buffer.get(), kMessageBufferBytes};
  }

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
