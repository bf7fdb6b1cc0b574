// One loop's part of the worker link: the lanes that live on it, and the calls that were started on
// it.
//
// Threads: the loop's, but for the Post…() methods, which any thread may call until Close().
// Owns:    its Channels and its Calls. Pools, wheel and registry are borrowed and outlive it.
// Limits:  a call per waiting or running request (bounded by the pools); lanes_max connections; a
//          mailbox of kMessagesMax.
// Fails:   Start() returns null and says why; later failures come through the observer.
//
// A request goes straight to the lane of the least busy worker of its generation with a free
// credit; if there is none, or somebody waits already, it queues there. Frames of one turn leave
// each lane in one write.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/loop/mailbox.h"
#include "sidecar/loop/timer.h"
#include "sidecar/worker/call.h"
#include "sidecar/worker/channel.h"
#include "sidecar/worker/pool.h"

namespace catzilla::worker {

class Registry;

struct DispatcherMessage {
  enum class Kind : uint8_t { kGrant, kFailure, kAttach, kGoaway };
  Kind kind = Kind::kGrant;
  Call* call = nullptr;
  uint32_t epoch = 0;
  FailureKind failure = FailureKind::kNoWorkers;
  base::Ref<Worker> worker;
  std::shared_ptr<Pool> pool;
  std::unique_ptr<LaneSetup> lane;
  uint64_t generation = 0;
  uint64_t worker_id = 0;
  GoawayCode code = GoawayCode::kDraining;
};

class Dispatcher final : private loop::Mailbox<DispatcherMessage>::Receiver,
                         private loop::Timer::Handler {
 public:
  Dispatcher(loop::Loop& loop, loop::Wheel& wheel, Registry& registry);
  ~Dispatcher();  // REQUIRES: Close() was called and the loop has drained its handles.
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // Sends or queues the request. `spec` and what it points to may go when this returns; deadline_us
  // 0 is filled from the pool. Null: `failure` says why, and the observer hears nothing.
  [[nodiscard]] Call* Start(const RequestSpec& spec, const base::Ref<Generation>& generation,
                            origin::Observer& observer, origin::Failure* failure);
  // The same for a socket. REQUIRES: spec.upgrade.
  [[nodiscard]] Call* StartSocket(const RequestSpec& spec, const base::Ref<Generation>& generation,
                                  origin::SocketObserver& observer, origin::Failure* failure);

  // Says GOAWAY on every lane and closes when its streams have ended, at the latest when the
  // registry's drain timeout has passed.
  void Drain();
  // Closes everything now. Calls still open fail, and their observers hear of it before this
  // returns. REQUIRES: not called from inside an observer.
  void Close();

  // Any thread. False: the mailbox is full or closed.
  bool Post(DispatcherMessage&& message) { return mailbox_.Post(std::move(message)); }
  // What nobody says a second time: at most once for each request that waits, each worker, each
  // generation. False: closed.
  bool PostAlways(DispatcherMessage&& message) { return mailbox_.PostAlways(std::move(message)); }

  loop::Loop& loop() { return loop_; }
  int index() const { return loop_.index(); }
  size_t lanes() const { return channels_.size(); }
  size_t calls_in_use() const { return calls_.size() - free_.size(); }

 private:
  friend class Call;
  friend class Channel;

  // As whoever observes a call wants them; until the next call of this.
  http::Fields ListFields(const FieldsView& fields);

  static constexpr size_t kMessagesMax = 64 * 1024;
  static constexpr int64_t kTickUs = 250'000;

  void OnMessage(DispatcherMessage& message) override;
  void OnTimer() override;

  Call* TakeCall();
  void FreeCall(Call& call);
  void NoteSaturation(Pool& pool);  // A request is refused for want of credits.
  // The lane of the least busy usable worker, its credit taken; null if there is none.
  Channel* AcquireLane(Generation& generation, bool for_socket);
  [[nodiscard]] Call* Begin(const RequestSpec& spec, const base::Ref<Generation>& generation,
                            origin::Observer& observer, origin::SocketObserver* socket,
                            origin::Failure* failure);
  Channel* LaneOf(const Worker& worker);
  // Queues a call whose lane was lost or never there; false: `*kind` says why it cannot.
  bool QueueAgain(Call& call, FailureKind* kind);
  void OnGrant(DispatcherMessage& message);
  void OnQueueFailure(DispatcherMessage& message);
  void Attach(DispatcherMessage& message);
  void GoawayLanes(DispatcherMessage& message);

  // From Call.
  void CancelCall(Call& call, CancelCode code);
  void OnCallDeadline(Call& call);
  void ArmQueued(Call& call);
  void ArmHard(Call& call);
  void RenewDeadline(Call& call);
  int64_t DrainDue() const;

  // From Channel: the call has lost its lane. Sends it again if that is allowed, else it fails.
  void OnStreamLost(Call& call, bool begun, std::string_view cause);
  // Ends the call for its observer; it is free when the observer hears of it.
  void Fail(Call& call, FailureKind kind, std::string_view cause);
  void OnChannelLost(Channel& channel, bool clean);
  void OnChannelClosed(Channel& channel);
  void LogLane(Channel& channel, std::string_view sentence);

  loop::Loop& loop_;
  loop::Wheel& wheel_;
  Registry& registry_;
  loop::Mailbox<DispatcherMessage> mailbox_;
  loop::Timer timer_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::vector<std::unique_ptr<Call>> calls_;
  std::vector<Call*> free_;
  bool closing_ = false;
  std::vector<http::Field> listed_;  // For one head, within one call.
};

}  // namespace catzilla::worker
