// One connection on worker.sock: until its HELLO has been judged, and for good if it is a control
// one.
//
//   kHello --lane--> kGone (the descriptor lives on in a Channel)
//      |  \--control--> kControl --GOAWAY--> kControl, draining --peer closes--> kGone
//       \--refused, late--> kGone
//
// Threads: the loop's. Owns: the descriptor until it is handed over.
// Limits:  one HELLO of kHelloPayloadMax; small frames after; output of kOutputMax, past it the
//          worker does not read and is let go.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "sidecar/loop/poll.h"
#include "sidecar/worker/acceptor.h"

namespace catzilla::worker {

class Greeting final : private loop::Poll::Handler {
 public:
  Greeting(Acceptor& acceptor, loop::Loop& loop, Registry& registry);

  [[nodiscard]] bool Open(int fd, int64_t due_us);
  bool Matches(const ControlMessage& message) const;
  void Goaway(GoawayCode code);
  // If it is meant. A worker that has not answered the last one is not asked again: it owes that.
  void AskForStacks(const std::shared_ptr<StackDump>& dump);
  void Tick();  // The deadline of HELLO; PING.
  void Refuse(const Pool::Refusal& refusal);
  bool silent() const { return state_ == State::kHello; }  // Has not said HELLO, all of it.
  bool Speaks();  // Looks at what has come: whether it is silent no more.
  void Drop();    // Without a word, for it was silent.

 private:
  enum class State : uint8_t { kHello, kControl, kGone };
  static constexpr size_t kOutputMax = 64 * 1024;

  void OnReady(unsigned ready) override;
  void OnClosed() override;
  void Read();
  void OnFrame(const FrameView& frame);
  void OnHello(const FrameView& frame);
  void OnControlFrame(const FrameView& frame);
  bool Agree(const Hello& hello, Pool::Refusal* refusal);
  void HandOver(const Hello& hello, base::Ref<Worker> worker);
  std::string Ack(const Hello& hello, const Worker& worker, uint32_t lane_id, int loop) const;
  void Append(FrameType type, uint32_t aux, std::string_view payload);
  void Flush();
  void Close(bool clean);
  WorkerEvent Event(WorkerEvent::Kind kind, std::string detail) const;

  Acceptor& acceptor_;
  loop::Loop& loop_;
  Registry& registry_;
  loop::Poll poll_;
  FrameReader reader_;
  State state_ = State::kHello;
  int64_t due_us_ = 0;
  std::shared_ptr<Pool> pool_;
  base::Ref<Worker> worker_;
  std::string out_;
  bool ping_open_ = false;
  bool left_ = false;  // GOAWAY has been said by one side.

  // DUMP: the question that the worker owes an answer to, and who waits for it.
  uint32_t dump_asked_ = 0;
  bool dump_open_ = false;
  std::shared_ptr<StackDump> dump_;
  size_t dump_number_ = 0;
};

}  // namespace catzilla::worker
