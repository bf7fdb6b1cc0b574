// The ops listener: a small HTTP server for probes and scrapes, on its own thread.
//
// Threads: constructor, Start() and Stop() by main; the rest on its own thread, which also calls the
//          sources.
// Owns:    its loop, listener and connections.
// Limits:  kConnectionsMax connections, kHeadBytesMax of a head, kIdleUs for whatever a client does. Bodies
//          are not read.
// Fails:   Start() with a sentence and its remedy.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/loop/listener.h"
#include "sidecar/loop/mailbox.h"
#include "sidecar/loop/socket.h"
#include "sidecar/loop/timer.h"
#include "sidecar/ops/exposition.h"
#include "sidecar/ops/health.h"

namespace catzilla::ops {

class OpsConnection;

class OpsServer final : private loop::Listener::Handler, private loop::Wakeup::Handler {
 public:
  OpsServer(HealthSource& health, std::vector<MetricsSource*> sources);
  ~OpsServer();  // Stops.
  OpsServer(const OpsServer&) = delete;
  OpsServer& operator=(const OpsServer&) = delete;

  base::Result<base::Unit, std::string> Start(const loop::TcpAddress& address);
  void Stop();  // Idempotent.
  uint16_t port() const { return port_; }

 private:
  friend class OpsConnection;
  static constexpr size_t kConnectionsMax = 64;
  static constexpr int64_t kIdleUs = 30'000'000;

  void OnAccept(int fd, const sockaddr_storage& peer) override;
  void OnWakeup() override;
  void OnConnectionClosed(OpsConnection& connection);
  // The whole answer to one request.
  std::string Answer(std::string_view method, std::string_view path, bool open_metrics, bool close);
  std::string Scrape(bool open_metrics);

  HealthSource& health_;
  const std::vector<MetricsSource*> sources_;
  loop::Loop loop_;
  loop::Wheel wheel_;
  loop::Wakeup stop_;
  loop::Listener listener_;
  std::vector<std::unique_ptr<OpsConnection>> connections_;
  std::thread thread_;
  uint16_t port_ = 0;
  bool stopped_ = false;
};

}  // namespace catzilla::ops
