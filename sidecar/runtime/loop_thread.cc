#include "sidecar/runtime/loop_thread.h"

#include <pthread.h>

#include <string>

namespace catzilla::runtime {

LoopThread::LoopThread(Parts parts, std::shared_ptr<const exchange::Plan> plan)
    : workers_(parts.workers),
      loop_(parts.index),
      wheel_(loop_),
      dispatcher_(loop_, wheel_, parts.workers),
      upstreams_(loop_, wheel_, parts.upstreams),
      server_({loop_, wheel_, dispatcher_, parts.epochs, stats_, parts.counts, parts.access_log,
               parts.random_seed, std::move(parts.on_plan), std::move(parts.on_drained),
               [this] { CloseParts(); }, &upstreams_, parts.passed_files},
              std::move(plan)) {
  workers_.SetDispatcher(dispatcher_);
}

LoopThread::~LoopThread() {
  // Never started, or joined: what is left open is closed here, on main's thread.
  if (!closed_) server_.CloseNow();
  loop_.DrainHandles();
}

base::Result<base::Unit, std::string> LoopThread::OpenWorkerSocket(
    worker::AcceptorOptions options) {
  acceptor_ = std::make_unique<worker::Acceptor>(loop_, workers_, std::move(options));
  workers_.SetControlLinks(acceptor_.get());
  return acceptor_->Open();
}

void LoopThread::Start() {
  thread_ = std::thread([this] {
    loop_.Run();
    loop_.DrainHandles();
  });
  pthread_setname_np(thread_.native_handle(), ("loop/" + std::to_string(loop_.index())).c_str());
}

void LoopThread::Join() {
  if (thread_.joinable()) thread_.join();
}

// The server has closed its listeners and connections: the rest of the loop's parts follow.
void LoopThread::CloseParts() {
  closed_ = true;
  if (acceptor_ != nullptr) acceptor_->Close();
  dispatcher_.Close();
  upstreams_.Close();
  wheel_.Close();
  loop_.Stop();
}

}  // namespace catzilla::runtime
