#include "sidecar/schema/root_look.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <memory>
#include <system_error>
#include <thread>

#include "sidecar/base/clock.h"
#include "sidecar/base/mutex.h"

namespace catzilla::schema {
namespace {

constexpr RootLook kNoAnswer{ETIMEDOUT, false, 0};

RootLook Look(const std::string& root) {
  RootLook look;
  struct stat status{};
  if (stat(root.c_str(), &status) != 0) {
    look.stat_error = errno;
    return look;
  }
  look.is_directory = S_ISDIR(status.st_mode);
  if (look.is_directory && access(root.c_str(), R_OK | X_OK) != 0) look.access_error = errno;
  return look;
}

struct UnderWay {
  int64_t due_us = 0;
  bool ended = false;
  RootLook look;
};

struct Looks {
  base::Mutex mutex;
  base::CondVar changed;
  std::map<std::string, std::shared_ptr<UnderWay>> under_way CATZILLA_GUARDED_BY(mutex);
};

// Outlives the threads that hang.
Looks& AllLooks() {
  static Looks* const looks = new Looks;
  return *looks;
}

void Run(const std::shared_ptr<UnderWay>& mine, const std::string& root) {
  const RootLook look = Look(root);
  Looks& looks = AllLooks();
  base::MutexLock lock(looks.mutex);
  mine->look = look;
  mine->ended = true;
  looks.under_way.erase(root);
  looks.changed.SignalAll();
}

}  // namespace

RootLook LookAtRoot(const std::string& root) {
  Looks& looks = AllLooks();
  base::MutexLock lock(looks.mutex);
  std::shared_ptr<UnderWay> mine;
  if (const auto found = looks.under_way.find(root); found != looks.under_way.end()) {
    mine = found->second;  // Whoever asks again waits no longer than the first one.
  } else {
    if (looks.under_way.size() >= kRootLooksMax) return kNoAnswer;
    mine = std::make_shared<UnderWay>();
    mine->due_us = base::ReadClockMicros(CLOCK_MONOTONIC) + kRootLookUs;
    try {
      std::thread([mine, root] { Run(mine, root); }).detach();
    } catch (const std::system_error& error) {
      return {error.code().value(), false, 0};
    }
    looks.under_way.emplace(root, mine);
  }
  while (!mine->ended) {
    const int64_t left_us = mine->due_us - base::ReadClockMicros(CLOCK_MONOTONIC);
    if (left_us <= 0) return kNoAnswer;
    (void)looks.changed.WaitFor(looks.mutex, left_us);
  }
  return mine->look;
}

}  // namespace catzilla::schema
