// One request and its answer.
//
//   Begin() -> chosen -> a way (file_way.h, follow_way.h, call_way.h), or at once: a stored answer,
//   a refusal -> answered -> Finish()
//
// Run() goes on until the answer is complete (kDone) or something must happen first (kWait); then
// the connection runs it again. Whoever waits owns its bytes: Run() holds them before it returns
// kWait. A way has what only it needs; ending is forgetting the way. Abandon() may come at any
// time. Only the connection gives the exchange back, after Run() has returned.
//
// Threads: the loop's.
// Owns:    its way; what it was chosen to be answered by, while it waits; its texts. Memory that a
//          request has grown goes with it, but for RequestFacts' little.
// Limits:  output as kOutputMark, request bodies as the worker's window.
// Fails:   with a status while no byte of the answer has left, by breaking the connection after.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "sidecar/exchange/call_way.h"
#include "sidecar/exchange/choose.h"
#include "sidecar/exchange/client.h"
#include "sidecar/exchange/context.h"
#include "sidecar/exchange/file_way.h"
#include "sidecar/exchange/follow_way.h"
#include "sidecar/exchange/next.h"
#include "sidecar/exchange/record.h"
#include "sidecar/exchange/request_facts.h"
#include "sidecar/exchange/responder.h"
#include "sidecar/exchange/upgrade_way.h"
#include "sidecar/http/request_head.h"

namespace catzilla::exchange {

class RequestFields;

// What is to become of the connection.
enum class Outcome : uint8_t {
  kKeepAlive,
  kClose,
  kBroken,   // The answer broke off: nothing may follow it.
  kRefused,  // What the client sends has no meaning any more; it may be at it still.
};

class Exchange final {
 public:
  Exchange() = default;
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // For the connection...

  // `request` stays where it is until Finish(); its bytes are taken when the exchange must wait.
  // `last`: the answer is to close the connection.
  void Begin(Context& context, Client& client, http::RequestHead& request, bool last);
  Next Run();

  // The request's body, as it arrives. REQUIRES: not request_complete().
  void OnRequestBody(std::string_view bytes);
  void OnRequestEnd();
  // The most bytes the body may have; known after the first Run(), and changed by a refusal.
  uint64_t body_bytes_max() const { return body_.bytes_max; }
  // The body is malformed or late: answer `status` if nothing has been answered yet.
  void FailRequest(uint16_t status);

  // Whether what the client sends is a WebSocket's: OnUpgradedBytes() takes it.
  bool is_upgraded() const {
    const UpgradeWay* way = std::get_if<UpgradeWay>(&way_);
    return way != nullptr && way->upgraded();
  }
  // Returns how many it took; the rest is to be held until it wants more. REQUIRES: is_upgraded().
  size_t OnUpgradedBytes(std::string_view bytes) {
    return std::get<UpgradeWay>(way_).OnBytes(bytes);
  }
  // The sidecar is leaving: what would stay open ends itself.
  void OnDrain() {
    if (UpgradeWay* way = std::get_if<UpgradeWay>(&way_)) way->OnDrain();
  }

  // A fill that this exchange follows has moved on.
  void OnFillMoved() { client_->WakeExchange(); }
  // A file was opened for this exchange, or read.
  void OnOpened(files::OpenResult result);

  // A short answer counts as sent when it is in the output; it leaves in this turn with others. A
  // long one is over when it has left.
  bool is_long_answer() const {
    return responder_.sends_file() || rate_limit() != 0 || record_.body_bytes >= kLongAnswerBytes;
  }
  // Bytes per second that the answer may take; 0: any.
  uint64_t rate_limit() const { return responder_.rate_limit(); }
  // Has bytes of the file that is next in the output read off the loop. False: nobody can now.
  // While is_reading() nothing of it is to be sent; WakeExchange() tells the end.
  bool ReadAhead(const base::Ref<base::Owner>& entry, uint64_t offset, uint64_t bytes);
  bool is_reading() const { return is_reading_; }
  // The file that was being sent cannot be read on. The caller breaks the answer off.
  void OnReadError(int error);
  // It leaves in later turns: take what is counted and logged then. Idempotent.
  void HoldUntilSent();
  // A held answer could not leave to its end: `unsent` bytes of the output are lost; `truncated` if
  // their source failed, else it was the client. REQUIRES: HoldUntilSent().
  void BreakOff(uint64_t unsent, bool truncated);
  // Whether the client is still answered when it has ended its side. An app's answer that is yet to
  // be made is not: the app is told of it as of a disconnect. REQUIRES: request_complete().
  bool SurvivesClientEnd() const {
    return !std::holds_alternative<CallWay>(way_) && !std::holds_alternative<UpgradeWay>(way_);
  }
  // The client has gone; so many bytes of the output are lost with it.
  void Abandon(uint64_t unsent = 0);
  Outcome Finish();  // Counts and logs. REQUIRES: Run() returned kDone, or abandoned.

