// Random bytes from the kernel, for what nobody may guess: tokens, boundaries.
//
// Threads: any. Limits: none of its own; a call is a system call.
// Fails:   never: without randomness the process ends, for a guessable secret is worse.
#pragma once

#include <cstddef>

namespace catzilla::base {

void FillRandom(void* bytes, size_t size);

}  // namespace catzilla::base
