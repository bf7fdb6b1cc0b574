// The pieces this room's tests share: a hall with files, an app's route and a scripted worker, and
// clients that send and read as a script says.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sidecar/server/testing.h"
#include "sidecar/worker/rig_test.h"

namespace catzilla::server {

using stats::CloseReason;

// The client's end of a connection.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {}
  ~Peer() { Leave(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // What the kernel takes of it; all of it, if the server reads.
  size_t Send(std::string_view bytes) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? 0 : static_cast<size_t>(sent);
  }
  void EndSide() { ::shutdown(fd_, SHUT_WR); }
  void Leave() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // Takes at most so many of the bytes that have come; `read` grows by them.
  size_t Read(size_t bytes_max = SIZE_MAX) {
    char bytes[16 * 1024];
    size_t taken = 0;
    while (taken < bytes_max) {
      const ssize_t got =
          ::recv(fd_, bytes, std::min(sizeof(bytes), bytes_max - taken), MSG_DONTWAIT);
      if (got == 0) ended = true;
      if (got < 0 && errno != EAGAIN) reset = true;
      if (got <= 0) break;
      read.append(bytes, static_cast<size_t>(got));
      taken += static_cast<size_t>(got);
    }
    return taken;
  }
  int fd() const { return fd_; }

  std::string read;
  bool ended = false;
  bool reset = false;

 private:
  int fd_;
};

// Served: /files/a ("hello"), /files/b (1,000 bytes), /files/big (2 MiB, by sendfile); an app's
// /app; all else is refused.
class Serving : public testing::Test {
 protected:
  static constexpr size_t kBig = 2u << 20;

  explicit Serving(const std::function<void(config::Limits&)>& change = {}) {
    std::signal(SIGPIPE, SIG_IGN);  // As the program does: sendfile knows no MSG_NOSIGNAL.
    rig.loop.AddHooks(&turns);
    house.Write("a", "hello");
    house.Write("b", std::string(1000, 'b'));
    house.Write("big", std::string(kBig, 'B'));
    snapshot.mounts = {std::make_shared<config::Mount>(house.MountAt("/files"))};
    auto route = std::make_shared<config::Route>();
    route->path = "/app";
    route->source = config::Layer::kFile;
    route->methods = {"GET", "POST"};
    route->pool = "app";
    snapshot.routes = {route};
    config::Limits limits;
    if (change) change(limits);
    snapshot.limits = std::make_shared<config::Limits>(limits);
    hall.desk.context.plan = house.MakePlan(snapshot, rig.pool, rig.serving, &hall.desk);
    listener = std::make_shared<config::Listener>();
    WarmAll();
  }
  ~Serving() override {
    house.executor.Shutdown();
    hall.Close();
    rig.loop.DrainHandles();
  }

  // The plan is of the worker's generation from then on.
  worker::Rig::FakeWorker Attach() {
    worker::Rig::FakeWorker worker = rig.Attach(rig.Begin());
    hall.desk.context.plan = house.MakePlan(snapshot, rig.pool, rig.serving, &hall.desk);
    WarmAll();
    return worker;
  }
  void WarmAll() {
    for (const char* name : {"a", "b", "big", "none"}) Warm(name);
    for (size_t i = 0; i < stats::kCloseReasons; ++i) {
      closed_before[i] = hall.closed(static_cast<CloseReason>(i));
    }
  }
  // So that what is asked for later is hot.
  void Warm(const std::string& name) {
    Peer peer(hall.Connect(listener));
    peer.Send("HEAD /files/" + name + " HTTP/1.1\r\nHost: a\r\n\r\n");
    rig.Pump();
    house.Settle();
    rig.Pump();
    peer.Leave();
    rig.Pump();
  }
  std::unique_ptr<Peer> Connect(int send_bytes = 0) {
    return std::make_unique<Peer>(hall.Connect(listener, send_bytes));
  }
  void Pump() { rig.Pump(); }
  // All that comes without another word of the client.
  void ReadAll(Peer& peer) {
    int idle = 0;
    while (idle < 2) {
      Pump();
      idle = peer.Read() == 0 ? idle + 1 : 0;
    }
  }
  bool Until(const std::function<bool()>& done) { return rig.Until(done); }
  // Reads until the server has ended it; false: it did not.
  bool ReadToEnd(Peer& peer) {
    return Until([&] {
      peer.Read();
      return peer.ended || peer.reset;
    });
  }
  // How many have been closed for this reason since the test began.
  uint64_t closed(CloseReason reason) const {
    return hall.closed(reason) - closed_before[static_cast<size_t>(reason)];
  }
  void ExpectNothingLeft() {
    Pump();
    EXPECT_EQ(hall.open(), 0u);
    EXPECT_EQ(hall.desk.context.exchanges.in_use(), 0u);
    EXPECT_EQ(rig.loop.turns_overrun(), 0u);
  }

  exchange::House house;
  exchange::HouseTurns turns{house};
  worker::Rig rig;
  Hall hall{rig.loop, rig.wheel, rig.dispatcher};
  config::Snapshot snapshot;
  std::shared_ptr<config::Listener> listener;
  std::array<uint64_t, stats::kCloseReasons> closed_before{};
};

// "Date: Sun, 06 Nov 1994 08:49:37 GMT" -> "Date: now", wherever it stands.
inline std::string WithoutDates(std::string text) {
  for (size_t at = 0; (at = text.find("Date: ", at)) != std::string::npos; at += 9) {
    text.replace(at, text.find("\r\n", at) - at, "Date: now");
  }
  return text;
}

// The statuses of answers that lie one behind the other, "200 404"; what is no answer ends the list
// with "?". `is_head`: which answers belong to HEAD, by index.
inline std::string Statuses(std::string_view bytes, const std::vector<bool>& is_head = {}) {
  std::string list;
  for (size_t index = 0; !bytes.empty(); ++index) {
    const size_t end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos || !bytes.starts_with("HTTP/1.1 ")) return list + "?";
    const std::string_view head = bytes.substr(0, end + 2);
    list += (list.empty() ? "" : " ") + std::string(bytes.substr(9, 3));
    bytes.remove_prefix(end + 4);
    const size_t at = head.find("\r\nContent-Length: ");
    const bool is_bare = index < is_head.size() && is_head[index];
    if (at == std::string_view::npos || is_bare) continue;
    const size_t length = std::stoul(std::string(head.substr(at + 18)));
    if (bytes.size() < length) return list + "?";
    bytes.remove_prefix(length);
  }
  return list;
}

}  // namespace catzilla::server
