// One static mount at run time: finds hot entries without a lock, opens the others off the loop.
//
// GET and HEAD go: Find() -> kEntry: Respond(). -> kStatus: the error page. -> kOpen: Open(), and
// when the sink is told, Respond() on what it brings. See README.md.
//
// Threads: Find(), Open(), Respond() by any loop, inside its turn; stats by any thread. Opening
//          runs on the files executor, whose threads tell the sink.
// Owns:    the root's directory descriptor and the table of opens under way. Entries live in the
//          FileStore, shared by all mounts, or in one of its own if it is configured so.
// Limits:  opens under way: one per path, at most the executor's queue and threads together; past
//          that Open() declines and the caller answers 503. All of a mount's work is one group of
//          the executor, so a file system that hangs costs the other mounts nothing: who waits is
//          told 503 (ETIMEDOUT) at the executor's deadline, and Open() declines while too many
//          threads hang.
// Fails:   as statuses (resolve.h). A root that is missing makes every path 404 until it is there.
// Life:    made by std::make_shared; a task keeps its mount alive. Replaced as a whole when its
//          config changes; requests that hold the old one finish on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sidecar/base/clock.h"
#include "sidecar/base/executor.h"
#include "sidecar/base/mutex.h"
#include "sidecar/base/ref.h"
#include "sidecar/base/ticket.h"
#include "sidecar/config/snapshot.h"
#include "sidecar/files/answer.h"
#include "sidecar/files/entry.h"
#include "sidecar/files/loader.h"
#include "sidecar/files/stats.h"
#include "sidecar/files/store.h"
#include "sidecar/files/watch.h"

namespace catzilla::files {

// Where opened files are reported: one per loop, outliving the mount's opens.
class OpenSink {
 public:
  // From a thread of the files executor; must not block. Posts itself to its loop.
  virtual void OnOpened(base::Ticket ticket, OpenResult result) = 0;

 protected:
  ~OpenSink() = default;
};

struct Waiter {
  OpenSink* sink = nullptr;
  base::Ticket ticket;  // Of the request that waits.
};

class Mount final : public std::enable_shared_from_this<Mount> {
 public:
  // Borrowed: outlive the mount and its tasks (main shuts the executor down first).
  struct Environment {
    FileStore& store;
    base::Executor& executor;
    std::string server_name;     // The Server field; empty: none.
    ResolveMethod resolve;       // DetectResolveMethod(), asked once by main.
    Watcher* watcher = nullptr;  // Null: changes are seen by the revalidation window alone.
  };

  Mount(std::shared_ptr<const config::Mount> config, const Environment& environment);
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  enum class Found : uint8_t { kEntry, kStatus, kOpen };
  struct Lookup {
    Found found = Found::kOpen;
    Entry* entry = nullptr;  // kEntry: valid until the end of this turn unless referenced.
    uint16_t status = 0;     // kStatus: 400, 403 or 404.
  };

  // `path` is the request's path as http/target gives it, decoded once and without dot segments,
  // with the mount's prefix still on it. REQUIRES: http::IsFitForFiles(), else the answer is 400;
  // and the prefix matches on a segment boundary.
  // A served entry is at most revalidate_us old; past half of it a re-check starts in the
  // background.
  Lookup Find(std::string_view path, const base::Now& now, int loop);

  enum class Start : uint8_t { kPending, kOverloaded };
  // Opens what Find() had not, or checks it anew; the waiter is told once. Never calls back from
  // here. REQUIRES: Find() said kOpen for this path.
  [[nodiscard]] Start Open(std::string_view path, const base::Now& now, const Waiter& waiter,
                           int loop);

  // files::Respond(), counted.
  Answer Respond(Entry& entry, const http::RequestHead& request, std::string_view path,
                 const base::Now& now, AnswerScratch& scratch, int loop);
  // Has the next `bytes` of an entry's file read into the page cache off the loop, so that sending
  // them does not wait for a disk; the waiter is told, with nothing. A read that hangs ends the
  // entry: it is not Intact() any more. False: nobody can now.
  // REQUIRES: `entry` is an Entry of this mount with a descriptor.
  [[nodiscard]] bool ReadAhead(const base::Ref<base::Owner>& entry, uint64_t offset, uint64_t bytes,
                               const Waiter& waiter, int loop);

  // files::RespondWhole(), counted.
  Answer RespondWhole(Entry& entry, const http::RequestHead& request, int loop);
  // files::RespondWithPage(), counted.
  Answer RespondWithPage(Entry& entry, const http::RequestHead& request, uint16_t status,
                         std::string& scratch, int loop);
  // An answer that the caller wrote itself: an error, 405, 204.
  void CountResult(uint16_t status, int loop) { stats_->Add(loop, ResultOf(status)); }

  // Begins to open what the configuration names, in the background and behind nobody: what is asked
  // for meanwhile goes between. Ends early when the executor's queue is full or the cache is.
  void Preload();

  const config::Mount& config() const { return *config_; }
  const std::shared_ptr<const config::Mount>& shared_config() const { return config_; }
  MountStats& stats() const { return *stats_; }
  // Whether changes on disk are told by the kernel; if not, why. See watch.h.
  std::string watch_state() const;
  // "openat2" or "walk": how paths are kept inside the root.
  const char* resolve_name() const { return loader_.resolver().method_name(); }

 private:
  std::string_view Key(std::string_view path) const;
  int64_t WindowUs(const Entry& entry) const;
  void StartRevalidation(const Entry& entry, const base::Now& now);
  // Puts the work on the executor unless it is there already.
  Start Post(std::string_view key, const base::Now& now, const Waiter* waiter)
      CATZILLA_EXCLUDES(mutex_);
  // The executor's deadline has passed.
  void TellLate(const std::string& key) CATZILLA_EXCLUDES(mutex_);
  std::vector<Waiter> TakeWaiters(const std::string& key) CATZILLA_EXCLUDES(mutex_);
  // On the executor.
  void Run(const std::string& key, const base::Now& now) CATZILLA_EXCLUDES(mutex_);
  OpenResult Load(const std::string& key, const base::Now& now);
  void PreloadSome(std::shared_ptr<std::vector<std::string>> keys, size_t bytes);
  void Publish(const OpenResult& result, const base::Ref<Entry>& known);

  // Constant after construction.
  const std::shared_ptr<const config::Mount> config_;
  const std::shared_ptr<FileStore> own_store_;  // Null: the one that all share.
  FileStore& store_;
  base::Executor& executor_;
  const base::Ref<base::Executor::Group> group_;  // Of everything that touches its files.
  const base::Ref<MountStats> stats_;
  const uint64_t id_;  // Part of the key: entries of a replaced mount are never found again.
  Loader loader_;
  const std::unique_ptr<Watch> watch_;     // Null: Invalidation is not kImmediate.
  std::atomic<uint64_t> root_changes_{0};  // Watch::changes() when the root was opened last.

  base::Mutex mutex_;
  // By key: who waits for it; nobody, if it is a re-check in the background.
  std::unordered_map<std::string, std::vector<Waiter>> opening_ CATZILLA_GUARDED_BY(mutex_);
};

}  // namespace catzilla::files
