// A pool's worker processes, and the generations they come in: the same code, one route table.
//
// A request is answered by the generation whose table routed it. What has not begun when newer code
// takes over is given back, to be routed anew (FailureKind::kSuperseded).
//
//   kStarting --Pool::Publish(): a plan names it--> kServing --Pool::Activate(another)--> kOver
//        \--a newer one begins, the pool goes--------------------------------------------> kOver
//
// Threads: any, unless a line says otherwise. What is private is under the pool's mutex.
// Owns:    its workers by reference, and its pool, which forgets it when it is over and its last
//          worker has gone. Calls in its queue belong to their dispatchers, Channels too.
// Limits:  the pool's: kWorkersMax over all its generations, queue_max over all their queues.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/base/intrusive_list.h"
#include "sidecar/base/ref.h"
#include "sidecar/worker/events.h"

namespace catzilla::worker {

class Call;
class Channel;
class Generation;
class Pool;
struct QueueTag;

inline constexpr int kLoopsMax = 8;

// One worker process.
class Worker final : public base::RefCounted<Worker> {
 public:
  explicit Worker(base::Ref<Generation> of);
  ~Worker();

  // Constant after construction.
  const base::Ref<Generation> home;
  uint64_t id = 0;
  GenerationId generation;
  uint32_t pid = 0;
  uint32_t index = 0;
  uint64_t start_time_us = 0;
  uint32_t in_flight_max = 0;      // The most credits it takes.
  uint32_t stream_window = 0;      // Request bytes it takes per stream...
  uint32_t connection_window = 0;  // ...and per lane.
  uint32_t capabilities = 0;       // Which both have.
  bool takes_sockets = false;      // Its SDK knows WebSockets.
  std::string sdk, python, framework, note;

  // Any thread.
  std::atomic<uint32_t> in_flight{0};
  std::atomic<uint32_t> ceiling{0};    // Its credits, unless CREDIT(0, n) has said less.
  std::atomic<bool> ready{false};      // Control and a lane on each loop are attached.
  std::atomic<bool> draining{false};   // Takes no new requests.
  std::atomic<bool> recycling{false};  // A hard deadline has passed on it.
  std::atomic<uint64_t> requests{0};
  std::atomic<uint32_t> sockets{0};  // WebSockets, from their handshake to their handler's end.
  std::atomic<uint64_t> pings_missed{0};
  std::atomic<uint64_t> rss_bytes{0};
  std::atomic<uint32_t> active{0};
  std::atomic<uint32_t> detached{0};
  std::atomic<uint32_t> loop_lag_us{0};
  std::atomic<uint64_t> exceptions{0};
  std::atomic<uint64_t> handler_us{0};  // Sum over its answers.

  bool usable() const {
    return ready.load(std::memory_order_acquire) && !draining.load(std::memory_order_relaxed);
  }

 private:
  friend class Pool;
  // Guarded by the pool's mutex.
  std::array<uint32_t, kLoopsMax> lanes_{};
  bool control_ = false;
  bool said_goodbye_ = false;
};

class Generation final : public base::RefCounted<Generation> {
 public:
  Generation(std::shared_ptr<Pool> pool, GenerationId id);
  ~Generation();  // REQUIRES: nobody waits in it.

  Pool& pool() const { return *pool_; }
  const GenerationId& id() const { return id_; }
  // No request begins here any more.
  bool over() const { return over_.load(std::memory_order_acquire); }
  // No plan names newer code: what it answers may be kept for later requests.
  bool current() const;
  // Whether somebody waits; then nobody may go straight to a lane.
  bool crowded() const { return waiting_.load(std::memory_order_seq_cst) > 0; }

  // The lanes of one loop; touched by its thread only.
  struct alignas(64) Lanes {
    std::vector<Channel*> all;
    uint32_t turn = 0;  // Where the search for a lane begins, so that equals share.
  };
  Lanes& lanes(int loop) { return lanes_[static_cast<size_t>(loop)]; }

 private:
  friend class Pool;
  enum class Phase : uint8_t { kStarting, kServing, kOver };

  const std::shared_ptr<Pool> pool_;
  const GenerationId id_;
  std::atomic<bool> over_{false};
  std::atomic<uint32_t> waiting_{0};
  std::array<Lanes, kLoopsMax> lanes_;

  // Guarded by the pool's mutex.
  std::string token_;
  std::string table_hash_;
  uint32_t min_ready_ = 1;
  bool leased_ = false;
  bool prepared_ = false;  // kPrepared has been told.
  Phase phase_ = Phase::kStarting;
  std::vector<base::Ref<Worker>> workers_;
  base::List<Call, QueueTag> queue_;
};

}  // namespace catzilla::worker
