#include "sidecar/base/cgroup.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace catzilla::base {
namespace {

std::string ReadLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// v1 writes "unlimited" as a number near 2^63, rounded to pages.
constexpr uint64_t kV1Unlimited = 1ull << 60;

void TightenMemory(const std::string& text, CgroupLimits& limits) {
  if (text.empty() || text == "max") return;
  const uint64_t bytes = std::strtoull(text.c_str(), nullptr, 10);
  if (bytes == 0 || bytes >= kV1Unlimited) return;
  limits.memory_bytes = limits.memory_bytes == 0 ? bytes : std::min(limits.memory_bytes, bytes);
}

void TightenCpus(double quota, double period, CgroupLimits& limits) {
  if (quota <= 0 || period <= 0) return;
  const double cpus = quota / period;
  limits.cpus = limits.cpus == 0 ? cpus : std::min(limits.cpus, cpus);
}

// Calls `read(directory)` for `path` below `mount` and for each of its parents, the mount included.
template <typename Read>
void WalkUp(const std::string& mount, std::string path, Read read) {
  for (;;) {
    read(mount + (path == "/" ? "" : path));
    if (path.empty() || path == "/") return;
    const size_t slash = path.rfind('/');
    path = slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
  }
}

void ReadV2(const std::string& directory, CgroupLimits& limits) {
  TightenMemory(ReadLine(directory + "/memory.max"), limits);
  std::istringstream cpu(ReadLine(directory + "/cpu.max"));
  std::string quota;
  double period = 0;
  if (cpu >> quota >> period && quota != "max") {
    TightenCpus(std::strtod(quota.c_str(), nullptr), period, limits);
  }
}

bool HasController(const std::string& controllers, const std::string& wanted) {
  std::istringstream list(controllers);
  for (std::string name; std::getline(list, name, ',');) {
    if (name == wanted) return true;
  }
  return false;
}

}  // namespace

CgroupLimits ReadCgroupLimits(const std::string& root) {
  CgroupLimits limits;
  const std::string fs = root + (root.ends_with('/') ? "" : "/") + "sys/fs/cgroup";
  std::ifstream self(root + (root.ends_with('/') ? "" : "/") + "proc/self/cgroup");
  for (std::string line; std::getline(self, line);) {
    // "hierarchy:controllers:path"; v2 is "0::path".
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      // In a hybrid set-up v2 is mounted below, beside v1's controllers.
      for (const std::string& mount : {fs, fs + "/unified"}) {
        WalkUp(mount, path, [&](const std::string& at) { ReadV2(at, limits); });
      }
    } else if (HasController(controllers, "memory")) {
      WalkUp(fs + "/memory", path, [&](const std::string& at) {
        TightenMemory(ReadLine(at + "/memory.limit_in_bytes"), limits);
      });
    } else if (HasController(controllers, "cpu")) {
      const auto read = [&](const std::string& at) {
        TightenCpus(std::strtod(ReadLine(at + "/cpu.cfs_quota_us").c_str(), nullptr),
                    std::strtod(ReadLine(at + "/cpu.cfs_period_us").c_str(), nullptr), limits);
      };
      WalkUp(fs + "/" + controllers, path, read);
      WalkUp(fs + "/cpu", path, read);
    }
  }
  return limits;
}

int LoopCount(const CgroupLimits& limits, int cpus_online) {
  if (limits.cpus > 0) return std::clamp(static_cast<int>(std::floor(limits.cpus)), 1, 8);
  return std::clamp(cpus_online, 1, 4);
}

}  // namespace catzilla::base
