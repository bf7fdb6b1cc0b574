// A descriptor watched by a loop.
//
// Threads: the loop's.
// Owns:    the descriptor, from Open() to Close() or Release().
// Life:    made --Open()--> open --Close()--> closing --Handler::OnClosed()--> may be destroyed.
//          Close() is idempotent. The owner frees itself in OnClosed() and nowhere else.
#pragma once

#include <uv.h>

#include <cstdint>

#include "sidecar/loop/loop.h"

namespace catzilla::loop {

// A set of these is watched, and given to the handler.
enum Ready : unsigned {
  kReadable = 1,
  kWritable = 2,
  kHangup = 4,  // The peer has closed or half-closed; bytes may still be there to be read.
};

class Poll {
 public:
  class Handler {
   public:
    // `ready` is a set of Ready. An error on the descriptor is kReadable|kWritable|kHangup: the
    // next read or write tells what it is.
    virtual void OnReady(unsigned ready) = 0;
    virtual void OnClosed() = 0;

   protected:
    ~Handler() = default;
  };

  Poll(Loop& loop, Handler& handler) : loop_(loop), handler_(handler) {}
  ~Poll();  // REQUIRES: never opened, or closed and OnClosed() has been called.
  Poll(const Poll&) = delete;
  Poll& operator=(const Poll&) = delete;

  // Takes `fd` (non-blocking from now on). False: the descriptor cannot be watched; it is closed.
  [[nodiscard]] bool Open(int fd);
  // Watches for exactly this set; 0 watches for nothing. REQUIRES: open.
  void Watch(unsigned ready);
  unsigned watching() const { return watching_; }
  void Close();
  // Gives the descriptor away (to another loop) and closes the handle.
  [[nodiscard]] int Release();

  bool open() const { return state_ == State::kOpen; }
  bool closed() const { return state_ == State::kMade || state_ == State::kClosed; }
  int fd() const { return fd_; }

 private:
  enum class State : uint8_t { kMade, kOpen, kClosing, kClosed };
  static void OnEvent(uv_poll_t* handle, int status, int events);
  static void OnUvClosed(uv_handle_t* handle);

  Loop& loop_;
  Handler& handler_;
  uv_poll_t uv_;
  int fd_ = -1;
  unsigned watching_ = 0;
  State state_ = State::kMade;
};

}  // namespace catzilla::loop
