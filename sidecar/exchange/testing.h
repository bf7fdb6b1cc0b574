// For tests of any room: what a loop serves from, made by hand as the runtime makes it. Not linked
// into the sidecar.
//
// A House has what all loops share: a folder of its own, the file table, an executor, the series of
// routes, and the caches by name. A Desk is one loop's part, as the server has it: the Context, and
// the way of messages from other threads to exchanges and fills.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/base/epoch.h"
#include "sidecar/base/executor.h"
#include "sidecar/exchange/context.h"
#include "sidecar/exchange/exchange.h"
#include "sidecar/exchange/fill_driver.h"
#include "sidecar/exchange/plan.h"
#include "sidecar/files/resolve.h"
#include "sidecar/files/store.h"
#include "sidecar/loop/mailbox.h"
#include "sidecar/stats/route_stats.h"

namespace catzilla::exchange {

class House {
 public:
  House() : files(epochs, {}, 42), executor("files", 1, 8), series(1, 10'000) {
    const char* base = std::getenv("TMPDIR");
    std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/catzilla-house-XXXXXX";
    CATZILLA_CHECK(::mkdtemp(pattern.data()) != nullptr, "no folder for a test");
    root = pattern;
  }
  ~House() {
    executor.Shutdown();
    std::error_code ignored;
    std::filesystem::remove_all(root, ignored);
  }
  House(const House&) = delete;
  House& operator=(const House&) = delete;

  // In place: the same inode.
  void Write(std::string_view name, std::string_view bytes) const {
    std::ofstream out(root + "/" + std::string(name), std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    CATZILLA_CHECK(out.flush().good(), "a test's file was not written");
  }

  // Until the files that were asked for so far are opened.
  void Settle() const {
    for (;;) {
      const base::Executor::State state = executor.state();
      if (state.queued == 0 && state.running == 0) return;
      std::this_thread::yield();
    }
  }

  // Whose answers do not change from run to run: no validators that hold times.
  config::Mount MountAt(std::string prefix) const {
    config::Mount mount;
    mount.name = prefix;
    mount.prefix = std::move(prefix);
    mount.root = root;
    mount.etags = mount.last_modified = false;
    mount.invalidation = config::Invalidation::kTtl;
    mount.revalidate_us = 3'600'000'000;
    return mount;
  }

  // As runtime/plan_builder.cc, without its care for what stays the same. Caches outlive plans.
  std::shared_ptr<const Plan> MakePlan(const config::Snapshot& from,
                                       const std::shared_ptr<worker::Pool>& pool,
                                       const base::Ref<worker::Generation>& serving,
                                       cache::Waker* waker) {
    auto snapshot = std::make_shared<config::Snapshot>(from);
    snapshot->version = ++versions;
    auto plan = std::make_shared<Plan>(std::move(snapshot));
    for (const auto& mount : plan->snapshot->mounts) {
      auto target = std::make_shared<MountTarget>();
      target->config = mount;
      target->files = std::make_shared<files::Mount>(
          mount,
          files::Mount::Environment{files, executor, "catzilla", files::DetectResolveMethod()});
      target->stats = series.Get(mount->prefix, {"GET", "HEAD"});
      if (mount->internal) plan->internal_mounts.push_back(target);
      plan->mounts.push_back(std::move(target));
    }
    for (const auto& cache : plan->snapshot->caches) {
      auto& store = caches[cache->name];
      if (store == nullptr) {
        store = std::make_shared<cache::ObjectStore>(epochs, *waker, cache::HashSeed{1, 2}, *cache);
      }
      auto target = std::make_shared<CacheTarget>();
      target->config = cache;
      target->store = store;
      plan->caches.push_back(std::move(target));
    }
    for (const auto& route : plan->snapshot->routes) {
      auto target = std::make_shared<RouteTarget>();
      target->config = route;
      target->version = plan->version();
      target->pool = route->pool.empty() ? nullptr : pool;
      target->generation = route->pool.empty() ? nullptr : serving;
      for (const auto& cache : plan->caches) {
        if (cache->config->name == route->cache) target->cache = cache;
      }
      if (target->cache != nullptr) {
        target->record_policy.storage = {0, route->cache_ttl_us};
        target->record_policy.lineage = serving->id().number;
        target->key_policy = target->cache->key_policy();
      }
      target->stats = series.Get(route->path, route->methods);
      plan->routes.push_back(std::move(target));
    }
    plan->unmatched = series.Get("<none>", {"GET"});
    return plan;
  }

  std::string root;
  base::EpochDomain epochs;
  files::FileStore files;
  base::Executor executor;
  stats::RouteStatsTable series;
  std::map<std::string, std::shared_ptr<cache::ObjectStore>> caches;
  uint64_t versions = 0;
};

// Outlives its loop's last turn: made before the loop, told to it with AddHooks().
class HouseTurns final : public loop::TurnHooks {
 public:
  explicit HouseTurns(House& house) : house_(house), reader_(house.epochs) {}

 private:
  void OnTurnBegin(const base::Now&) override { reader_.Enter(); }
  void OnTurnEnd(const base::Now&) override {
    reader_.Leave();
    house_.epochs.Reclaim();
  }
  House& house_;
  base::EpochDomain::Reader reader_;
};

// What other threads tell a Desk.
struct DeskMessage {
  bool is_file = false;
  base::Ticket ticket;
  files::OpenResult opened;
};

// REQUIRES at its end: Close() was called and the loop has drained its handles.
class Desk final : public cache::Waker,
                   private files::OpenSink,
                   private loop::Mailbox<DeskMessage>::Receiver {
 public:
  Desk(loop::Loop& loop, loop::Wheel& wheel, worker::Dispatcher& dispatcher)
      : context(loop, wheel, dispatcher, *this, stats), mailbox_(loop, *this, 1024) {}
  void Close() { mailbox_.Close(); }

  stats::LoopStats stats;
  Context context;

 private:
  void OnOpened(base::Ticket ticket, files::OpenResult result) override {
    (void)mailbox_.Post({true, ticket, std::move(result)});
  }
  void Wake(base::Ticket ticket) override { (void)mailbox_.Post({false, ticket, {}}); }
  void OnMessage(DeskMessage& message) override {
    if (auto* driver = context.fill_drivers.Find(message.ticket)) return driver->OnWake();
    Exchange* exchange = context.exchanges.Find(message.ticket);
    if (exchange == nullptr) return;
    if (message.is_file) {
      exchange->OnOpened(std::move(message.opened));
    } else {
      exchange->OnFillMoved();
    }
  }

  loop::Mailbox<DeskMessage> mailbox_;
};

}  // namespace catzilla::exchange
