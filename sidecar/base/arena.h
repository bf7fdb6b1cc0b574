// Memory by purpose: one jemalloc arena each for requests, cache, files and tasks, so that
// `catzillactl memory` can say who holds what, and a full cache never fragments the requests.
//
// Threads: any. Owns: nothing; what Allocate() gives, Free() takes, with the same arena and size.
// Limits:  none of its own; the callers' budgets are the limit.
// Fails:   Allocate() returns null when the system has no memory.
// Under sanitizers every arena is plain malloc (mallocx memory is not poisoned there).
#pragma once

#include <cstddef>
#include <cstdint>

namespace catzilla::base {

enum class ArenaId : uint8_t { kRequest, kCache, kFiles, kTasks };
inline constexpr int kArenaCount = 4;
const char* ArenaName(ArenaId id);

struct ArenaUsage {
  uint64_t allocated_bytes = 0;  // What we asked for, rounded up to size classes.
  uint64_t resident_bytes = 0;   // What the kernel gave for it.
};

class Arenas {
 public:
  // The process has one set of arenas, made by Create() or on first use; jemalloc itself is
  // process-wide. Create() while there is memory: afterwards nothing can fail but Allocate().
  static void Create();
  [[nodiscard]] static void* Allocate(ArenaId id, size_t bytes);
  static void Free(ArenaId id, void* memory, size_t bytes);
  // How many bytes Allocate(bytes) really takes.
  static size_t UsableSize(size_t bytes);

  static ArenaUsage Usage(ArenaId id);
  static ArenaUsage ProcessUsage();  // All arenas, the automatic ones too.
  // How often any thread has asked the heap for memory; 0 in builds without jemalloc.
  static uint64_t Allocations();
};

}  // namespace catzilla::base
