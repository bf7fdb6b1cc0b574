// Descriptors are a budget: a flood of clients must never hide the sidecar from those who look
// after it (the control plane, metrics, health, its own workers).
//
// Threads: any; reads RLIMIT_NOFILE. Fails: never; without a limit to be read 1,024 is assumed.
#pragma once

#include <cstdint>

namespace catzilla::runtime {

// How many files may be kept open between requests.
uint32_t FileDescriptors();

// How many clients may be connected: `wanted` (limits.max_connections) or what descriptors leave,
// which the log then says. Below 2 * (kReserve + FileDescriptors()) it is half of them.
uint32_t ConnectionBudget(uint32_t wanted);

}  // namespace catzilla::runtime
