// One loop with everything that lives on it, and its thread.
//
// Threads: made, started and joined by main. Post() by any thread.
// Life:    constructor -> Start() -> Post(kClose) -> Join() -> destructor.
#pragma once

#include <memory>
#include <thread>

#include "sidecar/loop/loop.h"
#include "sidecar/loop/timer.h"
#include "sidecar/server/loop_server.h"
#include "sidecar/upstream/agent.h"
#include "sidecar/upstream/registry.h"
#include "sidecar/worker/acceptor.h"
#include "sidecar/worker/dispatcher.h"

namespace catzilla::runtime {

class LoopThread {
 public:
  struct Parts {
    int index = 0;
    worker::Registry& workers;
    upstream::Registry& upstreams;
    base::EpochDomain& epochs;
    server::SharedCounts& counts;
    stats::AccessLog* access_log = nullptr;
    uint64_t random_seed = 1;
    std::function<void(uint64_t version)> on_plan;
    std::function<void()> on_drained;
    files::PassedFiles* passed_files = nullptr;
  };
  LoopThread(Parts parts, std::shared_ptr<const exchange::Plan> plan);
  ~LoopThread();

  // Loop 0 only, before Start(): workers are accepted here.
  base::Result<base::Unit, std::string> OpenWorkerSocket(worker::AcceptorOptions options);

  void Start();
  void Join();
  bool Post(server::ServerMessage&& message) { return server_.Post(std::move(message)); }
  [[nodiscard]] bool Open(std::shared_ptr<const config::Listener> listener, int fd) {
    return server_.Open(std::move(listener), fd);
  }

  const loop::Loop& loop() const { return loop_; }
  const stats::LoopStats& stats() const { return stats_; }

 private:
  void CloseParts();

  worker::Registry& workers_;
  stats::LoopStats stats_;
  loop::Loop loop_;
  loop::Wheel wheel_;
  worker::Dispatcher dispatcher_;
  upstream::Agent upstreams_;
  std::unique_ptr<worker::Acceptor> acceptor_;
  server::LoopServer server_;
  std::thread thread_;
  bool closed_ = false;
};

}  // namespace catzilla::runtime
