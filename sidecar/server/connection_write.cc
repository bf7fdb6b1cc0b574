// What a connection has to say leaves here: bytes by sendmsg, files by sendfile, as much as the
// kernel takes and the other connections' turn allows.
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sidecar/server/connection.h"

namespace catzilla::server {
namespace {

using stats::CloseReason;

// One connection writes at most this much before the others have their turn.
constexpr uint64_t kWriteBytesPerTurn = 1024 * 1024;
constexpr int kIovecsMax = 64;

}  // namespace

void Connection::Flush() {
  if (flushing_ || state_ == State::kClosing) return;
  flushing_ = true;
  const uint64_t stop_at = context().stats.bytes_sent.value() + kWriteBytesPerTurn;
  while (output_ != nullptr && !output_->empty() && state_ != State::kClosing) {
    if (!WriteOnce()) break;
    if (context().stats.bytes_sent.value() >= stop_at) break;
  }
  flushing_ = false;
  if (state_ == State::kClosing) return;
  AfterWrite();
}

bool Connection::WriteOnce() {
  ssize_t written = 0;
  if (const http::OutputQueue::FilePiece* file = output_->FrontFile(); file != nullptr) {
    if (!output_->FrontFileIntact()) {
      // Rewritten in place since the head was sent: no further byte would belong to it.
      CloseNow(CloseReason::kTruncated);
      return false;
    }
    off_t offset = static_cast<off_t>(file->offset);
    const size_t wanted = std::min<uint64_t>(file->length, kWriteBytesPerTurn);
    written = ::sendfile(poll_.fd(), file->fd, &offset, wanted);
    if (written == 0) {
      // The file became shorter under us: the promised length cannot be kept.
      CloseNow(CloseReason::kTruncated);
      return false;
    }
  } else {
    iovec parts[kIovecsMax];
    bool more = false;
    const int count = output_->Gather(parts, kIovecsMax, &more);
    const int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    if (count == 1) {
      written = ::send(poll_.fd(), parts[0].iov_base, parts[0].iov_len, flags);
    } else {
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = static_cast<size_t>(count);
      written = ::sendmsg(poll_.fd(), &message, flags);
    }
  }
  context().stats.writes.Add();
  if (written < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    if (errno == EINTR) return true;
    CloseNow(CloseReason::kWriteError);
    return false;
  }
  context().stats.bytes_sent.Add(static_cast<uint64_t>(written));
  output_->Consume(static_cast<uint64_t>(written));
  return true;
}

void Connection::AfterWrite() {
  const bool drained = output_ == nullptr || output_->empty();
  if (drained && output_ != nullptr) context().outputs.Give(std::move(output_));
  if (answer_leaving_) {
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
    if (exchange_ != nullptr && exchange_->wants_output()) context().loop.Defer(*this);
    if (!yielded_ && (!held_.empty() || parser_.at_end()) && MayParse()) {
      context().loop.Defer(*this);
    }
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

// All is written. A client that may still be sending would meet a reset, which can destroy the
// answer before it is read: so we end our side, and listen a little longer.
void Connection::BeginLinger() {
  const bool may_send =
      close_reason_ == CloseReason::kBadRequest || close_reason_ == CloseReason::kUnread;
  if (!may_send || peer_gone_) {
    CloseNow(close_reason_);
    return;
  }
  ::shutdown(poll_.fd(), SHUT_WR);
  SetState(State::kLingering);
  UpdateWatch();
}

}  // namespace catzilla::server
