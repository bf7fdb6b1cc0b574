// The control plane: gRPC on its own threads, over our own Unix socket and, if configured, TCP.
//
//   constructed --Start()--> serving --AnnounceDrain()--> (still serving) --Stop()--> stopped
//
// Threads: Start() and Stop() on one; the rest from any. REQUIRES: SIGTERM and SIGINT are blocked
//          in the calling thread before Start(), else gRPC's threads would take them.
// Owns:    the socket, the server, the registrar. No gRPC header is needed to include this.
// Limits:  messages of 16 MiB; Access::kConnectionsMax connections; kStreamEventsMax unread events
//          of a stream, then it is ended.
// Fails:   Start() with a sentence and its remedy.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "sidecar/base/result.h"
#include "sidecar/control/backend.h"
#include "sidecar/schema/compile.h"
#include "sidecar/schema/store.h"

namespace catzilla::control {

inline constexpr size_t kStreamEventsMax = 1024;

struct ServerOptions {
  schema::ControlSettings settings;
  std::function<int64_t()> wall_clock_us;
  std::function<int64_t()> monotonic_us;
  // For the log: what went wrong without anybody having asked for it.
  std::function<void(const std::string&)> complain = {};
};

class ControlServer {
 public:
  ControlServer(ServerOptions options, schema::ConfigStore& store, Backend& backend);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  base::Result<base::Unit, std::string> Start();
  void OnPoolEvent(PoolEvent event);  // Never blocks; any lock may be held.
  // Tells every registered app to finish, and health clients that we are leaving.
  void AnnounceDrain(const std::string& reason, int64_t timeout_us);
  void Stop();  // Idempotent; ends every stream.

  int tcp_port() const;  // 0: no TCP.

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace catzilla::control
