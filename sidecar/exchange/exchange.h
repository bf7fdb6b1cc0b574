// One request and its answer.
//
//   kRoute --hot file------------------------------------------------> kFinish
//         \-> kOpenFile (waits: the executor) ----------------------> kFinish
//          \-> kLookup --stored answer------------------------------> kFinish
//          |        \-> kFollow (waits: a fill, ours or another's) -> kFinish
//          \-> kForward (waits: a small body) -> kStream (waits) ----> kFinish
//           \-> kRefuse --------------------------------------------> kFinish
//
// Run() goes on until the answer is complete (kDone) or something must happen first (kWait); then
// the connection runs it again. Whoever waits owns its bytes: Run() holds them before it returns
// kWait. Abandon() may come in any state. Only the connection gives it back, after Run() has
// returned.
//
// Threads: the loop's.
// Owns:    references to its own mount or route, the call to a worker, the place in a fill. It
// holds no
//          Snapshot after its verdict.
// Limits:  output as kOutputMark, request bodies as the worker's window.
// Fails:   with a status while no byte of the answer has left, by breaking the connection after.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/cache/fill.h"
#include "sidecar/exchange/answer_head.h"
#include "sidecar/exchange/client.h"
#include "sidecar/exchange/context.h"
#include "sidecar/exchange/fill_driver.h"
#include "sidecar/exchange/request_fields.h"
#include "sidecar/files/mount.h"
#include "sidecar/http/error_page.h"
#include "sidecar/http/request_head.h"
#include "sidecar/route/router.h"
#include "sidecar/worker/dispatcher.h"

namespace catzilla::exchange {

enum class Next : uint8_t { kMore, kWait, kDone };

// What is to become of the connection.
enum class Outcome : uint8_t {
  kKeepAlive,
  kClose,
  kBroken,  // The answer broke off: nothing may follow it.
};

// What the log says about who answered.
enum class Served : uint8_t { kSidecar, kFile, kCache, kWorker };

class Exchange final : private worker::CallObserver, private FillLeader, private loop::Deadline {
 public:
  Exchange() = default;
  ~Exchange() override;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // `request` stays where it is until Finish(); its bytes are taken when the exchange must wait.
  // `last`: the answer is to close the connection.
  void Begin(Context& context, Client& client, http::RequestHead& request, bool last);
  Next Run();

  // The request's body, as it arrives. REQUIRES: not request_complete().
  void OnRequestBody(std::string_view bytes);
  void OnRequestEnd();
  // The most bytes the body may have; known after the first Run(), and changed by a refusal.
  uint64_t body_bytes_max() const { return body_bytes_max_; }
  // The body is malformed or late: answer `status` if nothing has been answered yet.
  void FailRequest(uint16_t status);

  // A fill that this exchange follows has moved on.
  void OnFillMoved();
  // A file was opened for this exchange.
  void OnOpened(files::OpenResult result);

  // A short answer counts as sent when it is in the output; it leaves in this turn with others. A
  // long one is over when it has left.
  bool is_long_answer() const {
    return sends_file_ || rate_limit_ != 0 || body_bytes_sent_ >= kLongAnswerBytes;
  }
  // Bytes per second that the answer may take; 0: any.
  uint64_t rate_limit() const { return rate_limit_; }
  // Has bytes of the file that is next in the output read off the loop. False: nobody can now.
  // While is_reading() nothing of it is to be sent; WakeExchange() tells the end.
  bool ReadAhead(const base::Ref<base::Owner>& entry, uint64_t offset, uint64_t bytes);
  bool is_reading() const { return is_reading_; }
  // The file that was being sent cannot be read on. The caller breaks the answer off.
  void OnReadError(int error) { cause_ = strerrorname_np(error); }
  // It leaves in later turns: take what is counted and logged then. Idempotent.
  void HoldUntilSent();
  // A held answer could not leave to its end: `unsent` bytes of the output are lost; `truncated` if
  // their source failed, else it was the client. REQUIRES: HoldUntilSent().
  void BreakOff(uint64_t unsent, bool truncated);
  // Whether the client is still answered when it has ended its side. An app's answer that is yet to
  // be made is not: the app is told of it as of a disconnect. REQUIRES: request_complete().
  bool SurvivesClientEnd() const { return call_ == nullptr && state_ != State::kForward; }
  void Abandon();    // The client has gone.
  Outcome Finish();  // Counts and logs. REQUIRES: Run() returned kDone, or abandoned.

  bool request_complete() const { return request_complete_; }
  bool answered() const { return state_ == State::kFinish; }
  bool wants_output() const { return waits_for_output_; }
  Ticket ticket() const { return ticket_; }
  void set_ticket(Ticket ticket) { ticket_ = ticket; }

 private:
  static constexpr uint64_t kLongAnswerBytes = 64 * 1024;
  enum class State : uint8_t {
    kRoute,
    kOpenFile,
    kLookup,
    kFollow,
    kForward,
    kStream,
    kRefuse,
    kFinish
  };

