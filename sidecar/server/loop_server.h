// Everything of one loop that serves clients: its listeners, its connections, what exchanges
// borrow.
//
// Threads: made and destroyed by main while the loop does not run; Post() by any thread; everything
//          else by the loop's thread.
// Owns:    the loop's listeners and connections, and the Context. The loop, the dispatcher and the
//          counters are borrowed.
// Limits:  connections as limits.connections_max over all loops (`open_connections` is shared) and
//          connections_per_client_max per address (that of the PROXY header where there is one;
//          trusted proxies are not counted, they speak for many); a mailbox of kMessagesMax.
// Life:    Open() … Drain() … Close(), then the loop drains its handles.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "sidecar/base/epoch.h"
#include "sidecar/loop/listener.h"
#include "sidecar/loop/mailbox.h"
#include "sidecar/server/client_counts.h"
#include "sidecar/server/connection.h"

namespace catzilla::server {

// What other threads tell a loop.
struct ServerMessage {
  enum class Kind : uint8_t { kPlan, kOpened, kFillMoved, kDrain, kClose };
  Kind kind = Kind::kPlan;
  std::shared_ptr<const exchange::Plan> plan;
  stats::AccessLog* access_log = nullptr;  // Of kPlan: where its requests are logged; null: off.
  base::Ticket ticket;                     // Of kOpened and kFillMoved.
  files::OpenResult opened;
};

// Counted over all loops.
struct SharedCounts {
  std::atomic<uint32_t> connections{0};
  // What descriptors allow, beside limits.max_connections. Set before any loop runs.
  uint32_t connections_max = UINT32_MAX;
  ClientCounts clients;
};

class LoopServer final : public ConnectionHost,
                         private files::OpenSink,
                         private loop::TurnHooks,
                         private loop::Mailbox<ServerMessage>::Receiver {
 public:
  struct Parts {
    loop::Loop& loop;
    loop::Wheel& wheel;
    worker::Dispatcher& dispatcher;
    base::EpochDomain& epochs;
    stats::LoopStats& stats;
    SharedCounts& counts;
    stats::AccessLog* access_log = nullptr;
    uint64_t random_seed = 1;
    // Called on the loop when it serves a plan, and has let go of the one before.
    std::function<void(uint64_t version)> on_plan;
    // Called on the loop when Drain() has nothing left to wait for.
    std::function<void()> on_drained;
    // Called on the loop when kClose has closed everything that is ours.
    std::function<void()> on_closed;
    upstream::Agent* upstreams = nullptr;  // Null: no plan has a route to one.
    files::PassedFiles* passed_files = nullptr;
  };

  LoopServer(Parts parts, std::shared_ptr<const exchange::Plan> plan);
  ~LoopServer();

  // Accepts on `fd`, a listening socket of `listener`. Before the loop runs. False: it cannot be
  // watched.
  [[nodiscard]] bool Open(std::shared_ptr<const config::Listener> listener, int fd);

  // Any thread. False: the loop is closing; or, of a plan, it has too much to read and is to be
  // asked again. The others are said once, and at most once for each exchange and fill.
  bool Post(ServerMessage&& message) {
    return message.kind == ServerMessage::Kind::kPlan ? mailbox_.Post(std::move(message))
                                                      : mailbox_.PostAlways(std::move(message));
  }

  // Closes listeners and connections, and then calls on_closed. On the loop's thread, or after it
  // ended.
  void CloseNow();

 private:
  static constexpr size_t kMessagesMax = 256 * 1024;

  class Port;

  // ConnectionHost
  exchange::Context& context() override { return context_; }
  ReadBuffer& read_buffer() override { return read_buffer_; }
  void OnConnectionClosed(Connection& connection) override;
  ClientPlace TakeClientPlace(const config::Listener& listener,
                              const loop::PeerAddress& client) override;
  // files::OpenSink, from the files executor's threads
  void OnOpened(base::Ticket ticket, files::OpenResult result) override;
  // loop::TurnHooks
  void OnTurnBegin(const base::Now& now) override;
  void OnTurnEnd(const base::Now& now) override;
  // Mailbox
  void OnMessage(ServerMessage& message) override;

  void TakePlan(ServerMessage& message);
  void WakeFill(base::Ticket ticket);
  void Accept(const std::shared_ptr<const config::Listener>& listener, int fd,
              const loop::PeerAddress& peer);
  void RefuseConnection(int fd);
  void Drain();
  void CheckDrained();

  base::EpochDomain& epochs_;
  base::EpochDomain::Reader reader_;
  SharedCounts& counts_;
  const std::function<void(uint64_t)> on_plan_;
  const std::function<void()> on_drained_;
  const std::function<void()> on_closed_;
  exchange::Context context_;
  loop::Mailbox<ServerMessage> mailbox_;
  std::vector<std::unique_ptr<Port>> ports_;
  base::List<Connection, ConnectionTag> connections_;
  size_t connection_count_ = 0;
  ReadBuffer read_buffer_;
  bool draining_ = false;
  bool drained_told_ = false;
  bool closed_ = false;
};

}  // namespace catzilla::server
