// One client connection: reads requests, lets exchanges answer them, writes the answers.
//
//   kIdle --first byte--> kHead --head complete--> kExchange --answered--> kIdle
//     \___________________/ \__________________________/
//              any --Close(), error, timeout--> kClosing --OnClosed()--> given back
//   kExchange --answered, must close, client still sends--> kLingering --> kClosing
//
// FIN is not "gone": a client that has ended its side still gets everything it has asked for in
// full. Only what an app has yet to answer is given up then, as under uvicorn.
//
// Threads: its loop's.
// Owns:    the socket, the exchange while one is under way, what is to be written. An idle one has
//          neither buffer, exchange nor output queue.
// Limits:  reads at most ReadBuffer::kBytes a turn and nothing while a request is under way; output
//          as kOutputMark; times and sizes as config::Limits.
// Fails:   by closing, with the reason counted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/exchange/client.h"
#include "sidecar/exchange/context.h"
#include "sidecar/exchange/exchange.h"
#include "sidecar/http/request_parser.h"
#include "sidecar/loop/poll.h"
#include "sidecar/loop/timer.h"
#include "sidecar/server/client_counts.h"
#include "sidecar/server/read_buffer.h"

namespace catzilla::server {

class Connection;
struct ConnectionTag;

// An answer that leaves in turns of its own: the exchange is over when it has left.
struct LongAnswer {
  bool leaving = false;
  bool was_read = false;  // Off the loop, from the disk: what is next.
  int64_t since_us = 0;
  uint64_t bytes = 0;          // That have left.
  int64_t paced_until_us = 0;  // Its rate is used up until then; 0: it is not.
};

// What the connections of a loop share; implemented by LoopServer.
class ConnectionHost {
 public:
  virtual exchange::Context& context() = 0;
  // The loop's one buffer for reads: whoever reads has it for as long as its lease.
  virtual ReadBuffer& read_buffer() = 0;
  virtual void OnConnectionClosed(Connection& connection) = 0;  // May destroy it.
  // One more connection of `client`, whom the peer or its PROXY header has named.
  virtual ClientPlace TakeClientPlace(const config::Listener& listener,
                                      const loop::PeerAddress& client) = 0;

 protected:
  ~ConnectionHost() = default;
};

class Connection final : public base::ListNode<ConnectionTag>,
                         private loop::Poll::Handler,
                         private loop::Deadline,
                         private loop::Deferred,
                         private exchange::Client {
 public:
  Connection(ConnectionHost& host, std::shared_ptr<const config::Listener> listener,
             const loop::PeerAddress& peer, ClientPlace place);
  ~Connection() override;

  // Takes `fd`. False: it could not be watched and is closed; destroy the connection.
  [[nodiscard]] bool Open(int fd);
  // Idle ones close at once; the others after the answer under way.
  void Drain();
  // Whatever it is doing.
  void CloseNow(stats::CloseReason reason);
  void LeaveList() { base::ListNode<ConnectionTag>::Unlink(); }
  ClientPlace client_place() const { return place_; }
  // Under whose address it is counted, if it is.
  const loop::PeerAddress& client() const { return facts_.peer; }

 private:
  enum class State : uint8_t { kProxyHeader, kIdle, kHead, kExchange, kLingering, kClosing };

  // Poll::Handler, Deadline, Deferred
  void OnReady(unsigned ready) override;
  void OnClosed() override;
  void OnDeadline() override;
  void RunDeferred() override;
  // exchange::Client
  http::OutputQueue& output() override;
  const exchange::ClientFacts& facts() const override { return facts_; }
  void WakeExchange() override { context_.loop.Defer(*this); }
  void SetBodyReading(bool wanted) override;

  const config::Limits& limits() { return *limits_; }

  // Reading...
  void Read();
  void OnPeerEnd();
  void OnHangup();
  void Process(std::string_view input);
  bool ProcessStep(std::string_view* input);
  bool TakeBody(std::string_view bytes);
  bool TakeProxyHeader(std::string_view* input);
  void StartExchange();
  void Refuse(uint16_t status);
  void WriteRefusal(uint16_t status);
  bool MayParse() const;
  // Whether something that was held back can be parsed without another byte from the client.
  bool HasHeldWork() const {
    return (!held_.empty() && !starved_) || (parser_.at_end() && !is_upgraded());
  }
  bool is_upgraded() const { return exchange_ != nullptr && exchange_->is_upgraded(); }
  // The client has ended its side, and all it asked for has been dealt with.
  bool IsOver() const { return peer_ended_ && exchange_ == nullptr && !HasHeldWork(); }
  // Answering...
  void RunExchange();
  void FinishExchange();
  void GiveUpExchange();
  // Writing... (connection_write.cc)
  void Flush();
  // At most `bytes_max`. False: the kernel takes no more for now, the file must be read first, or
  // the connection is closing.
  bool WriteOnce(uint64_t bytes_max);
  // Each tries one system call and sets `wanted` to what it offered.
  ssize_t SendPiece(uint64_t bytes_max, uint64_t* wanted);
  ssize_t SendBytes(uint64_t bytes_max, uint64_t* wanted);
  uint64_t BytesForThisTurn();
  bool IsPaused() const;
  void AfterWrite();
  void CloseAfterOutput(stats::CloseReason reason);
  // Whether closing now would make a body look whole that is not: the client must see a reset.
  bool CutsBody(stats::CloseReason reason) const;
  void BeginLinger();
  // Waiting... (connection_wait.cc)
  bool IsReading() const;
  void UpdateWatch();
  void ArmDeadline();
  void SetState(State state);

  ConnectionHost& host_;
  exchange::Context& context_;  // The host's; asked for often.
  const std::shared_ptr<const config::Listener> listener_;
  std::shared_ptr<const config::Limits> limits_;
  ClientPlace place_;
  exchange::ClientFacts facts_;
  std::string peer_text_;
  loop::Poll poll_;
  http::RequestParser parser_;
  std::unique_ptr<http::HeadBuffer> head_buffer_;
  exchange::Exchange* exchange_ = nullptr;
  std::unique_ptr<http::OutputQueue> output_;
  std::string held_;  // Read, but not yet parsed: the client was faster than the answer.
  State state_ = State::kIdle;
  stats::CloseReason close_reason_ = stats::CloseReason::kClient;
  bool close_after_output_ = false;
  bool body_wanted_ = true;
  bool peer_ended_ = false;   // Its FIN has been read.
  bool hangup_told_ = false;  // The kernel has told of it; what came before may still be unread.
  bool unread_told_ = false;  // Bytes have come that are not read now.
  bool ends_body_ = false;    // An answer that has left for the output ends with the connection.
  bool starved_ = false;      // What is held is less than one step takes: only new bytes help.
  bool flushing_ = false;
  bool yielded_ = false;  // Held bytes wait for the next turn.
  uint32_t requests_ = 0;
  int64_t state_since_us_ = 0;
  uint64_t body_bytes_ = 0;
  int64_t body_waited_us_ = 0;    // Of its time: not the client's turn...
  int64_t waits_since_us_ = 0;    // ...and is not since then; 0: it is.
  uint64_t body_limit_ = 0;       // As the parser was told.
  int64_t blocked_since_us_ = 0;  // The kernel has taken nothing since then; 0: nothing waits.
  LongAnswer long_;
};

}  // namespace catzilla::server
