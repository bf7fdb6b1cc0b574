// Leaving never waits for what hangs: a file system that has gone, a log that nobody reads, a peer
// of the control plane.
//
// Threads: any; EndProcessAfter() makes one of its own, which nobody joins. Fails: never.
#pragma once

#include <cstdint>

namespace catzilla::runtime {

// Ends the process with kEndedByForce unless AllHasEnded() is called within `wait_us`.
void EndProcessAfter(int64_t wait_us);
// Only main's return is left, which waits for nobody.
void AllHasEnded();

inline constexpr int kEndedByForce = 1;

}  // namespace catzilla::runtime
