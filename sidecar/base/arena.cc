#include "sidecar/base/arena.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "sidecar/base/check.h"

#if !defined(CATZILLA_SANITIZED)
#include <jemalloc/jemalloc.h>
#endif

namespace catzilla::base {

const char* ArenaName(ArenaId id) {
  static constexpr const char* kNames[kArenaCount] = {"request", "cache", "files", "tasks"};
  return kNames[static_cast<int>(id)];
}

#if defined(CATZILLA_SANITIZED)

namespace {
std::atomic<uint64_t> g_allocated[kArenaCount];
}  // namespace

void Arenas::Create() {}

void* Arenas::Allocate(ArenaId id, size_t bytes) {
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory != nullptr) g_allocated[static_cast<int>(id)].fetch_add(bytes);
  return memory;
}

void Arenas::Free(ArenaId id, void* memory, size_t bytes) {
  if (memory == nullptr) return;
  g_allocated[static_cast<int>(id)].fetch_sub(bytes);
  std::free(memory);
}

size_t Arenas::UsableSize(size_t bytes) { return bytes == 0 ? 1 : bytes; }

ArenaUsage Arenas::Usage(ArenaId id) {
  const uint64_t bytes = g_allocated[static_cast<int>(id)].load();
  return {bytes, bytes};
}

ArenaUsage Arenas::ProcessUsage() {
  ArenaUsage usage;
  for (int i = 0; i < kArenaCount; ++i) {
    usage.allocated_bytes += g_allocated[i].load();
  }
  usage.resident_bytes = usage.allocated_bytes;
  return usage;
}

uint64_t Arenas::Allocations() { return 0; }

#else

namespace {

// jemalloc's index of each of our arenas, created once. Automatic arenas serve everything else.
class ArenaTable {
 public:
  ArenaTable() {
    for (unsigned& index : indices_) {
      size_t size = sizeof(index);
      const int error = mallctl("arenas.create", &index, &size, nullptr, 0);
      CATZILLA_CHECK(error == 0, "jemalloc made no arena");
    }
  }
  unsigned index(ArenaId id) const { return indices_[static_cast<int>(id)]; }

 private:
  unsigned indices_[kArenaCount] = {};
};

const ArenaTable& Table() {
  static const ArenaTable table;
  return table;
}

size_t ReadStat(unsigned arena, const char* what) {
  char name[64];
  std::snprintf(name, sizeof(name), "stats.arenas.%u.%s", arena, what);
  size_t value = 0;
  size_t size = sizeof(value);
  if (mallctl(name, &value, &size, nullptr, 0) != 0) return 0;
  return value;
}

void RefreshStats() {
  uint64_t epoch = 1;
  size_t size = sizeof(epoch);
  mallctl("epoch", &epoch, &size, &epoch, size);
}

size_t ReadGlobal(const char* name) {
  size_t value = 0;
  size_t size = sizeof(value);
  if (mallctl(name, &value, &size, nullptr, 0) != 0) return 0;
  return value;
}

}  // namespace

void Arenas::Create() { (void)Table(); }

void* Arenas::Allocate(ArenaId id, size_t bytes) {
  // The thread's cache is bypassed: these are few, large and long-lived, and what is freed should
  // count as free at once.
  return mallocx(bytes == 0 ? 1 : bytes, MALLOCX_ARENA(Table().index(id)) | MALLOCX_TCACHE_NONE);
}

void Arenas::Free(ArenaId, void* memory, size_t bytes) {
  if (memory == nullptr) return;
  sdallocx(memory, bytes == 0 ? 1 : bytes, MALLOCX_TCACHE_NONE);
}

size_t Arenas::UsableSize(size_t bytes) { return nallocx(bytes == 0 ? 1 : bytes, 0); }

ArenaUsage Arenas::Usage(ArenaId id) {
  RefreshStats();
  const unsigned arena = Table().index(id);
  return {ReadStat(arena, "small.allocated") + ReadStat(arena, "large.allocated"),
          ReadStat(arena, "resident")};
}

ArenaUsage Arenas::ProcessUsage() {
  RefreshStats();
  return {ReadGlobal("stats.allocated"), ReadGlobal("stats.resident")};
}

uint64_t Arenas::Allocations() {
  RefreshStats();
  return ReadStat(MALLCTL_ARENAS_ALL, "small.nrequests") +
         ReadStat(MALLCTL_ARENAS_ALL, "large.nrequests");
}

#endif

}  // namespace catzilla::base
