// `worker.sock`: accepts workers, checks who they are, and hands each connection to where it
// belongs.
//
//   accepted --HELLO ok, lane-----> the dispatcher of its loop
//          \---HELLO ok, control--> stays here: PING, STATS, LOG, DUMP, GOAWAY
//           \--refused, too late--> GOAWAY with a sentence, closed
//
// Threads: the loop's it was made on (loop 0), but for the Post…() methods.
// Owns:    the listening socket with its file, connections that have not said HELLO, control
//          connections.
// Limits:  kConnectionsMax, before HELLO and control ones together; of those before HELLO
//          kSilentMax, for hello_timeout each. Past it the one that has been silent for longest
//          goes, so that whoever speaks is always heard.
// Fails:   Open() with a sentence that names the remedy. A worker's faults are its own: GOAWAY and
//          close.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/base/result.h"
#include "sidecar/loop/listener.h"
#include "sidecar/loop/mailbox.h"
#include "sidecar/loop/timer.h"
#include "sidecar/worker/registry.h"

namespace catzilla::worker {

class Greeting;

struct AcceptorOptions {
  std::string path;
  mode_t mode = 0660;
  std::vector<uid_t> uids;  // Besides our own and root; the token is asked for in any case.
  int64_t hello_timeout_us = 2'000'000;
};

// GOAWAY to some of the workers, or a question to those it means.
struct ControlMessage {
  std::string pool;
  uint64_t generation = 0;
  uint64_t worker_id = 0;
  GoawayCode code = GoawayCode::kDraining;
  std::shared_ptr<StackDump> dump;
};

class Acceptor final : public ControlLinks,
                       private loop::Listener::Handler,
                       private loop::Mailbox<ControlMessage>::Receiver,
                       private loop::Timer::Handler {
 public:
  Acceptor(loop::Loop& loop, Registry& registry, AcceptorOptions options);
  ~Acceptor();  // REQUIRES: Close() was called and the loop has drained its handles.
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  // Binds and listens; the error is a sentence with its remedy.
  base::Result<base::Unit, std::string> Open();
  // Takes one connection, as if it had been accepted. For tests with a socketpair.
  void Adopt(int fd);
  // GOAWAY(draining) on every control connection; they stay open until the workers close them.
  void Drain();
  // Removes the socket file and closes everything.
  void Close();

  size_t connections() const { return connections_.size(); }

  void PostControlGoaway(std::string pool, uint64_t generation, uint64_t worker_id,
                         GoawayCode code) override;
  bool PostDump(std::shared_ptr<StackDump> dump) override;

 private:
  friend class Greeting;
  static constexpr size_t kConnectionsMax = 1024;
  static constexpr size_t kSilentMax = 64;
  static constexpr int kBacklog = 1024;
  static constexpr size_t kMailboxMax = 4096;
  static constexpr int64_t kTickUs = 500'000;

  void OnAccept(int fd, const sockaddr_storage& peer) override;
  void OnMessage(ControlMessage& message) override;
  void OnTimer() override;
  void OnConnectionClosed(Greeting& connection);
  void DropLongestSilent();
  bool PeerAllowed(int fd, std::string* who) const;

  loop::Loop& loop_;
  Registry& registry_;
  const AcceptorOptions options_;
  loop::Listener listener_;
  loop::Mailbox<ControlMessage> mailbox_;
  loop::Timer timer_;
  std::vector<std::unique_ptr<Greeting>> connections_;  // In the order in which they came.
  uint64_t silent_dropped_ = 0;
  uint64_t silent_told_ = 0;  // Of which an event has told.
  bool listening_ = false;
  bool closing_ = false;
};

}  // namespace catzilla::worker
