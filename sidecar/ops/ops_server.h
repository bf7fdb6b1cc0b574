// The ops listener: a small HTTP server for probes and scrapes, on its own thread.
//
// Threads: constructor, Start() and Stop() by main; the rest on its own thread, which also calls
//          the sources.
// Owns:    its loop, listener and connections.
// Limits:  OpsLimits; one more connection than that closes the one that has been silent longest, so
//          a probe always gets through. Bodies are not read: they end the connection. A connection
//          gets one answer per turn, and its next request waits until it has taken that one.
// Fails:   Start() with a sentence and its remedy.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
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

struct OpsLimits {
  size_t connections_max = 64;
  int64_t wait_us = 30'000'000;  // For a whole head; then for the client to take all of the answer.
};

class OpsServer final : private loop::Listener::Handler, private loop::Wakeup::Handler {
 public:
  OpsServer(HealthSource& health, std::vector<MetricsSource*> sources, OpsLimits limits = {});
  ~OpsServer();  // Stops.
  OpsServer(const OpsServer&) = delete;
  OpsServer& operator=(const OpsServer&) = delete;

  base::Result<base::Unit, std::string> Start(const loop::TcpAddress& address);
  void Stop();  // Idempotent.
  uint16_t port() const { return port_; }

 private:
  friend class OpsConnection;

  // What a request asks, as far as anybody here wants to know.
  struct Question {
    std::string_view method;
    std::string_view path;
    uint16_t refused = 0;  // The status of a head that cannot be read; 0: it could.
    bool open_metrics = false;
    bool close = false;
    int minor_version = 1;
  };

  void OnAccept(int fd, const sockaddr_storage& peer) override;
  void OnWakeup() override;
  void OnConnectionClosed(OpsConnection& connection);
  void MakeRoom();
  // The whole answer to one request.
  std::string Answer(const Question& question);
  uint16_t StatusAndBody(const Question& question, std::string* body);
  std::string Scrape(bool open_metrics);

  HealthSource& health_;
  const std::vector<MetricsSource*> sources_;
  const OpsLimits limits_;
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
