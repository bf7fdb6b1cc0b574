// A look at a mount's root. It may lie on a file system that does not answer, and whoever changes
// the configuration keeps all others from changing it: nobody waits for that for long.
//
// Threads: any.
// Owns:    a thread for each root that is looked at; nobody can end one that hangs in the kernel.
// Limits:  one thread for each root, kRootLooksMax in all; kRootLookUs from a look's beginning.
// Fails:   with ETIMEDOUT: the root does not answer, or too many others do not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace catzilla::schema {

inline constexpr int64_t kRootLookUs = 2'000'000;
inline constexpr size_t kRootLooksMax = 32;

struct RootLook {
  int stat_error = 0;
  bool is_directory = false;
  int access_error = 0;  // Of reading and searching it.
};

RootLook LookAtRoot(const std::string& root);

}  // namespace catzilla::schema
