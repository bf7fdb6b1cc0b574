#include "sidecar/files/read_ahead.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <utility>

#include "sidecar/http/output_queue.h"

namespace catzilla::files {
namespace {

constexpr off_t kReadAheadBytes = 4 << 20;

const http::SentFile& Sent(const base::Ref<base::Owner>& file) {
  return static_cast<const http::SentFile&>(*file);
}

void Read(int fd, FileSpan span) {
  // The kernel goes on with what comes next while the first of it is being sent.
  (void)posix_fadvise(fd, static_cast<off_t>(span.offset), kReadAheadBytes, POSIX_FADV_WILLNEED);
  char buffer[16 * 1024];
  for (uint64_t done = 0; done < span.bytes;) {
    const ssize_t n = pread(fd, buffer, sizeof(buffer), static_cast<off_t>(span.offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;  // Whoever sends it will meet the same, and knows what to do.
    done += static_cast<uint64_t>(n);
  }
}

}  // namespace

base::Executor::Posted PostReadAhead(base::Executor& executor,
                                     const base::Ref<base::Executor::Group>& group,
                                     const base::Ref<base::Owner>& file, FileSpan span,
                                     const Waiter& waiter, std::function<void()> late) {
  const auto told = std::make_shared<std::atomic<bool>>(false);
  const auto tell = [waiter, told] {
    if (!told->exchange(true)) waiter.sink->OnOpened(waiter.ticket, {});
  };
  const auto give_up = [file, tell, late = std::move(late)] {
    if (late) late();
    Sent(file).GiveUp();
    tell();
  };
  const base::Executor::Posted posted = executor.TryPost(
      group,
      [file, span, tell] {
        Read(Sent(file).fd(), span);
        tell();
      },
      give_up);
  // To read it on the loop would hang all of the loop's clients.
  if (posted == base::Executor::Posted::kSick) give_up();
  return posted;
}

}  // namespace catzilla::files
