// What the kernel says about this process, under the names that every Prometheus client uses.
//
// Threads: any. Fails: never; what /proc does not tell is left out.
#pragma once

#include "sidecar/ops/exposition.h"

namespace catzilla::runtime {

void CollectProcess(ops::Exposition& out);

}  // namespace catzilla::runtime
