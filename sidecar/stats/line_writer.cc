#include "sidecar/stats/line_writer.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sidecar/base/clock.h"

namespace catzilla::stats {
namespace {

constexpr int kLookMs = 50;  // How often the impatience is looked at.

// So that a piece that could not be finished costs as few lines as can be.
size_t PieceOf(std::string_view lines) {
  if (lines.size() <= LineWriter::kPieceBytes) return lines.size();
  const size_t end = lines.rfind('\n', LineWriter::kPieceBytes - 1);
  return end == std::string_view::npos ? LineWriter::kPieceBytes : end + 1;
}

}  // namespace

bool LineWriter::WaitForRoom(int64_t wait_us, const std::atomic<bool>* impatient) const {
  const int64_t until_us = base::ReadClockMicros(CLOCK_MONOTONIC) + wait_us;
  for (;;) {
    pollfd waiting{fd_, POLLOUT, 0};
    if (::poll(&waiting, 1, wait_us == 0 ? 0 : kLookMs) > 0)
      return true;  // Or an error: write() tells.
    if (impatient != nullptr && impatient->load()) return false;
    if (base::ReadClockMicros(CLOCK_MONOTONIC) >= until_us) return false;
  }
}

size_t LineWriter::Write(std::string_view lines, int64_t wait_us,
                         const std::atomic<bool>* impatient) {
  const size_t size = lines.size();
  while (!lines.empty() && WaitForRoom(wait_us, impatient)) {
    // What was begun and dropped stays as it is; what follows is readable again.
    const std::string_view piece = broken_ ? "\n" : lines.substr(0, PieceOf(lines));
    const ssize_t written = ::write(fd_, piece.data(), piece.size());
    if (written > 0) {
      torn_ = piece[static_cast<size_t>(written) - 1] != '\n';
      if (!std::exchange(broken_, false)) lines.remove_prefix(static_cast<size_t>(written));
      continue;
    }
    if (written < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) continue;
    Drop(lines);
    return size;
  }
  return size - lines.size();
}

void LineWriter::Drop(std::string_view lines) {
  broken_ = torn_;
  lost_ += static_cast<uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
}

}  // namespace catzilla::stats
