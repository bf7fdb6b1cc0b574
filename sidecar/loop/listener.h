// A listening socket on a loop: accepts in batches and hands descriptors over.
//
// Threads: the loop's. Owns: the listening descriptor.
// Limits:  kAcceptsPerTurn, so a flood of connections cannot starve the ones that are there.
// Fails:   out of descriptors (EMFILE): accepting pauses for a moment and is counted, the queue of
//          the kernel holds the clients; nothing spins.
#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "sidecar/loop/poll.h"
#include "sidecar/loop/timer.h"

namespace catzilla::loop {

class Listener final : private Poll::Handler, private Timer::Handler {
 public:
  class Handler {
   public:
    // Takes `fd` (non-blocking, close-on-exec).
    virtual void OnAccept(int fd, const sockaddr_storage& peer) = 0;
    // The kernel gave no connection although one waits; accepting pauses. `error`: EMFILE, …
    virtual void OnAcceptFailed(int /*error*/) {}
    virtual void OnListenerClosed() {}

   protected:
    ~Handler() = default;
  };

  Listener(Loop& loop, Handler& handler)
      : handler_(handler), poll_(loop, *this), retry_(loop, *this) {}

  [[nodiscard]] bool Open(int fd);  // Takes a listening descriptor and begins to accept.
  void Pause();
  void Resume();
  // Accepts what the kernel has already queued, so closing resets none of it, then closes.
  void DrainAndClose();
  void Close();

 private:
  static constexpr int kAcceptsPerTurn = 64;
  static constexpr int64_t kRetryUs = 100'000;

  void OnReady(unsigned ready) override;
  void OnClosed() override;
  void OnTimer() override;
  void OnTimerClosed() override;
  bool AcceptSome(int count);  // False: the kernel has no more for now.

  Handler& handler_;
  Poll poll_;
  Timer retry_;
  int handles_open_ = 2;
};

}  // namespace catzilla::loop
