// One lane: a connection to a worker process, on the loop that owns it for life.
//
//   kOpen --GOAWAY, either side--> kDraining --last stream ended, peer closes--> kClosed
//      \--lost, protocol error, drain timeout--------------------------------/
//
// Threads: the loop's.
// Owns:    its descriptor, buffers, and the table of its streams (the Calls belong to the
//          dispatcher).
// Limits:  what is buffered to be written is at most the worker's windows, the heads of its
//          credits, and small frames; what the worker may send is our windows, checked. The table
//          has kStreamsMax places. kPassedMax descriptors that no SENDFILE has taken yet.
// Fails:   a peer that breaks the contract gets GOAWAY with a sentence, and the lane is lost: each
//          of its streams is sent again or failed by the dispatcher.
//
// Everything queued within a turn leaves in one write at its end.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/ref.h"
#include "sidecar/base/unique_fd.h"
#include "sidecar/loop/loop.h"
#include "sidecar/loop/poll.h"
#include "sidecar/worker/call.h"
#include "sidecar/worker/frame.h"
#include "sidecar/worker/pool.h"

namespace catzilla::worker {

class Dispatcher;

// What HELLO has settled.
struct LaneSetup {
  LaneSetup() = default;
  ~LaneSetup();  // Closes the descriptor if nobody took it.
  LaneSetup(const LaneSetup&) = delete;
  LaneSetup& operator=(const LaneSetup&) = delete;

  int fd = -1;
  uint32_t lane_id = 0;
  FrameLimits limits;
  uint32_t stream_window = 0;      // Answer bytes we take per stream...
  uint32_t connection_window = 0;  // ...and on the lane.
  std::string hello_ack;           // The whole frame, the first to be sent.
};

class Channel final : private loop::Poll::Handler, private loop::Deferred {
 public:
  Channel(Dispatcher& dispatcher, std::shared_ptr<Pool> pool, base::Ref<Worker> worker,
          LaneSetup& setup);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // False: the descriptor cannot be watched.
  [[nodiscard]] bool Open();

  Pool& pool() const { return *pool_; }
  Worker& worker() const { return *worker_; }
  bool usable() const {
    return state_ == State::kOpen && live_ < kStreamsMax / 2 && worker_->usable();
  }
  bool closed() const { return state_ >= State::kClosing; }
  // Whether it has a place for one more WebSocket: the rest of the table is for requests.
  bool takes_sockets() const { return worker_->takes_sockets && sockets_ < kSocketsMax; }

  // Puts the call on a new stream. REQUIRES: a credit of the worker has been taken for it.
  void Send(Call& call);
  size_t BodyRoom(const Call& call) const;
  void SendBody(Call& call, std::string_view bytes, bool last);
  void Consumed(Call& call, size_t bytes);
  void Cancel(Call& call, CancelCode code);
  void SendMessage(Call& call, uint32_t kind, std::string_view bytes, bool last);
  void SendClose(Call& call, uint16_t code, std::string_view reason);

  // No new streams; closes when the last has ended, or at `due_us`.
  void Goaway(GoawayCode code, int64_t due_us);
  void Tick(int64_t now_us, int64_t ping_interval_us);  // PING, drain deadline.
  // Loses the lane now, with a GOAWAY if there is a reason to give.
  void Close(GoawayCode code, std::string_view sentence);

 private:
  enum class State : uint8_t { kOpen, kDraining, kClosing, kClosed };
  // Half of the places may be in use: as many as there are connections by default, so that streams
  // that stay open always leave one for others. What they have read and not given back, less than
  // half a window of 256 KiB each, never fills the lane's window of 2^31-1.
  static constexpr size_t kStreamsMax = 32768;
  static constexpr size_t kSocketsMax = 6144;
  static constexpr size_t kStreamsAtFirst = 64;
  static constexpr int kReadsPerTurn = 4;
  static constexpr uint32_t kPongsHeldMax = 1024;
  static constexpr size_t kPassedMax = 16;
  static constexpr size_t kOutputKept = 64 * 1024;  // A larger buffer is given back once empty.

  void OnReady(unsigned ready) override;
  void OnClosed() override;
  void RunDeferred() override;

  void Read();
  // One read, with the descriptors that came along, which are kept for their frames.
  ssize_t Receive(char* space, size_t room);
  void Flush();
  void ProcessFrames();
  void OnFrame(const FrameView& frame);
  void OnStreamFrame(const FrameView& frame, Call& call);
  void OnResponse(const FrameView& frame, Call& call);
  void OnInformational(const FrameView& frame, Call& call);
  void OnAccept(const FrameView& frame, Call& call);
  void OnMessage(const FrameView& frame, Call& call);
  void OnClose(const FrameView& frame, Call& call);
  // Takes `bytes` from the windows of what we receive. False: they have no room for it.
  bool TakeWindow(Call& call, uint32_t bytes);
  void WarnSockets(GoawayCode code);
  void OnResponseData(const FrameView& frame, Call& call);
  void OnTrailers(const FrameView& frame, Call& call);
  void OnSendfile(const FrameView& frame, Call& call);
  void OnWindow(const FrameHeader& header);
  void OnCredit(const FrameHeader& header);
  void OnGoaway(const FrameView& frame);
  // The worker's END: the stream is closed, the credit returned unless it is detached.
  void OnWorkerEnd(Call& call, EndCode code, std::string_view sentence);
  void AnswerUnusable(Call& call, std::string_view cause);
  void ProtocolError(const char* sentence, GoawayCode code = GoawayCode::kProtocol);

  Call* Find(uint32_t stream) const;
  uint32_t NextStream();
  void GrowTable();
  // Its answer has begun, or will never be made: it holds up nobody else any more. Idempotent.
  void ReturnCredit(Call& call);
  void Forget(Call& call);      // Out of the table; nothing else.
  void ReturnHeld(Call& call);  // Its window bytes go back to the lane's.
  void ReturnToLane(uint32_t bytes);
  void Append(FrameType type, uint8_t flags, uint32_t stream, uint32_t aux,
              std::string_view payload = {});
  void WantFlush();
  // The descriptor goes; the streams are handed to the dispatcher.
  void Lose(std::string_view cause, bool clean);
  bool drained() const { return state_ == State::kDraining && live_ == 0 && out_.empty(); }
  void RefuseFrom(uint32_t last_stream);

  Dispatcher& dispatcher_;
  const std::shared_ptr<Pool> pool_;
  const base::Ref<Worker> worker_;
  const FrameLimits limits_;
  const uint32_t stream_window_;
  const uint32_t connection_window_;
  int fd_;  // Until Open().
  loop::Poll poll_;
  FrameReader reader_;
  State state_ = State::kOpen;
  std::deque<base::UniqueFd> passed_;  // In the order of their SENDFILE frames; empty: was lost.
  std::string out_;
  size_t out_sent_ = 0;
  std::vector<Call*> streams_;  // By stream id modulo its size, a power of two.
  size_t live_ = 0;
  size_t sockets_ = 0;  // Of them.
  uint32_t last_stream_ = 0;
  uint64_t send_window_;     // Request bytes the lane still takes.
  uint32_t receive_window_;  // Answer bytes the worker may still send.
  uint32_t unreturned_ = 0;  // To be given back with WINDOW(0).
  uint32_t pongs_held_ = 0;  // Since everything had been written for the last time.
  bool ping_open_ = false;
  int64_t ping_due_us_ = 0;
  int64_t drain_due_us_ = 0;
  bool peer_left_ = false;  // GOAWAY came: we close when the last stream has ended.
};

}  // namespace catzilla::worker
