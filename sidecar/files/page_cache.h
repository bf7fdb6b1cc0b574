// Whether the kernel has a file's bytes in memory.
//
// Threads: any. Owns: nothing.
#pragma once

#include <cstdint>

namespace catzilla::files {

// How many of `bytes` from `offset` on are in the page cache, so that sending them waits for no
// disk. Looks at one byte of every kProbeBytes, which is no more than the kernel reads at once. A
// file system that cannot tell gets the benefit of the doubt; so does what lies past the end.
uint64_t CachedBytes(int fd, uint64_t offset, uint64_t bytes);

inline constexpr uint64_t kProbeBytes = 128 * 1024;

}  // namespace catzilla::files
