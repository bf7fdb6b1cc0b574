// Descriptors are a budget: a flood of clients must never hide the sidecar from those who look
// after it (the control plane, metrics, health, its own workers).
//
// Threads: any; reads RLIMIT_NOFILE. Fails: never; without a limit to be read 1,024 is assumed.
#pragma once

#include <cstdint>

namespace catzilla::runtime {

// How many files may be kept open between requests.
uint32_t FileDescriptors();

// How many files that apps have opened may be on their way to clients at once.
uint32_t PassedDescriptors();

// How many clients may be connected, whatever limits.max_connections says: what descriptors leave
// beside a reserve of 192 and both kinds of files. Of few descriptors, half.
uint32_t ConnectionBudget();

// Says so in the log when `wanted`, a limits.max_connections, is more than that.
void WarnOfBudget(uint32_t wanted);

}  // namespace catzilla::runtime
