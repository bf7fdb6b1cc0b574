#include "sidecar/exchange/call_way.h"

#include <algorithm>
#include <utility>

#include "sidecar/exchange/exchange.h"
#include "sidecar/exchange/request_fields.h"
#include "sidecar/exchange/start_call.h"
#include "sidecar/files/passed_file.h"

namespace catzilla::exchange {
namespace {

// A body of known length up to this is collected first, so that a slow client does not hold a
// worker, and goes along inline. Larger ones are streamed at once.
constexpr uint64_t kInlineBodyMax = 16 * 1024;
// An answer's body that nobody wants is read up to here, so that its connection lives on.
constexpr size_t kDroppedBodyMax = 64 * 1024;
constexpr int64_t kDropUs = 1'000'000;

}  // namespace

CallWay::~CallWay() { Cancel(origin::CancelCode::kUnwanted); }

Next CallWay::Step() {
  if (call_ == nullptr) return Start();
  ReturnWindow();
  return Next::kWait;
}

Next CallWay::Start() {
  const http::RequestHead& request = exchange_.request();
  const bool known = request.body_kind() == http::BodyKind::kLength;
  const bool inlined =
      known && request.content_length() <= kInlineBodyMax && !request.expect_continue();
  if (inlined && !exchange_.request_complete()) return Next::kWait;
  origin::RequestSpec spec;
  if (inlined) spec.asked_us = exchange_.context().now().monotonic_us;
  RequestFields fields(request);
  exchange_.Describe(&fields, &spec);
  if (request.has_body()) {
    spec.body_mode = inlined ? origin::BodyMode::kInline : origin::BodyMode::kStreaming;
    spec.body_length = known ? request.content_length() : origin::kLengthUnknown;
    if (request.expect_continue()) spec.flags |= origin::kExpectContinue;
    if (inlined) spec.body = body_;
  }
  const files::PassedFiles* passed = exchange_.context().passed_files;
  if (passed != nullptr && passed->crowded()) spec.flags |= origin::kBytesOnly;
  origin::Failure failure;
  call_ = StartCall(exchange_.context(), exchange_.route(), spec, *this, &failure);
  if (call_ == nullptr) {
    return IsToBeRoutedAnew(failure) ? exchange_.RouteAnew(std::move(body_))
                                     : exchange_.RefuseFailed(failure);
  }
  // An inline body stays until the answer begins: it may have to be routed anew.
  awaits_continue_ = request.expect_continue();
  if (request.has_body() && !inlined) PassOnBody();
  return Next::kWait;
}

// The request's body...

void CallWay::RequestBody(std::string_view bytes) {
  body_ += bytes;
  if (call_ != nullptr) PassOnBody();
}

void CallWay::RequestEnd() {
  if (call_ != nullptr) PassOnBody();
}

void CallWay::PassOnBody() {
  if (call_->body_ended()) {
    body_.clear();
    return;
  }
  const size_t room = std::min(call_->body_window(), body_.size());
  const bool last = exchange_.request_complete() && room == body_.size();
  if (room > 0 || last) {
    call_->SendBody(std::string_view(body_).substr(0, room), last);
    body_.erase(0, room);
  }
  exchange_.client().SetBodyReading(body_.empty());
}

void CallWay::OnBodyRoom() {
  // A client that has sent its body already did not wait to be asked, and needs no invitation.
  if (std::exchange(awaits_continue_, false) && body_.empty() && !exchange_.request_complete()) {
    exchange_.responder().Continue();
  }
  PassOnBody();
  exchange_.client().WakeExchange();
}

// The answer...

void CallWay::OnInformational(const origin::ResponseHead& informational) {
  exchange_.responder().Inform(informational);
  exchange_.client().WakeExchange();
}

void CallWay::OnResponse(const origin::ResponseHead& response) {
  if (call_->body_ended()) std::string().swap(body_);
  exchange_.client().WakeExchange();
  if (HandsOver(response)) return;
  if (!exchange_.SendAppHead(response)) {
    Cancel(origin::CancelCode::kBadAnswer);
    exchange_.Refuse({502, exchange_.record().cause});
    return;
  }
  exchange_.responder().Body(response.body);
}

// True: the answer is no more this way's, or is over.
bool CallWay::HandsOver(const origin::ResponseHead& response) {
  Handed handed = FindHandedFile(*exchange_.context().plan, response);
  if (!handed.error.empty()) {
    Cancel(origin::CancelCode::kBadAnswer);
    exchange_.Refuse({502, handed.error});
    return true;
  }
  if (handed.file == nullptr) return false;
  exchange_.NoteAppHead(response);
  handed_ = std::move(handed.file);
  dropped_ = response.body.size();
  if (!response.complete) {
    Context& context = exchange_.context();
    context.wheel.Arm(*this, context.now().monotonic_us + kDropUs);
  }
  return true;
}

void CallWay::OnDeadline() { HandOver(); }

// The last that this way does.
void CallWay::HandOver() {
  Cancel(origin::CancelCode::kUnwanted);
  exchange_.HandOver(std::move(handed_));
}

void CallWay::OnData(std::string_view bytes) {
  if (handed_ != nullptr) {
    dropped_ += bytes.size();
    call_->Consumed(bytes.size());
    if (dropped_ > kDroppedBodyMax) HandOver();
    return;
  }
  exchange_.responder().Body(bytes);
  unconsumed_ += bytes.size();
  ReturnWindow();
  exchange_.client().WakeExchange();
}

void CallWay::OnFile(origin::PassedFile file) {
  if (handed_ != nullptr) return;
  exchange_.client().WakeExchange();
  const std::string_view error = exchange_.SendPassedFile(std::move(file));
  if (error.empty()) return;
  exchange_.record().detail = error;
  Cancel(origin::CancelCode::kBadAnswer);
  exchange_.BreakOffAnswer("passed_file");
}

void CallWay::OnTrailers(http::Fields fields) {
  if (handed_ == nullptr) exchange_.responder().Trailers(fields);
}

// What has not left for the client yet keeps the worker's window taken: a slow reader slows the
// app.
void CallWay::ReturnWindow() {
  if (unconsumed_ == 0) {
    exchange_.responder().ForgetRoom();
  } else if (exchange_.responder().Room() && call_ != nullptr) {
    call_->Consumed(std::exchange(unconsumed_, 0));
  }
}

void CallWay::OnEnd() {
  call_ = nullptr;
  exchange_.client().WakeExchange();
  if (handed_ != nullptr) return HandOver();
  exchange_.responder().EndBody();
  exchange_.Answered();
}

void CallWay::OnFailure(const origin::Failure& failure) {
  call_ = nullptr;
  exchange_.client().WakeExchange();
  if (handed_ != nullptr) return HandOver();  // It has said all that is needed of it.
  // Found out again by Start(): what is chosen is borrowed from the plan, and only Run() holds it.
  if (!IsToBeRoutedAnew(failure)) exchange_.RefuseFailed(failure);
}

// Newer code may have taken over before the request had begun: the plan of now says where it goes.
bool CallWay::IsToBeRoutedAnew(const origin::Failure& failure) const {
  return failure.kind == origin::FailureKind::kSuperseded && exchange_.MayRouteAnew();
}

void CallWay::Cancel(origin::CancelCode code) {
  if (call_ == nullptr) return;
  std::exchange(call_, nullptr)->Cancel(code);
  // A call that came from a fill is its driver's no more either.
  FillDriver* driver = exchange_.context().fill_drivers.Find(driver_);
  if (driver != nullptr) driver->LeaderLeft();
}

}  // namespace catzilla::exchange
