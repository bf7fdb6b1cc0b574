// The way of a WebSocket: the handshake, then messages in both directions, then the closing
// handshake.
//
//   kAsking --OnAccept--> kOpen --a Close of ours--> kClosing --the client's, or late--> kOver
//      |                     |\--it breaks the rules--> kFailing --a Close of ours--> kOver
//      |                     \--the client's Close, answered; it is gone--> kOver
//      \--OnResponse--> kDenied (an answer like any other) --OnEnd--> answered
//
// Before it leaves (drain, newer code) a socket ends by a Close of ours: once nothing has moved for
// kQuietUs and no message is half sent or half received, at the latest when half of the time is
// over. What the client has sent before it answers our Close still reaches the app.
//
// Who breaks the rules just after a message may still get the app's answer to that: kAnswerUs.
//
// Threads: the loop's.
// Owns:    the call, the decoder with what it inflates by, one deadline. The loop's deflater is
//          borrowed for a piece.
// Limits:  websockets.* of the configuration at its handshake; towards the app as the call's
//          window, and nothing is read meanwhile; towards the client as Responder::Room(), and the
//          app's window stays taken meanwhile.
// Fails:   before it is accepted as a call does; after it with a Close that says why.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "sidecar/config/snapshot.h"
#include "sidecar/exchange/next.h"
#include "sidecar/loop/timer.h"
#include "sidecar/origin/socket.h"
#include "sidecar/websocket/extensions.h"
#include "sidecar/websocket/message_decoder.h"

namespace catzilla::exchange {

class Exchange;

class UpgradeWay final : public origin::SocketObserver, private loop::Deadline {
 public:
  explicit UpgradeWay(Exchange& exchange) : exchange_(exchange) {}
  ~UpgradeWay() override;
  UpgradeWay(const UpgradeWay&) = delete;
  UpgradeWay& operator=(const UpgradeWay&) = delete;

  Next Step();
  // The answer is not wanted any more, or the client has gone. Idempotent.
  void Cancel(origin::CancelCode code);

  // What the client sends is ours: the handshake has been accepted.
  bool upgraded() const { return state_ >= State::kOpen; }
  // Takes of the client's bytes what the app has room for. Returns how many.
  size_t OnBytes(std::string_view input);
  // The sidecar is leaving.
  void OnDrain();
  // The client broke the rules, and may still be sending.
  bool refused_client() const { return refused_client_; }

 private:
  enum class State : uint8_t { kAsking, kDenied, kOpen, kFailing, kClosing, kOver };
  static constexpr int64_t kQuietUs = 500'000;
  static constexpr int64_t kLookUs = 100'000;
  static constexpr int64_t kAnswerUs = 100'000;

  Next Start();
  bool CanOpen() const { return call_ != nullptr && state_ == State::kOpen; }
  void ReturnWindow();
  // From the client...
  size_t Decode(std::string_view input);
  void Take(const websocket::MessageDecoder::Step& step);
  void OnClientClose(uint16_t code, std::string_view reason);
  void OnClientError(uint16_t code, std::string_view cause);
  // To the client...
  void WriteMessage(origin::MessageKind kind, std::string_view bytes, bool last);
  void WriteFrame(websocket::Opcode opcode, bool last, std::string_view payload,
                  bool compressed = false);
  void WriteClose(uint16_t code, std::string_view reason);
  // Ends...
  void CloseByUs(uint16_t code, std::string_view reason);
  void FinishFailing();
  void EndCall(uint16_t code, std::string_view reason);
  void Over(uint16_t code);
  // Time...
  void OnDeadline() override;
  void ArmOpen();
  void LookWhetherAlive(int64_t now_us);
  void LookWhetherToLeave(int64_t now_us);
  // origin::SocketObserver
  void OnResponse(const origin::ResponseHead& response) override;
  void OnInformational(const origin::ResponseHead& informational) override;
  void OnData(std::string_view bytes) override;
  void OnBodyRoom() override;
  void OnEnd() override;
  void OnFailure(const origin::Failure& failure) override;
  void OnAccept(const origin::ResponseHead& head) override;
  void OnMessage(origin::MessageKind kind, std::string_view bytes, bool last) override;
  void OnClose(uint32_t code, std::string_view reason) override;
  void OnGoingAway(uint16_t code, int64_t due_us) override;

  Exchange& exchange_;
  std::shared_ptr<const config::WebSockets> rules_;
  origin::Socket* call_ = nullptr;
  std::optional<websocket::MessageDecoder> decoder_;
  websocket::DeflateTerms deflate_;
  State state_ = State::kAsking;
  bool refused_client_ = false;
  bool stalled_ = false;      // The app has no room: nothing is read.
  bool sending_ = false;      // A message to the client is half written...
  bool deflating_ = false;    // ...and compressed.
  bool counted_ = false;      // As open.
  uint16_t close_code_ = 0;   // Of our Close.
  std::string_view failure_;  // kFailing: what our Close says; a literal.
  uint16_t leave_code_ = 0;   // 0: nobody has asked us to leave.
  size_t unconsumed_ = 0;     // Received from the app, its window not yet given back.
  int64_t heard_us_ = 0;      // From the client.
  int64_t pinged_us_ = 0;     // 0: no ping waits for an answer.
  int64_t moved_us_ = 0;      // A message, either way.
  int64_t leave_at_us_ = 0;   // At the latest.
  int64_t leave_due_us_ = 0;  // Then we are cut off.
  int64_t close_due_us_ = 0;  // For the client's Close.
};

}  // namespace catzilla::exchange
