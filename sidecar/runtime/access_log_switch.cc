#include "sidecar/runtime/access_log_switch.h"

#include <utility>

namespace catzilla::runtime {

base::Result<base::Unit, std::string> AccessLogSwitch::Apply(const config::Telemetry& telemetry) {
  base::MutexLock lock(mutex_);
  const bool stays = on_ && path_ == telemetry.access_log_path;
  if (telemetry.access_log && !stays) {
    if (log_ == nullptr) {
      auto log = stats::AccessLog::Open(telemetry.access_log_path, loops_,
                                        telemetry.access_log_ring_bytes);
      if (!log.ok()) return base::Fail(log.error());
      log_ = std::move(log).value();
    } else if (auto done = log_->Switch(telemetry.access_log_path); !done.ok()) {
      return done;
    }
    path_ = telemetry.access_log_path;
  }
  on_ = telemetry.access_log;
  return base::Unit{};
}

base::Result<base::Unit, std::string> AccessLogSwitch::Reopen() {
  base::MutexLock lock(mutex_);
  if (!on_) return base::Unit{};
  return log_->Switch(path_);
}

stats::AccessLog* AccessLogSwitch::current() const {
  base::MutexLock lock(mutex_);
  return on_ ? log_.get() : nullptr;
}

uint64_t AccessLogSwitch::lost() const {
  base::MutexLock lock(mutex_);
  return log_ == nullptr ? 0 : log_->lost();
}

}  // namespace catzilla::runtime
