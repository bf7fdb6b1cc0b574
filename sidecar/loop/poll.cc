#include "sidecar/loop/poll.h"

#include <unistd.h>

#include <utility>

#include "sidecar/base/check.h"

namespace catzilla::loop {

static_assert(int{kReadable} == int{UV_READABLE} && int{kWritable} == int{UV_WRITABLE} &&
              int{kHangup} == int{UV_DISCONNECT});

Poll::~Poll() { CATZILLA_CHECK(closed(), "a watched descriptor was destroyed before it closed"); }

bool Poll::Open(int fd) {
  CATZILLA_CHECK(closed(), "a Poll was opened twice");
  if (uv_poll_init(loop_.uv(), &uv_, fd) != 0) {
    ::close(fd);
    return false;
  }
  uv_.data = this;
  fd_ = fd;
  watching_ = 0;
  state_ = State::kOpen;
  return true;
}

void Poll::Watch(unsigned ready) {
  CATZILLA_CHECK(open(), "a closed Poll was asked to watch");
  if (ready == watching_) return;
  watching_ = ready;
  if (ready == 0) {
    uv_poll_stop(&uv_);
  } else {
    uv_poll_start(&uv_, static_cast<int>(ready), &Poll::OnEvent);
  }
}

void Poll::Close() {
  if (state_ != State::kOpen) return;
  const int fd = Release();
  ::close(fd);
}

int Poll::Release() {
  CATZILLA_CHECK(open(), "a closed Poll was asked for its descriptor");
  state_ = State::kClosing;
  watching_ = 0;
  uv_close(reinterpret_cast<uv_handle_t*>(&uv_), &Poll::OnUvClosed);
  return std::exchange(fd_, -1);
}

void Poll::OnEvent(uv_poll_t* handle, int status, int events) {
  auto* poll = static_cast<Poll*>(handle->data);
  poll->loop_.EnterTurn();
  if (status < 0) {
    poll->watching_ = 0;  // libuv has stopped watching.
    poll->handler_.OnReady(kReadable | kWritable | kHangup);
    return;
  }
  poll->handler_.OnReady(static_cast<unsigned>(events));
}

void Poll::OnUvClosed(uv_handle_t* handle) {
  auto* poll = static_cast<Poll*>(handle->data);
  poll->loop_.EnterTurn();
  poll->state_ = State::kClosed;
  poll->handler_.OnClosed();
}

}  // namespace catzilla::loop
