// What a connection has to say leaves here: bytes by sendmsg, files by sendfile, as much as the
// kernel takes and the other connections' turn allows.
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sidecar/loop/socket.h"
#include "sidecar/server/connection.h"

namespace catzilla::server {
namespace {

using stats::CloseReason;

// One connection writes at most this much before the others have their turn.
constexpr uint64_t kWriteBytesPerTurn = 2 * 1024 * 1024;
constexpr int kIovecsMax = 64;

// What sendfile says of the file, not of the socket: a failing disk, a network file system that has
// lost it.
bool IsReadError(int error) { return error == EIO || error == ESTALE || error == ENXIO; }

// Cuts the parts to `bytes_max` in sum; returns how many are left.
int CutTo(uint64_t bytes_max, iovec* parts, int count) {
  for (int i = 0; i < count; ++i) {
    if (parts[i].iov_len >= bytes_max) {
      parts[i].iov_len = bytes_max;
      return i + 1;
    }
    bytes_max -= parts[i].iov_len;
  }
  return count;
}

}  // namespace

void Connection::Flush() {
  if (flushing_ || state_ == State::kClosing || IsPaused()) return;
  flushing_ = true;
  if (IsOver()) CloseAfterOutput(CloseReason::kClient);
  uint64_t left = BytesForThisTurn();
  const uint64_t sent_before = context_.stats.bytes_sent.value();
  while (output_ != nullptr && !output_->empty() && state_ != State::kClosing && left > 0) {
    const uint64_t before = context_.stats.bytes_sent.value();
    const bool goes_on = WriteOnce(left);
    const uint64_t written = context_.stats.bytes_sent.value() - before;
    long_.bytes += written;
    left -= std::min(left, written);
    if (!goes_on) break;
  }
  flushing_ = false;
  if (state_ == State::kClosing) return;
  // A client that takes nothing has its deadline from the last byte that the kernel took, however
  // often something new is tried.
  const bool waits = output_ != nullptr && !output_->empty() && long_.paced_until_us == 0;
  if (!waits) {
    blocked_since_us_ = 0;
  } else if (blocked_since_us_ == 0 || context_.stats.bytes_sent.value() != sent_before) {
    blocked_since_us_ = context_.now().monotonic_us;
  }
  AfterWrite();
}

// An answer with a rate gets a second's worth at once and then what time brings; nothing is left of
// it until `long_.paced_until_us` if this is 0.
uint64_t Connection::BytesForThisTurn() {
  const uint64_t rate = long_.leaving ? exchange_->rate_limit() : 0;
  if (rate == 0) return kWriteBytesPerTurn;
  const auto elapsed_us = static_cast<uint64_t>(context_.now().monotonic_us - long_.since_us);
  const uint64_t earned = rate + static_cast<uint64_t>(static_cast<double>(rate) *
                                                       static_cast<double>(elapsed_us) * 1e-6);
  if (earned > long_.bytes) return std::min(earned - long_.bytes, kWriteBytesPerTurn);
  const double due_us =
      static_cast<double>(long_.bytes - rate + 1) * 1e6 / static_cast<double>(rate);
  long_.paced_until_us = long_.since_us + static_cast<int64_t>(due_us) + 1;
  return 0;
}

bool Connection::IsPaused() const {
  return long_.paced_until_us != 0 || (long_.leaving && exchange_->is_reading());
}

bool Connection::WriteOnce(uint64_t bytes_max) {
  const bool is_file = output_->FrontPiece() != nullptr;
  uint64_t wanted = 0;
  const ssize_t written = is_file ? SendPiece(bytes_max, &wanted) : SendBytes(bytes_max, &wanted);
  if (wanted == 0) return false;
  context_.stats.writes.Add();
  if (written < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    if (errno == EINTR) return true;
    if (is_file && long_.leaving && IsReadError(errno)) {
      exchange_->OnReadError(errno);
      CloseNow(CloseReason::kTruncated);
    } else {
      CloseNow(CloseReason::kWriteError);
    }
    return false;
  }
  if (written == 0 && is_file) {
    // The file became shorter under us: the promised length cannot be kept.
    CloseNow(CloseReason::kTruncated);
    return false;
  }
  context_.stats.bytes_sent.Add(static_cast<uint64_t>(written));
  output_->Consume(static_cast<uint64_t>(written));
  // Less than was offered: the kernel's buffer is full, and it will tell when it is not.
  return static_cast<uint64_t>(written) >= wanted;
}

// Sends from the file that is next. `wanted` stays 0 if nothing was tried: the file must be read
// first, or the connection is closing.
ssize_t Connection::SendPiece(uint64_t bytes_max, uint64_t* wanted) {
  const http::OutputQueue::FilePiece& piece = *output_->FrontPiece();
  const http::SentFile& file = output_->FrontFile();
  const int64_t now_us = context_.now().monotonic_us;
  if (!file.Intact(now_us)) {
    // Rewritten in place since the head was sent: no further byte would belong to it.
    CloseNow(CloseReason::kTruncated);
    return 0;
  }
  uint64_t bytes = std::min(piece.length, bytes_max);
  // What has just been read is sent whatever the kernel has done with it since, so that it ends.
  if (!std::exchange(long_.was_read, false)) {
    const uint64_t cached = file.Cached(piece.offset, bytes, now_us);
    if (cached > 0) {
      bytes = std::min(bytes, cached);
    } else if (long_.leaving && exchange_->ReadAhead(output_->FrontOwner(), piece.offset, bytes)) {
      long_.was_read = true;
      return 0;
    }
  }
  *wanted = bytes;
  off_t offset = static_cast<off_t>(piece.offset);
  return ::sendfile(poll_.fd(), piece.fd, &offset, bytes);
}

ssize_t Connection::SendBytes(uint64_t bytes_max, uint64_t* wanted) {
  iovec parts[kIovecsMax];
  bool more = false;
  int count = output_->Gather(parts, kIovecsMax, &more);
  if (bytes_max < output_->pending_bytes()) count = CutTo(bytes_max, parts, count);
  for (int i = 0; i < count; ++i) *wanted += parts[i].iov_len;
  const int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
  if (count == 1) return loop::Send(poll_.fd(), parts[0].iov_base, parts[0].iov_len, flags);
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = static_cast<size_t>(count);
  return ::sendmsg(poll_.fd(), &message, flags);
}

void Connection::AfterWrite() {
  const bool drained = output_ == nullptr || output_->empty();
  if (drained && output_ != nullptr) context_.outputs.Give(std::move(output_));
  if (long_.leaving) {
    if (drained) {
      FinishExchange();
    } else {
      exchange_->HoldUntilSent();
    }
  }
  if (drained && close_after_output_) {
    BeginLinger();
    return;
  }
  const uint64_t pending = drained ? 0 : output_->pending_bytes();
  if (pending < exchange::kOutputMark / 2) {
    // Room for more of this answer, or for the next request that is already here.
    if (exchange_ != nullptr && exchange_->wants_output()) context_.loop.Defer(*this);
    if (!yielded_ && HasHeldWork() && MayParse()) context_.loop.Defer(*this);
  }
  UpdateWatch();
  ArmDeadline();
}

void Connection::CloseAfterOutput(CloseReason reason) {
  if (state_ == State::kClosing) return;
  close_after_output_ = true;
  close_reason_ = reason;
  held_.clear();
}

bool Connection::CutsBody(CloseReason reason) const {
  if (exchange_ != nullptr) return exchange_->ends_with_connection();
  const bool unsent = output_ != nullptr && !output_->empty();
  return ends_body_ && (unsent || reason == CloseReason::kTruncated);
}

// All is written. A client that may still be sending would meet a reset, which can destroy the
// answer before it is read: so we end our side, and listen a little longer.
void Connection::BeginLinger() {
  // So does one that has asked for more already: what lies unread resets the connection as well.
  const bool may_send = close_reason_ == CloseReason::kBadRequest ||
                        close_reason_ == CloseReason::kUnread || loop::UnreadBytes(poll_.fd()) > 0;
  if (!may_send || peer_ended_ || CutsBody(close_reason_)) {
    CloseNow(close_reason_);
    return;
  }
  ::shutdown(poll_.fd(), SHUT_WR);
  SetState(State::kLingering);
  UpdateWatch();
}

}  // namespace catzilla::server
