#include "sidecar/runtime/descriptors.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>

namespace catzilla::runtime {
namespace {

rlim_t DescriptorLimit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

// Control, ops, workers and their lanes, logs, files under way.
constexpr rlim_t kReserve = 192;

}  // namespace

uint32_t FileDescriptors() {
  return static_cast<uint32_t>(std::clamp<rlim_t>(DescriptorLimit() / 8, 16, 1024));
}

uint32_t PassedDescriptors() {
  return static_cast<uint32_t>(std::clamp<rlim_t>(DescriptorLimit() / 16, 16, 1024));
}

uint32_t ConnectionBudget() {
  const rlim_t limit = DescriptorLimit();
  const rlim_t kept = kReserve + FileDescriptors() + PassedDescriptors();
  const rlim_t room = limit > 2 * kept ? limit - kept : limit / 2;
  return static_cast<uint32_t>(std::min<rlim_t>(room, UINT32_MAX));
}

void WarnOfBudget(uint32_t wanted) {
  const uint32_t room = ConnectionBudget();
  if (wanted <= room) return;
  spdlog::warn(
      "limits.max_connections is {}, but the process may have {} descriptors: {} connections at "
      "most (raise LimitNOFILE=, ulimit -n, or the container's nofile)",
      wanted, DescriptorLimit(), room);
}

}  // namespace catzilla::runtime