  // exchange.cc
  Next Step();
  Next GoTo(State state);
  Next Route();
  Next RefuseWith(uint16_t status, std::string_view cause);
  Next Refuse();
  std::string_view BodyOfRefusal(http::ErrorFormat format, bool as_fastapi);
  void EchoRequestId(AnswerHead& head);
  void EnsureRequestId();
  void Hold();
  bool SkipsBody() const;
  void WriteLog(int64_t duration_us);
  void Reset();
  // file_steps.cc
  Next StartFile(uint32_t mount, uint8_t path_flags);
  Next Look(std::string_view path);
  Next Open(std::string_view path);
  Next OpenFile();
  Next SendInstead(const std::string& file);
  Next RefuseFile(uint16_t status, std::string_view cause);
  Next SendFile(files::Entry& entry);
  Next SendFileAnswer(const files::Answer& answer);
  size_t ConnectionFields(char* out, size_t bytes_max);
  size_t CachedFields(std::string_view fields, char* out, size_t bytes_max);
  // forward_steps.cc
  Next StartRoute(std::shared_ptr<const RouteTarget> target, const route::Verdict& verdict);
  Next Forward();
  Next Stream();
  void ForwardPendingBody();
  // False: it cannot be sent, and `cause_` says why; nothing was written.
  bool WriteResponseHead(const worker::ResponseHead& response);
  void AppendBody(std::string_view bytes);
  // As much of `bytes` as the promised length has room for: more would be read as the next answer.
  std::string_view CutToLength(std::string_view bytes);
  // The body has come to its end: whether the answer has, too.
  void EndBody();
  void ReturnWindow();
  void CancelCall(worker::CancelCode code);
  void OnResponse(const worker::ResponseHead& response) override;
  void OnInformational(const worker::ResponseHead& informational) override;
  void OnData(std::string_view bytes) override;
  void OnBodyRoom() override;
  void OnEnd() override;
  void OnFailure(const worker::CallFailure& failure) override;
  void DescribeRequest(RequestFields* fields, worker::RequestSpec* spec);
  // cache_steps.cc
  std::string KeyHost() const;
  Next Lookup();
  Next ForwardAlone();
  Next Join(const cache::Object* stale);
  Next Lead(cache::Producer producer);
  Next Follow();
  Next RefuseAsFailed();
  Next ServeValidated();
  bool WriteFillHead();
  Next FollowBody();
  void AppendPiece(std::string_view bytes, base::Ref<base::Owner> owner);
  void WriteRawHead(std::string_view line, std::string_view fields, std::string_view extra);
  Next ServeObject(const cache::Object& object, std::string_view cache_lines);
  void AppendObject(const cache::Object& object, uint64_t first, uint64_t length);
  void InvalidateAfter(const worker::ResponseHead& response);
  void LeaveFill();
  worker::CallObserver& TakeOverCall(worker::Call* call) override;
  void OnFillInformational(const worker::ResponseHead& informational) override {
    OnInformational(informational);
  }
  void OnFillFailure(const worker::CallFailure& failure) override;
  void OnDeadline() override;

  Context* context_ = nullptr;
  Client* client_ = nullptr;
  http::RequestHead* request_ = nullptr;
  Ticket ticket_;
  State state_ = State::kRoute;
  int64_t started_us_ = 0;
  std::string_view path_;  // Decoded once; in the request or in path_decoded_.
  std::string path_decoded_;
  std::string path_clean_;                         // Without its dot segments.
  stats::RouteStats* stats_ = nullptr;             // Borrowed from the plan within a turn...
  std::shared_ptr<stats::RouteStats> held_stats_;  // ...held when the exchange waits.

  // A file...
  files::Mount* mount_ = nullptr;
  std::shared_ptr<files::Mount> held_mount_;
  files::OpenResult opened_;
  bool opened_ready_ = false;
  bool is_fallback_ = false;  // The mount's spa_fallback answers for a missing path.
  uint16_t page_status_ = 0;  // The mount's page for this error answers.

  // A worker...
  std::shared_ptr<const RouteTarget> target_;
  worker::Call* call_ = nullptr;
  bool matched_ = false;
  std::array<route::Capture, route::kCapturesMax> captures_;
  uint32_t capture_count_ = 0;
  uint64_t body_bytes_max_ = 0;
  std::string body_pending_;  // Read from the client, not yet taken by the worker.
  bool awaits_continue_ = false;
  http::ResponseFraming framing_ = http::ResponseFraming::kNone;
  uint64_t body_left_ = 0;  // Of the promised length.
  size_t unconsumed_ = 0;   // Received from the worker, its window not yet given back.
  int64_t handler_us_ = -1;

  // A cached answer...
  cache::CacheKey key_;
  std::string key_host_;
  bool https_ = false;
  cache::Forward why_ = cache::Forward::kNone;
  cache::Follower follower_;
  base::Ref<cache::Fill> fill_;
  Ticket driver_ticket_;  // Of the fill we lead; epoch 0: none.
  bool collapsed_ = false;
  bool tells_forward_ = false;  // The answer says why it was not from the cache.

  // A refusal...
  uint16_t refusal_ = 0;
  std::string refusal_fields_;  // Whole lines.
  bool as_fastapi_ = false;     // In FastAPI's own words.
  uint32_t retry_after_s_ = 1;

  // What is counted and logged...
  uint16_t status_ = 0;
  uint64_t body_bytes_sent_ = 0;
  Served served_ = Served::kSidecar;
  std::string_view cause_;  // A literal: what went wrong.
  std::string detail_;      // What the worker said of it.
  std::string request_id_;
  std::string client_text_;

  bool head_written_ = false;
  bool sends_file_ = false;
  bool is_reading_ = false;
  uint64_t rate_limit_ = 0;
  bool request_complete_ = false;
  bool close_ = false;
  bool broken_ = false;
  bool abandoned_ = false;
  bool waits_for_output_ = false;
};

// The log line of what never became a request.
void LogRefusal(Context& context, const ClientFacts& facts, uint16_t status);

}  // namespace catzilla::exchange
