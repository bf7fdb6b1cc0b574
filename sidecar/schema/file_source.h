// The configuration file as a layer: read at the start, on request (SIGHUP), and when it changes.
//
// Threads: Reload() from any thread. Watching has a thread of its own, which sleeps in poll(); its
//          Reload() calls the store, and so the store's observers, on that thread.
// Owns:    that thread, an inotify and an event descriptor. Stop() ends all of it.
// Limits:  a file of kDocumentBytesMax. Looks every poll_interval_us even where inotify is blind
//          (network file systems); the directory is watched, since ConfigMaps swap `..data`.
// Fails:   an unreadable or wrong file is a refused change: the version before it stays.
#pragma once

#include <cstdint>
#include <functional>
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
  Outcome Give(const std::string& text, bool readable, int error) CATZILLA_REQUIRES(mutex_);
  void ReloadIfChanged();
  void Watch();

  const FileSourceOptions options_;
  ConfigStore& store_;
  base::Mutex mutex_;  // One reading at a time. Taken before the store's locks.
  std::string last_text_ CATZILLA_GUARDED_BY(mutex_);
  int last_error_ CATZILLA_GUARDED_BY(mutex_) = 0;
  int inotify_ = -1;
  int wake_ = -1;
  std::thread thread_;
};

// Makes relative paths of a file's configuration absolute, counted from `folder`.
void ResolvePaths(const std::string& folder, config::v1::Config* config);

// The folder of `path` as an absolute path.
std::string FolderOf(const std::string& path);

}  // namespace catzilla::schema
