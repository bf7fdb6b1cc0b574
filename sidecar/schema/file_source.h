// The configuration file as a layer: read at the start, on request (SIGHUP), and when it changes.
//
// Threads: Reload() from any thread. Watching has a thread of its own, which sleeps in poll(); its
//          Reload() calls the store, and so the store's observers, on that thread.
// Owns:    that thread, an inotify and an event descriptor. Stop() ends all of it.
// Limits:  a file of kDocumentBytesMax. Looks every poll_interval_us even where inotify is blind
//          (network file systems); the directory is watched, since ConfigMaps swap `..data`.
// Settled: while watching, a file counts once two looks, some time apart, have found the same, and
//          not while a writer holds it open that has written lately (where inotify tells).
// Fails:   an unreadable, wrong or empty file is a refused change: the version before it stays.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "sidecar/base/mutex.h"
#include "sidecar/schema/store.h"

namespace catzilla::schema {

struct FileSourceOptions {
  std::string path;  // Empty: there is no file, only the overlay.
  // Lays flags and environment over what the file says, and notes their origins.
  std::function<void(FileLayer*, Diagnostics*)> overlay;
  int64_t poll_interval_us = 2'000'000;
  // A file that was written to and not closed is not read before it was left alone for so long.
  int64_t open_writer_us = 5'000'000;
  std::function<void()> on_look;  // After each look of the watching thread, on it.
};

class FileSource {
 public:
  FileSource(FileSourceOptions options, ConfigStore& store);
  ~FileSource();
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  // Reads the file and gives it to the store, changed or not.
  Outcome Reload();

  void StartWatching();  // No file: does nothing.
  void Stop();           // Idempotent.

 private:
  // What one look at the file found.
  struct Look {
    std::string text;
    int error = 0;
    bool operator==(const Look&) const = default;
  };
  Look Read() const;
  Outcome Give(Look look) CATZILLA_REQUIRES(mutex_);
  // Gives the file to the store if it has changed and is settled. True: look again soon.
  bool LookAtFile();
  void ReadEvents();
  void Watch();

  const FileSourceOptions options_;
  ConfigStore& store_;
  base::Mutex mutex_;  // One reading at a time. Taken before the store's locks.
  Look given_ CATZILLA_GUARDED_BY(mutex_);
  // Of the watching thread: the look before, if the file is not what was given, and since when a
  // writer that has not closed it may be at work (0: none).
  std::optional<Look> before_;
  int64_t open_since_us_ = 0;
  int inotify_ = -1;
  int wake_ = -1;
  std::thread thread_;
};

// Makes relative paths of a file's configuration absolute, counted from `folder`.
void ResolvePaths(const std::string& folder, config::v1::Config* config);

// The folder of `path` as an absolute path.
std::string FolderOf(const std::string& path);

}  // namespace catzilla::schema
