// The access log as telemetry.* has it at the moment: on, off, and into which file.
//
// Threads: any but a loop's; guards itself. Files are opened by whoever asks.
// Owns:    the AccessLog, made when it is first switched on and kept to the end, since loops that
//          have not yet heard of a change still write to it.
// Fails:   with a sentence; everything stays as it was.
#pragma once

#include <memory>
#include <string>

#include "sidecar/base/mutex.h"
#include "sidecar/base/result.h"
#include "sidecar/config/snapshot.h"
#include "sidecar/stats/access_log.h"

namespace catzilla::runtime {

class AccessLogSwitch {
 public:
  explicit AccessLogSwitch(int loops) : loops_(loops) {}

  base::Result<base::Unit, std::string> Apply(const config::Telemetry& telemetry);
  // The same path anew, for rotation.
  base::Result<base::Unit, std::string> Reopen();

  stats::AccessLog* current() const;  // Null: off.
  uint64_t lost() const;

 private:
  const int loops_;
  mutable base::Mutex mutex_;
  std::unique_ptr<stats::AccessLog> log_ CATZILLA_GUARDED_BY(mutex_);
  std::string path_ CATZILLA_GUARDED_BY(mutex_);
  bool on_ CATZILLA_GUARDED_BY(mutex_) = false;
};

}  // namespace catzilla::runtime
