#include "sidecar/runtime/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>

#include "sidecar/ops/metric_names.h"

namespace catzilla::runtime {
namespace {

namespace metric = ops::metric;

std::string ReadAll(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The fields of /proc/self/stat that are wanted, see proc(5).
struct ProcStat {
  uint64_t threads = 0;
  uint64_t start_ticks = 0;  // Since boot.
  uint64_t virtual_bytes = 0;
  uint64_t resident_pages = 0;
};

std::optional<ProcStat> ReadProcStat() {
  const std::string text = ReadAll("/proc/self/stat");
  const size_t name_end = text.rfind(')');  // The name may hold anything, also blanks.
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  ProcStat stat;
  std::string field;
  for (int number = 3; number <= 24 && fields >> field; ++number) {
    const uint64_t value = std::strtoull(field.c_str(), nullptr, 10);
    if (number == 20) stat.threads = value;
    if (number == 22) stat.start_ticks = value;
    if (number == 23) stat.virtual_bytes = value;
    if (number == 24) stat.resident_pages = value;
  }
  return stat;
}

std::optional<uint64_t> BootTimeSeconds() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("btime ")) return std::strtoull(line.c_str() + 6, nullptr, 10);
  }
  return std::nullopt;
}

std::optional<uint64_t> CountDescriptors() {
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return std::nullopt;
  uint64_t count = 0;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] != '.') ++count;
  }
  ::closedir(folder);
  return count - 1;  // Without the folder's own.
}

}  // namespace

void CollectProcess(ops::Exposition& out) {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  out.Family(metric::kProcessCpu);
  out.Sample({}, seconds(usage.ru_utime) + seconds(usage.ru_stime));

  if (const auto stat = ReadProcStat()) {
    const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    out.Family(metric::kProcessResident);
    out.Sample({}, stat->resident_pages * page);
    out.Family(metric::kProcessVirtual);
    out.Sample({}, stat->virtual_bytes);
    out.Family(metric::kProcessThreads);
    out.Sample({}, stat->threads);
    if (const auto boot = BootTimeSeconds()) {
      const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
      out.Family(metric::kProcessStart);
      out.Sample({}, static_cast<double>(*boot) + static_cast<double>(stat->start_ticks) / ticks);
    }
  }
  if (const auto count = CountDescriptors()) {
    out.Family(metric::kProcessOpenFds);
    out.Sample({}, *count);
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    out.Family(metric::kProcessMaxFds);
    out.Sample({}, static_cast<uint64_t>(limit.rlim_cur));
  }
}

}  // namespace catzilla::runtime
