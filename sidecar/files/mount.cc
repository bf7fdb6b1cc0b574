// One key on its way:
//
//   not there --Open()--> opening --Run()--> hot --(half the window)--> hot, re-checked meanwhile
//                            ^                |
//                            +----Open()------+ (past the window, or rewritten in place)
//
// A re-check that finds the file as it was stamps the entry; else a new entry takes its place, and
// the old one lives as long as the answers that began with it.
#include "sidecar/files/mount.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "sidecar/files/path.h"
#include "sidecar/files/read_ahead.h"

namespace catzilla::files {

namespace {
// What is missing now may be there soon: a deploy in progress must not look broken for long.
constexpr int64_t kNegativeWindowUsMax = 1'000'000;
constexpr int kPreloadBatch = 16;
bool IsOurShortage(int error) { return error == EMFILE || error == ENFILE || error == ENOMEM; }
}  // namespace

Mount::Mount(std::shared_ptr<const config::Mount> config, const Environment& environment)
    : config_(std::move(config)),
      own_store_(config_->cache_bytes_max == 0
                     ? nullptr
                     : environment.store.MakeAnother(config_->cache_bytes_max,
                                                     config_->cache_entries_max)),
      store_(own_store_ == nullptr ? environment.store : *own_store_),
      executor_(environment.executor),
      group_(base::Ref<base::Executor::Group>::Make()),
      stats_(base::Ref<MountStats>::Make()),
      id_(store_.NewMountId()),
      loader_(config_, environment.server_name, id_, stats_, environment.resolve),
      watch_(config_->invalidation == config::Invalidation::kImmediate &&
                     environment.watcher != nullptr
                 ? environment.watcher->Open(config_->root)
                 : nullptr) {}

Mount::~Mount() {
  // Off the loop, where the last request may have let go of us. Declined, the entries age out by
  // themselves: nobody can find them any more.
  if (own_store_ != nullptr) {
    (void)executor_.TryPost([store = own_store_] {});  // Whoever drops it last walks the table.
  } else {
    (void)executor_.TryPost([&store = store_, id = id_] { store.DropMount(id); });
  }
}

std::string Mount::watch_state() const {
  if (watch_ == nullptr) return "off";
  const std::string why = watch_->degraded();
  return why.empty() ? "active" : "degraded: " + why;
}

std::string_view Mount::Key(std::string_view path) const {
  return StripPrefix(path, config_->prefix);
}

int64_t Mount::WindowUs(const Entry& entry) const {
  if (entry.kind() != EntryKind::kNegative) return config_->revalidate_us;
  return std::min(config_->revalidate_us, kNegativeWindowUsMax);
}

Mount::Lookup Mount::Find(std::string_view path, const base::Now& now, int loop) {
  const std::string_view key = Key(path);
  Entry* entry = store_.Find(id_, key);
  if (entry == nullptr) {
    const PathVerdict verdict = JudgePath(WithoutJsonKey(key), {config_->hidden_files});
    if (verdict != PathVerdict::kOk) return {Found::kStatus, nullptr, StatusOf(verdict)};
    return {};
  }
  const int64_t age_us = now.monotonic_us - entry->validated_us();
  const int64_t window_us = WindowUs(*entry);
  if (age_us > window_us) return {};
  if (watch_ != nullptr && entry->changes_seen() != watch_->changes()) return {};
  // The bytes of a large file are the kernel's, not ours: ask whether they still belong to the
  // head.
  if (entry->descriptors() > 0 && !entry->Intact(now.monotonic_us)) return {};
  // With a time to live nobody looks before it is over.
  const bool looks_ahead = config_->invalidation != config::Invalidation::kTtl;
  if (looks_ahead && age_us > window_us / 2 && entry->kind() != EntryKind::kNegative) {
    StartRevalidation(*entry, now);
  }
  stats_->Add(loop, Counter::kHits);
  return {Found::kEntry, entry, 0};
}

Mount::Start Mount::Open(std::string_view path, const base::Now& now, const Waiter& waiter,
                         int loop) {
  stats_->Add(loop, Counter::kMisses);
  return Post(Key(path), now, &waiter);
}

Answer Mount::Respond(Entry& entry, const http::RequestHead& request, std::string_view path,
                      const base::Now& now, AnswerScratch& scratch, int loop) {
  const Answer answer = files::Respond(entry, request, path, now, scratch);
  stats_->Add(loop, ResultOf(answer.status));
  if (answer.body_bytes > 0) stats_->Add(loop, Counter::kBytes, answer.body_bytes);
  return answer;
}

Answer Mount::RespondWhole(Entry& entry, const http::RequestHead& request, int loop) {
  const Answer answer = files::RespondWhole(entry, request);
  stats_->Add(loop, ResultOf(answer.status));
  if (answer.body_bytes > 0) stats_->Add(loop, Counter::kBytes, answer.body_bytes);
  return answer;
}

Answer Mount::RespondWithPage(Entry& entry, const http::RequestHead& request, uint16_t status,
                              std::string& scratch, int loop) {
  const Answer answer = files::RespondWithPage(entry, request, status, scratch);
  stats_->Add(loop, ResultOf(status));
  if (answer.body_bytes > 0) stats_->Add(loop, Counter::kBytes, answer.body_bytes);
  return answer;
}

// Off the loop...

void Mount::StartRevalidation(const Entry& entry, const base::Now& now) {
  if (!entry.TryBeginRevalidation()) return;
  // Declined: the entry is still good for the rest of its window, and the next request asks again.
  if (Post(entry.path(), now, nullptr) == Start::kOverloaded) entry.EndRevalidation();
}

Mount::Start Mount::Post(std::string_view key, const base::Now& now, const Waiter* waiter) {
  base::MutexLock lock(mutex_);
  const auto [place, is_new] = opening_.try_emplace(std::string(key));
  if (is_new) {
    // Under the lock, so that nobody joins an open that is about to be declined.
    const auto self = shared_from_this();
    const base::Executor::Posted posted = executor_.TryPost(
        group_, [self, key = place->first, now] { self->Run(key, now); },
        [self, key = place->first] { self->TellLate(key); });
    if (posted != base::Executor::Posted::kYes) {
      opening_.erase(place);
      return Start::kOverloaded;
    }
  }
  if (waiter != nullptr) place->second.push_back(*waiter);
  return Start::kPending;
}

OpenResult Mount::Load(const std::string& key, const base::Now& now) {
  const base::Ref<Entry> known = store_.FindRef(id_, key);
  // Read before the file is looked at: what changes meanwhile is another change.
  uint64_t changes = 0;
  if (watch_ != nullptr) {
    watch_->Cover(key);
    changes = watch_->changes();
    // The root may be another directory by now.
    if (root_changes_.exchange(changes) != changes) loader_.resolver().ForgetRoot();
  }
  OpenResult result;
  try {
    result = loader_.Load(key, now, known);
  } catch (const std::bad_alloc&) {
    result = {nullptr, 503, ENOMEM};
  }
  if (result.entry) result.entry->SetChangesSeen(changes);
  // What we have is better than an apology for our own shortage, and is asked about again.
  if (!result.entry && known && IsOurShortage(result.error)) result = {known};
  Publish(result, known);
  if (known) {
    stats_->AddShared(Counter::kRevalidations);
    known->EndRevalidation();
  }
  return result;
}

void Mount::Run(const std::string& key, const base::Now& now) {
  const OpenResult result = Load(key, now);
  // After publishing: whoever asks from now on finds the entry, or opens anew.
  for (const Waiter& waiter : TakeWaiters(key)) waiter.sink->OnOpened(waiter.ticket, result);
}

// The work may still hang, or was never begun. Whoever asks from now on begins it anew, and is told
// by whichever ends first.
void Mount::TellLate(const std::string& key) {
  stats_->AddShared(Counter::kLate);
  stats_->AddShared(Counter::kOpenErrors);
  if (const base::Ref<Entry> known = store_.FindRef(id_, key)) known->EndRevalidation();
  for (const Waiter& waiter : TakeWaiters(key)) {
    waiter.sink->OnOpened(waiter.ticket, {nullptr, 503, ETIMEDOUT});
  }
}

std::vector<Waiter> Mount::TakeWaiters(const std::string& key) {
  base::MutexLock lock(mutex_);
  const auto place = opening_.find(key);
  if (place == opening_.end()) return {};
  std::vector<Waiter> waiters = std::move(place->second);
  opening_.erase(place);
  return waiters;
}

void Mount::Publish(const OpenResult& result, const base::Ref<Entry>& known) {
  if (!result.entry) {
    stats_->AddShared(Counter::kOpenErrors);
    return;
  }
  if (result.entry == known) return;
  if (known) stats_->AddShared(Counter::kChanged);
  (void)store_.Insert(result.entry);  // Declined, it still serves those who wait.
}

bool Mount::ReadAhead(const base::Ref<base::Owner>& entry, uint64_t offset, uint64_t bytes,
                      const Waiter& waiter, int loop) {
  stats_->Add(loop, Counter::kColdReads);
  return PostReadAhead(executor_, group_, entry, {offset, bytes}, waiter, [stats = stats_] {
           stats->AddShared(Counter::kLate);
         }) != base::Executor::Posted::kFull;
}

// Ahead of the requests...

void Mount::Preload() {
  if (config_->preload.empty()) return;
  const auto find = [self = shared_from_this()] {
    auto keys =
        std::make_shared<std::vector<std::string>>(self->loader_.FindPreloads(base::ReadClock()));
    std::reverse(keys->begin(), keys->end());
    self->PreloadSome(std::move(keys), 0);
  };
  (void)executor_.TryPost(group_, find, nullptr);
}

// A few files in a task of its own, so that requests wait for no more than that.
void Mount::PreloadSome(std::shared_ptr<std::vector<std::string>> keys, size_t bytes) {
  for (int i = 0; i < kPreloadBatch && !keys->empty(); ++i) {
    const OpenResult result = Load(keys->back(), base::ReadClock());
    keys->pop_back();
    if (!result.entry) continue;
    stats_->AddShared(Counter::kPreloaded);
    bytes += result.entry->memory_bytes();
    // More would push out what was loaded first.
    if (bytes > store_.bytes_max() / 10 * 9) return;
  }
  if (keys->empty()) return;
  const auto next = [self = shared_from_this(), keys = std::move(keys), bytes] {
    self->PreloadSome(keys, bytes);
  };
  (void)executor_.TryPost(group_, next, nullptr);
}

}  // namespace catzilla::files