  bool request_complete() const { return body_.complete; }
  bool answered() const { return answered_; }
  bool ends_with_connection() const { return responder_.ends_with_connection(); }
  // Whether it is the client's turn to send of its body: not before the app has asked one that
  // waits for 100 Continue.
  bool AwaitsClient() const {
    const CallWay* way = std::get_if<CallWay>(&way_);
    return !body_.complete && (way == nullptr || !way->awaits_continue());
  }
  bool wants_output() const { return responder_.wants_room(); }
  base::Ticket ticket() const { return ticket_; }
  void set_ticket(base::Ticket ticket) { ticket_ = ticket; }

  // For the ways...

  Context& context() { return *context_; }
  Client& client() { return *client_; }
  http::RequestHead& request() { return *request_; }
  RequestFacts& facts() { return facts_; }
  Responder& responder() { return responder_; }
  ExchangeRecord& record() { return record_; }
  // REQUIRES: a route was chosen.
  const RouteTarget& route() const { return *choice_.route; }
  std::shared_ptr<const RouteTarget> shared_route() const {
    return choice_.route->shared_from_this();
  }
  // Everything of a REQUEST frame but the body. `spec` borrows from the exchange and `fields`.
  void Describe(RequestFields* fields, origin::RequestSpec* spec);

  // Each of these ends the way that calls it, which is destroyed: it is the last that the way does.
  Next Answered();                      // The answer is complete.
  Next Refuse(const Refusal& refusal);  // An answer of our own. REQUIRES: no head was written.
  Next RefuseFailed(const origin::Failure& failure);  // Breaks off, if a head was written.
  Next BreakOffAnswer(std::string_view cause);
  // Whether another plan than the one that routed it is served now. REQUIRES: as route().
  bool MayRouteAnew() const {
    return !responder_.head_written() && route().version < context_->plan->version();
  }
  // From a mount, where no file answers, to the pool that does. REQUIRES: HasFallback().
  Next FallBack();
  bool HasFallback() const {
    return choice_.mount != nullptr && choice_.mount->fallback != nullptr;
  }
  // The rest of an app's body. Not empty: why it cannot be sent.
  [[nodiscard]] std::string_view SendPassedFile(origin::PassedFile file);
  // From the app that has named a file to the file; runs it.
  void HandOver(std::unique_ptr<HandedFile> file);
  Next RouteAnew(std::string body);  // `body`: what has come of the request's.
  Next LookUp();
  Next GoAlone();  // Past the cache, and says so.
  origin::Observer& TakeOver(origin::Call* call, base::Ticket driver);
  Next SendObject(const cache::Object& object, std::string_view cache_lines);

  // What an app's head says that is not for the client.
  void NoteAppHead(const origin::ResponseHead& response);
  // False: it cannot be sent, nothing was written, and the record's cause says why.
  [[nodiscard]] bool SendAppHead(const origin::ResponseHead& response);

 private:
  static constexpr uint64_t kLongAnswerBytes = 64 * 1024;

  Next Step();
  Next Start();
  Next StartRoute();
  Next RefuseChosen();
  void AppendObject(const cache::Object& object, uint64_t first, uint64_t length);
  void InvalidateAfter(const origin::ResponseHead& response);
  const MountTarget* file_mount() const;  // Of the file that is sent; null: of no mount.

  Context* context_ = nullptr;
  Client* client_ = nullptr;
  http::RequestHead* request_ = nullptr;
  base::Ticket ticket_;
  RequestFacts facts_;
  RequestBody body_;
  Choice choice_;                                    // Borrows from the plan within a turn...
  std::shared_ptr<const void> held_;                 // ...and from this when the exchange waits.
  std::shared_ptr<const MountTarget> handed_mount_;  // Whose file an app's answer has named.
  Responder responder_;
  ExchangeRecord record_;
  std::variant<std::monostate, FileWay, FollowWay, CallWay, UpgradeWay> way_;
  bool answered_ = false;
  bool is_reading_ = false;
  bool refused_client_ = false;  // What its way said at its end.
  bool passed_file_ = false;     // The file that is sent is one that a worker has opened.
  bool tells_forward_ = false;   // The answer says why it was not from the cache.
};

}  // namespace catzilla::exchange
