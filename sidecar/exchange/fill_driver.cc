#include "sidecar/exchange/fill_driver.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "sidecar/base/check.h"
#include "sidecar/exchange/client.h"
#include "sidecar/exchange/start_call.h"

namespace catzilla::exchange {
FillDriver::~FillDriver() {
  CATZILLA_CHECK(call_ == nullptr, "a fill's driver died under its call");
}

void FillDriver::Begin(Context& context, const http::RequestHead& request, RequestFacts& facts,
                       std::shared_ptr<const RouteTarget> target, FillLeader* leader) {
  context_ = &context;
  https_ = facts.origin().https;
  host_ = facts.key_host();
  target_ = std::move(target);
  leader_ = leader;
  request_us_ = context.now().monotonic_us;
  // The connection's head goes with its client; a head parses in a fraction of what a miss costs.
  head_bytes_ = request.bytes();
  head_ = context.heads.Take();
  http::RequestParser parser;
  parser.Begin(head_.get(), {UINT32_MAX, UINT32_MAX, http::RequestHead::kFieldsMax});
  const http::RequestParser::Step step = parser.Next(head_bytes_);
  CATZILLA_CHECK(step.event == http::RequestParser::Event::kHead, "a head did not parse again");
}

void FillDriver::SetProducer(cache::Producer producer) {
  producer_ = std::move(producer);
  producer_.SetTicket(ticket_);
}

bool FillDriver::Start(const origin::RequestSpec& spec, origin::Failure* failure) {
  origin::RequestSpec for_bytes = spec;  // What is kept is no file of the app's.
  for_bytes.flags |= origin::kBytesOnly;
  call_ = StartCall(*context_, *target_, for_bytes, *this, failure);
  if (call_ != nullptr) return true;
  leader_ = nullptr;
  Abort(*failure);
  Done();
  return false;
}

// Those whom newer code is to answer go to the app alone, and find on their way that they are
// routed anew.
void FillDriver::Abort(const origin::Failure& failure) {
  if (failure.kind == origin::FailureKind::kSuperseded) return producer_.Release();
  producer_.Abort({origin::StatusOf(failure.kind), std::max<uint32_t>(failure.retry_after_s, 1),
                   origin::FailureName(failure.kind)});
}

cache::ExchangeTimes FillDriver::Times() const {
  return {request_us_, context_->now().monotonic_us, context_->now().wall_s()};
}

void FillDriver::OnResponse(const origin::ResponseHead& response) {
  const cache::RequestView request{head_->head(), https_ ? "https" : "http", host_};
  const cache::ResponseView view{response.status, response.fields};
  if (response.status == 304 && producer_.stale() != nullptr) {
    // Followers, the leader among them, see the freshened object, or that they are on their own:
    // what older code says of it makes nothing fresh for newer code's clients.
    if (target_->current()) {
      (void)producer_.NotModified(request, view, Times());
    } else {
      producer_.Release();
    }
    answered_ = true;
    return;
  }
  if (producer_.Begin(request, view, Times()) == cache::Producer::Begun::kShared) {
    if (!response.body.empty() && !Append(response.body)) GiveUp();
    return;
  }
  if (leader_ == nullptr) {
    GiveUp();
    return;
  }
  passing_ = &std::exchange(leader_, nullptr)->TakeOverCall(call_);
  passing_->OnResponse(response);
}

// Relayed to the client that asked, never kept: whoever else follows the fill gets the final answer
// (RFC 9110 section 15.2).
void FillDriver::OnInformational(const origin::ResponseHead& informational) {
  if (passing_ != nullptr) passing_->OnInformational(informational);
  if (leader_ != nullptr) leader_->OnFillInformational(informational);
}

bool FillDriver::Append(std::string_view bytes) {
  return producer_.Append(bytes, context_->now().monotonic_us);
}

void FillDriver::OnData(std::string_view bytes) {
  if (passing_ != nullptr) {
    passing_->OnData(bytes);
    return;
  }
  if (answered_) {
    call_->Consumed(bytes.size());
    return;
  }
  if (!Append(bytes)) {
    GiveUp();
    return;
  }
  unconsumed_ += bytes.size();
  if (producer_.Room() > 0) call_->Consumed(std::exchange(unconsumed_, 0));
}

// Never kept; for the one client that gets the answer as it comes.
void FillDriver::OnTrailers(http::Fields fields) {
  if (passing_ != nullptr) passing_->OnTrailers(fields);
}

void FillDriver::OnBodyRoom() {}

void FillDriver::OnEnd() {
  call_ = nullptr;
  if (passing_ != nullptr) {
    passing_->OnEnd();
  } else if (!answered_) {
    if (!target_->current()) producer_.Decline();  // Newer code is asked anew.
    producer_.Finish();
  }
  Done();
}

void FillDriver::OnFailure(const origin::Failure& failure) {
  call_ = nullptr;
  FillLeader* leader = std::exchange(leader_, nullptr);
  origin::Observer* passing = std::exchange(passing_, nullptr);
  Abort(failure);
  if (passing != nullptr) {
    passing->OnFailure(failure);
  } else if (leader != nullptr) {
    leader->OnFillFailure(failure);
  }
  Done();
}

void FillDriver::LeaderLeft() {
  leader_ = nullptr;
  if (passing_ != nullptr) {
    // The call is the leader's, who has cancelled it.
    passing_ = nullptr;
    call_ = nullptr;
    Done();
    return;
  }
  if (!answered_ && !producer_.Wanted()) GiveUp();
}

void FillDriver::OnWake() {
  if (call_ == nullptr || passing_ != nullptr || answered_) return;
  if (!producer_.Wanted()) {
    GiveUp();
    return;
  }
  if (unconsumed_ > 0 && producer_.Room() > 0) call_->Consumed(std::exchange(unconsumed_, 0));
}

// Nobody wants the answer and it will not be kept.
void FillDriver::GiveUp() {
  producer_.Abort();
  if (call_ != nullptr) std::exchange(call_, nullptr)->Cancel(origin::CancelCode::kUnwanted);
  Done();
}

void FillDriver::Done() {
  producer_ = cache::Producer();
  context_->heads.Give(std::move(head_));
  target_.reset();
  leader_ = nullptr;
  passing_ = nullptr;
  unconsumed_ = 0;
  answered_ = false;
  context_->fill_drivers.Give(this);
}

}  // namespace catzilla::exchange
