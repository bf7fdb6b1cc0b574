// One loop's part of the upstream pools: its connections, the calls that were started on it, and
// those that wait for a place.
//
// A request goes to the target with the fewest requests for its weight that may be asked; to one
// that is passed over only if there is no other; if all have as many as they may, it waits. A
// request that a server cannot have begun to answer is tried again elsewhere: when no connection
// came about, or when one that had been used before ended before a byte of an answer, and the
// request may be repeated or none of it had been sent.
//
// Threads: the loop's, but for PostServe(), which any thread may call until Close().
// Owns:    its Connections and its Calls. Wheel and registry are borrowed and outlive it.
// Limits:  a call per request (the pools' queues and the targets' connections_max bound them);
//          idle_max connections without a request to each target.
// Fails:   Start() returns null and says why; later failures come through the observer.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "sidecar/loop/loop.h"
#include "sidecar/loop/mailbox.h"
#include "sidecar/loop/timer.h"
#include "sidecar/origin/request.h"
#include "sidecar/upstream/call.h"
#include "sidecar/upstream/checker.h"
#include "sidecar/upstream/connection.h"
#include "sidecar/upstream/mask_keys.h"
#include "sidecar/upstream/pool.h"

namespace catzilla::upstream {

class Registry;

class Agent final : private loop::Mailbox<std::shared_ptr<Pool>>::Receiver,
                    private loop::Timer::Handler {
 public:
  Agent(loop::Loop& loop, loop::Wheel& wheel, Registry& registry);
  ~Agent();  // REQUIRES: Close() was called and the loop has drained its handles.
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Sends or queues the request. `spec` and what it points to may go when this returns. Null:
  // `failure` says why, and the observer hears nothing.
  [[nodiscard]] origin::Call* Start(const origin::RequestSpec& spec, const SetupRef& setup,
                                    origin::Observer& observer, origin::Failure* failure);
  // As Start(), for a WebSocket. REQUIRES: spec.upgrade.
  [[nodiscard]] origin::Socket* StartSocket(const origin::RequestSpec& spec, const SetupRef& setup,
                                            origin::SocketObserver& observer,
                                            origin::Failure* failure);
  // A check of this target, on a connection of its own. Null: it has failed already.
  [[nodiscard]] origin::Call* StartCheck(const origin::RequestSpec& spec, const SetupRef& setup,
                                         const std::shared_ptr<Target>& target, bool connect_only,
                                         origin::Observer& observer);

  // Closes everything now. Calls still open fail, and their observers hear of it before this
  // returns. REQUIRES: not called from inside an observer.
  void Close();

  // Any thread: there may be places for who waits on this loop.
  void PostServe(const std::shared_ptr<Pool>& pool) {
    std::shared_ptr<Pool> message = pool;
    (void)mailbox_.Post(std::move(message));  // If it is full, the next tick serves them.
  }

  loop::Loop& loop() { return loop_; }
  loop::Wheel& wheel() { return wheel_; }
  Registry& registry() { return registry_; }
  int index() const { return loop_.index(); }
  int64_t now_us() const { return loop_.now().monotonic_us; }
  size_t calls_in_use() const { return calls_.size() - free_.size(); }
  size_t connections() const { return connections_.size(); }

 private:
  friend class Call;
  friend class Connection;
  friend class Checker;

  static constexpr int64_t kTickUs = 100'000;
  static constexpr int64_t kContinueUs = 1'000'000;  // For an answer to Expect.
  static constexpr size_t kMessagesMax = 16 * 1024;
  static constexpr size_t kReadBytes = 64 * 1024;
  static constexpr uint32_t kAttemptsMax = 8;

  struct Waiters {
    std::shared_ptr<Pool> pool;
    base::List<Call, QueueTag> calls;
  };
  struct Idle {
    std::shared_ptr<Target> target;
    base::List<Connection, ConnectionTag> connections;  // The last used first.
    size_t count = 0;
  };
  enum class Placed : uint8_t {
    kYes,
    kFull,  // Every target that may be asked has as many requests as it may.
    kNone,  // There is none to be asked.
  };

  // How a connection has failed its call.
  struct Lost {
    TargetFailure failure = TargetFailure::kRefused;
    std::string_view cause;
    bool connected = false;
    bool reused = false;
    bool anything_sent = false;
    bool answerless = false;  // Not a byte of an answer has come.
    uint32_t address_index = 0;
  };

  // Placing...
  Placed Place(Call& call, origin::Failure* failure);
  int Choose(const Call& call, bool* full);
  bool IsResolving(const Setup& setup) const;
  // 0, or errno of the last address.
  int Open(Call& call, const std::shared_ptr<Target>& target, uint32_t from_address);
  bool Reuse(Call& call, const std::shared_ptr<Target>& target);

  // Waiting...
  bool Enqueue(Call& call);
  void Unqueue(Call& call);
  void Serve(Waiters& waiters);
  void ServeNext(const std::shared_ptr<Pool>& pool);

  Call* Begin(const origin::RequestSpec& spec, const SetupRef& setup, origin::Observer& observer,
              origin::SocketObserver* socket, origin::Failure* failure);

  // What connections tell...
  void CallConnected(Call& call);
  void CallFailed(Call& call, const Lost& lost);
  bool MayTryAgain(const Call& call, const Lost& lost) const;
  void CallEnded(Call& call, Connection* kept);
  void SocketOpened(Call& call);
  void GoIdle(Connection& connection, uint32_t idle_max);
  void LeaveIdle(Connection& connection);
  void Gone(Connection& connection);

  // Calls...
  Call& TakeCall();
  void FreeCall(Call& call);
  void Describe(Call& call, const origin::RequestSpec& spec, const SetupRef& setup,
                origin::Observer& observer);
  void ReleasePlace(Call& call);
  void FailCall(Call& call, origin::FailureKind kind, std::string_view cause);
  void CancelCall(Call& call);
  void EndSocket(Call& call, uint16_t code, std::string_view reason);
  void OnCallDeadline(Call& call);
  void ArmSoft(Call& call);
  void TellAway(const Setup& setup, const Target& target, std::string_view why);
  void TellBack(const Setup& setup, const Target& target);

  void OnMessage(std::shared_ptr<Pool>& pool) override;
  void OnTimer() override;
  void DropRetired();

  loop::Loop& loop_;
  loop::Wheel& wheel_;
  Registry& registry_;
  loop::Mailbox<std::shared_ptr<Pool>> mailbox_;
  loop::Timer timer_;
  std::unique_ptr<Checker> checker_;  // On the first loop.
  bool closing_ = false;
  std::vector<std::unique_ptr<Call>> calls_;
  std::vector<Call*> free_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  uint32_t rotation_ = 0;  // Which target is looked at first.
  std::map<Pool*, Waiters> waiters_;
  std::map<Target*, Idle> idle_;
  std::unique_ptr<char[]> read_buffer_;  // Of one read within one call.
  std::vector<http::Field> fields_;      // Of one head within one call.
  std::string via_;                      // As above.
  MaskKeys mask_keys_;
};

}  // namespace catzilla::upstream
