// What the container may use: CPU quota and memory limit, from cgroup v2 or v1.
//
// Threads: any. Fails: never; what cannot be read is unlimited. libuv 1.44 knows only v1's memory
// limit, so the files are read here. `root` is "/" outside tests.
#pragma once

#include <cstdint>
#include <string>

namespace catzilla::base {

struct CgroupLimits {
  double cpus = 0;            // 0: no quota.
  uint64_t memory_bytes = 0;  // 0: no limit.
};

// Reads /proc/self/cgroup and the controllers' files under `root`; the tightest limit on the way up
// to the root of the hierarchy counts.
CgroupLimits ReadCgroupLimits(const std::string& root = "/");

// clamp(floor(quota), 1, 8); without a quota the number of CPUs, at most 4.
int LoopCount(const CgroupLimits& limits, int cpus_online);

}  // namespace catzilla::base
