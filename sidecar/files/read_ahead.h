// Reading what will be sent next into the page cache, off the loop.
//
// Threads: any loop; the work is the executor's.
// Fails:   kFull: nobody can now, and nobody is told. A read that hangs ends the file: it is not
//          Intact() any more, and the waiter is told.
#pragma once

#include <cstdint>
#include <functional>

#include "sidecar/base/executor.h"
#include "sidecar/base/ref.h"
#include "sidecar/files/mount.h"

namespace catzilla::files {

struct FileSpan {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// `late` (may be null) is called once if it hangs. REQUIRES: `file` is an http::SentFile.
[[nodiscard]] base::Executor::Posted PostReadAhead(base::Executor& executor,
                                                   const base::Ref<base::Executor::Group>& group,
                                                   const base::Ref<base::Owner>& file,
                                                   FileSpan span, const Waiter& waiter,
                                                   std::function<void()> late);

}  // namespace catzilla::files
