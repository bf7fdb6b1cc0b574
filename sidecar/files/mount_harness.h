// For tests: a mount with all it needs, asked as a loop would ask it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "sidecar/base/epoch.h"
#include "sidecar/base/executor.h"
#include "sidecar/base/mutex.h"
#include "sidecar/files/mount.h"
#include "sidecar/files/store.h"
#include "sidecar/files/temp_tree.h"

namespace catzilla::files {

// Keeps what it is told, by ticket; Wait() blocks until it has been told.
class WaitingSink final : public OpenSink {
 public:
  void OnOpened(base::Ticket ticket, OpenResult result) override {
    base::MutexLock lock(mutex_);
    results_.emplace(ticket.slot, std::move(result));
    told_.SignalAll();
  }
  OpenResult Wait(uint32_t ticket) {
    base::MutexLock lock(mutex_);
    while (results_.find(ticket) == results_.end()) told_.Wait(mutex_);
    OpenResult result = std::move(results_.find(ticket)->second);
    results_.erase(ticket);
    return result;
  }

 private:
  base::Mutex mutex_;
  base::CondVar told_;
  std::map<uint64_t, OpenResult> results_ CATZILLA_GUARDED_BY(mutex_);
};

struct MountHarness {
  explicit MountHarness(FileStoreLimits limits = {}, int threads = 2, size_t queue_max = 64)
      : store(domain, limits, 42), executor("files", threads, queue_max) {
    config.name = "assets";
    config.prefix = "/static";
    config.root = tree.path();
  }
  ~MountHarness() {
    mount.reset();
    executor.Shutdown();
  }

  // (Re)makes the mount from `config`.
  Mount& Make(ResolveMethod method = DetectResolveMethod()) {
    mount = std::make_shared<Mount>(std::make_shared<const config::Mount>(config),
                                    Mount::Environment{store, executor, "catzilla", method});
    return *mount;
  }

  struct Got {
    uint16_t status = 0;  // 0: `entry` answers.
    base::Ref<Entry> entry;
    bool hot = false;
    int error = 0;

    std::string body() const { return entry ? std::string(entry->body()) : ""; }
    bool is_file() const { return entry && entry->kind() == EntryKind::kFile; }
    bool is_directory() const { return entry && entry->kind() == EntryKind::kDirectory; }
    // What the client would see without preconditions.
    int answered() const {
      if (!entry) return status;
      if (is_file()) return 200;
      return is_directory() ? 301 : entry->negative_status();
    }
  };
  // One turn, and a second one when the file had to be opened.
  Got Get(std::string_view path) {
    Got got;
    bool open = false;
    {
      const base::EpochDomain::Guard turn(domain);
      const Mount::Lookup lookup = mount->Find(path, now, 0);
      got.status = lookup.status;
      got.hot = lookup.found == Mount::Found::kEntry;
      open = lookup.found == Mount::Found::kOpen;
      if (got.hot) got.entry = base::Ref<Entry>(lookup.entry);
    }
    if (!open) return got;
    const uint32_t ticket = ++tickets;
    if (mount->Open(path, now, {&sink, {ticket}}, 0) == Mount::Start::kOverloaded) {
      got.status = 503;
      return got;
    }
    OpenResult result = sink.Wait(ticket);
    got.entry = result.entry;
    got.status = result.entry ? 0 : result.status;
    got.error = result.error;
    return got;
  }
  void Advance(int64_t us) {
    now.monotonic_us += us;
    now.wall_us += us;
  }
  // Until what was posted so far is done.
  void Settle() {
    for (;;) {
      const base::Executor::State state = executor.state();
      if (state.queued == 0 && state.running == 0) return;
      std::this_thread::yield();
    }
  }

  TempTree tree;
  config::Mount config;
  base::EpochDomain domain;
  FileStore store;
  base::Executor executor;
  WaitingSink sink;
  std::shared_ptr<Mount> mount;
  // A day from now, so that no file is so young that it is read twice to be sure.
  base::Now now{1'000'000'000, base::ReadClockMicros(CLOCK_REALTIME) + 86'400'000'000};
  uint32_t tickets = 0;
};

}  // namespace catzilla::files
