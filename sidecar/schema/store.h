// The configuration's versions: three layers in, one Snapshot out, every change checked whole.
//
// Threads: any thread may call. Changes are serialised by change_mutex_, under which observers are
//          told on the caller's thread, in order of versions; an observer may read, but not change,
//          subscribe or unsubscribe. Lock order: change_mutex_, observers_mutex_, mutex_ (which is
//          held for pointer copies only, so reading never waits for a check).
// Owns:    the layers and the versions; a Version lives as long as anyone holds it.
// Limits:  kHistoryMax versions are remembered.
// Fails:   a refused change leaves the version before it served, and is remembered as
//          last_rejected().
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sidecar/base/mutex.h"
#include "sidecar/config/snapshot.h"
#include "sidecar/schema/diagnostic.h"
#include "sidecar/schema/layers.h"

namespace catzilla::schema {

inline constexpr size_t kHistoryMax = 32;

// When a resource got its present form.
struct Stamp {
  uint64_t version = 0;
  int64_t time_us = 0;
};

// One accepted configuration. Immutable.
struct Version {
  uint64_t number = 0;
  int64_t time_us = 0;                         // Wall clock.
  config::Layer layer = config::Layer::kFile;  // That changed.
  std::string origin;
  Layers layers;
  Merged merged;
  std::shared_ptr<const config::Snapshot> snapshot;
  Diagnostics diagnostics;              // Warnings and infos about what is served.
  std::map<std::string, Stamp> stamps;  // "mounts[assets]"

  // Fields that were changed and keep their running value until the sidecar is restarted; each has
  // a warning among the diagnostics.
  size_t restart_pending() const;
};

struct Rejection {
  int64_t time_us = 0;
  config::Layer layer = config::Layer::kFile;
  std::string origin;
  Diagnostics diagnostics;
};

struct HistoryEntry {
  uint64_t number = 0;
  int64_t time_us = 0;
  config::Layer layer = config::Layer::kFile;
  std::string origin;
};

enum class Applied : uint8_t {
  kChanged,
  kUnchanged,
  kRefused,   // See the diagnostics.
  kConflict,  // if_version is not the current one.
};

struct Outcome {
  Applied applied = Applied::kUnchanged;
  uint64_t version = 0;     // Current after the call.
  Diagnostics diagnostics;  // All of them, with file and line.
  std::string diff;         // Of the effective configuration; only if asked for.
  bool ok() const { return applied == Applied::kChanged || applied == Applied::kUnchanged; }
};

struct ChangeOptions {
  std::optional<uint64_t> if_version;
  bool dry_run = false;
  bool with_diff = false;
  bool strict = false;  // Refuse what would take effect with a restart only.
  std::string origin;   // "uid 1000"
};

struct StoreOptions {
  uint64_t memory_limit_bytes = 0;  // What "25%" is of.
  bool check_files = true;
  std::function<int64_t()> wall_clock_us;  // REQUIRED.
};

class ConfigStore {
 public:
  // Exactly one of the two is set.
  struct Event {
    std::shared_ptr<const Version> version;
    std::shared_ptr<const Rejection> rejection;
  };
  using Observer = std::function<void(const Event&)>;
  // Edits the api layer; returns findings, errors among which refuse the change.
  using Edit = std::function<Diagnostics(const Version& current, ApiLayer* layer)>;

  explicit ConfigStore(StoreOptions options);
  ConfigStore(const ConfigStore&) = delete;
  ConfigStore& operator=(const ConfigStore&) = delete;

  // Null until the first SetFile() was accepted.
  std::shared_ptr<const Version> Current() const;
  std::shared_ptr<const Rejection> LastRejected() const;
  uint64_t RejectionsTotal(config::Layer layer) const;
  std::vector<HistoryEntry> History() const;  // Oldest first.

  // Replaces the file layer; `findings` are those of reading it. The first call is the start: it
  // also loads the api layer from control.state_dir, and restart-required fields are free.
  Outcome SetFile(FileLayer layer, Diagnostics findings, const std::string& origin);

  // REQUIRES: Current() is not null.
  Outcome ChangeApi(const Edit& edit, const ChangeOptions& options);

  // Sets or, with null, removes what the app `name` registered. REQUIRES: Current() is not null.
  Outcome SetApp(const std::string& name, std::shared_ptr<const AppLayer> layer,
                 const ChangeOptions& options);

  // Checks without changing, as if it were the file (or api) layer.
  Diagnostics Check(config::v1::Config config, LineMap lines, Diagnostics findings,
                    config::Layer layer) const;

  int Subscribe(Observer observer);
  void Unsubscribe(int id);  // The observer is not called any more once this has returned.

 private:
  struct Candidate {
    Layers layers;
    Merged merged;
    Diagnostics diagnostics;
  };

  Candidate Build(Layers layers, Diagnostics findings, const Version* running,
                  bool strict = false) const;
  Outcome Commit(Candidate candidate, config::Layer layer, const ChangeOptions& options)
      CATZILLA_REQUIRES(change_mutex_);
  std::shared_ptr<const Version> MakeVersion(Candidate candidate, config::Layer layer,
                                             const std::string& origin,
                                             const Version* previous) const;
  void Reject(config::Layer layer, const std::string& origin, const Diagnostics& diagnostics)
      CATZILLA_REQUIRES(change_mutex_);
  void Tell(const Event& event);
  Outcome Start(FileLayer layer, Diagnostics findings, const std::string& origin)
      CATZILLA_REQUIRES(change_mutex_);

  const StoreOptions options_;
  mutable base::Mutex change_mutex_;
  base::Mutex observers_mutex_;
  mutable base::Mutex mutex_;
  std::shared_ptr<const Version> current_ CATZILLA_GUARDED_BY(mutex_);
  std::shared_ptr<const Rejection> last_rejected_ CATZILLA_GUARDED_BY(mutex_);
  uint64_t rejections_[3] CATZILLA_GUARDED_BY(mutex_) = {};
  std::vector<HistoryEntry> history_ CATZILLA_GUARDED_BY(mutex_);
  std::map<int, Observer> observers_ CATZILLA_GUARDED_BY(observers_mutex_);
  int next_observer_ CATZILLA_GUARDED_BY(observers_mutex_) = 1;
};

}  // namespace catzilla::schema
