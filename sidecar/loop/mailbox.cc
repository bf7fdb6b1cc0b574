#include "sidecar/loop/mailbox.h"

#include "sidecar/base/check.h"

namespace catzilla::loop {

Wakeup::Wakeup(Loop& loop, Handler& handler) : loop_(loop), handler_(handler) {
  CATZILLA_CHECK(uv_async_init(loop_.uv(), &uv_, &Wakeup::OnAsync) == 0,
                 "no wake-up descriptor could be made (descriptors exhausted?)");
  uv_.data = this;
}

Wakeup::~Wakeup() { CATZILLA_CHECK(closed_, "a wake-up was destroyed before it closed"); }

void Wakeup::Close() {
  if (closing_) return;
  closing_ = true;
  uv_close(reinterpret_cast<uv_handle_t*>(&uv_), &Wakeup::OnUvClosed);
}

void Wakeup::OnAsync(uv_async_t* handle) {
  auto* wakeup = static_cast<Wakeup*>(handle->data);
  wakeup->loop_.EnterTurn();
  wakeup->handler_.OnWakeup();
}

void Wakeup::OnUvClosed(uv_handle_t* handle) { static_cast<Wakeup*>(handle->data)->closed_ = true; }

}  // namespace catzilla::loop
