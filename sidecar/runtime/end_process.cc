#include "sidecar/runtime/end_process.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace catzilla::runtime {
namespace {

std::atomic<bool> g_ended{false};

}  // namespace

void EndProcessAfter(int64_t wait_us) {
  std::thread guard([wait_us] {
    std::this_thread::sleep_for(std::chrono::microseconds(wait_us));
    // Nothing is said: whoever reads the log may be what hangs. The code tells.
    if (!g_ended.load()) ::_exit(kEndedByForce);
  });
  pthread_setname_np(guard.native_handle(), "end-process");
  guard.detach();
}

void AllHasEnded() { g_ended.store(true); }

}  // namespace catzilla::runtime
