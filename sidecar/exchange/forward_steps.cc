// The way to a worker: a credit or a place in the queue, the request as one frame, the answer as it
// comes.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "sidecar/cache/cache_status.h"
#include "sidecar/exchange/answer_head.h"
#include "sidecar/exchange/exchange.h"
#include "sidecar/exchange/origin.h"
#include "sidecar/exchange/request_fields.h"
#include "sidecar/http/list.h"
#include "sidecar/http/text.h"

namespace catzilla::exchange {
namespace {

// A body of known length up to this is collected first, so that a slow client does not hold a
// worker, and goes along inline. Larger ones are streamed at once.
constexpr uint64_t kInlineBodyMax = 16 * 1024;

}  // namespace

uint16_t StatusOf(worker::FailureKind kind) {
  switch (kind) {
    case worker::FailureKind::kQueueFull:
    case worker::FailureKind::kQueueTimeout:
    case worker::FailureKind::kNoWorkers:
      return 503;
    case worker::FailureKind::kTimeout:
      return 504;
    case worker::FailureKind::kWorkerLost:
    case worker::FailureKind::kBadAnswer:
      return 502;
    case worker::FailureKind::kAppFailed:
      return 500;
    case worker::FailureKind::kTooLarge:
      return 431;
  }
  return 502;
}

Next Exchange::StartRoute(std::shared_ptr<const RouteTarget> target,
                          const route::Verdict& verdict) {
  target_ = std::move(target);
  stats_ = target_->stats.get();
  served_ = Served::kWorker;
  // The app's own router decides what the trie could not: no route id and no slots then.
  matched_ = verdict.kind == route::Verdict::Kind::kRoute;
  captures_ = verdict.captures;
  capture_count_ = matched_ ? verdict.capture_count : 0;
  as_fastapi_ = target_->config->source == config::Layer::kApp;
  if (target_->pool == nullptr) return RefuseWith(503, "no_pool");
  if (request_->wants_upgrade() && request_->ListHasItem(http::HeaderId::kUpgrade, "websocket")) {
    return RefuseWith(501, "websocket");
  }
  // An app enforces its own limit, in its own words; an operator's is enforced here.
  const config::Route& route = *target_->config;
  const uint64_t general = context_->plan->snapshot->limits->body_bytes_max;
  const bool own = route.body_bytes_max > 0 && route.source != config::Layer::kApp;
  body_bytes_max_ = own ? route.body_bytes_max : std::max(route.body_bytes_max, general);
  if (request_->content_length() > body_bytes_max_) return RefuseWith(413, "body_too_large");
  return GoTo(matched_ && target_->cache != nullptr ? State::kLookup : State::kForward);
}

Next Exchange::Forward() {
  if (call_ != nullptr) return Next::kWait;
  const bool inlined = request_->body_kind() == http::BodyKind::kLength &&
                       request_->content_length() <= kInlineBodyMax && !request_->expect_continue();
  if (inlined && !request_complete_) {
    Hold();
    return Next::kWait;
  }
  worker::RequestSpec spec;
  RequestFields fields(*request_);
  EnsureRequestId();
  if (!request_->Find("x-request-id").has_value()) fields.Add("x-request-id", request_id_);
  DescribeRequest(&fields, &spec);
  if (request_->has_body()) {
    spec.body_mode = inlined ? worker::BodyMode::kInline : worker::BodyMode::kStreaming;
    spec.body_length = request_->body_kind() == http::BodyKind::kLength ? request_->content_length()
                                                                        : worker::kLengthUnknown;
    if (request_->expect_continue()) spec.flags |= worker::kExpectContinue;
    if (inlined) spec.body = body_pending_;
  }
  worker::CallFailure failure;
  call_ = context_->dispatcher.Start(spec, target_->pool, *this, &failure);
  if (call_ == nullptr) {
    retry_after_s_ = std::max<uint32_t>(failure.retry_after_s, 1);
    return RefuseWith(StatusOf(failure.kind), worker::FailureName(failure.kind));
  }
  if (inlined) body_pending_.clear();
  Hold();
  awaits_continue_ = request_->expect_continue();
  if (request_->has_body() && !inlined) ForwardPendingBody();
  state_ = State::kStream;
  return Next::kWait;
}

// Everything of a REQUEST frame but the body. `spec` borrows from the request, from this and
// `fields`.
void Exchange::DescribeRequest(RequestFields* fields, worker::RequestSpec* spec) {
  const config::Route& route = *target_->config;
  const Origin origin = FindOrigin(*request_, client_->facts());
  client_text_ = origin.client;
  spec->route_id = matched_ ? route.id : worker::kNoRoute;
  spec->method = request_->method_text();
  spec->http_version = request_->minor_version() == 0 ? 0x10 : 0x11;
  spec->scheme = origin.https ? 1 : 0;
  spec->accept_us = started_us_;
  if (route.request_timeout_us > 0) spec->deadline_us = started_us_ + route.request_timeout_us;
  spec->hard_timeout_us = route.hard_timeout_us;
  spec->client_port = origin.client_port;
  spec->server_port = client_->facts().server_port;
  spec->target = request_->target();
  if (request_->is_absolute()) {
    // Without scheme and authority, as a server behind a proxy sees it.
    spec->target = {request_->path().data(),
                    request_->path().size() + request_->query_with_mark().size()};
  }
  spec->path = path_;
  spec->host = request_->authority();
  spec->client = client_text_;
  spec->server = client_->facts().server_text;
  spec->request_id = request_id_;
  spec->traceparent = request_->Find("traceparent").value_or("");
  spec->tracestate = request_->Find("tracestate").value_or("");
  spec->idempotent = route.idempotent;
  if (request_->method() == http::Method::kHead) spec->flags |= worker::kHeadRequest;
  if (route.cancel_on_disconnect) spec->flags |= worker::kCancelOnDisconnect;
  if (request_->wants_upgrade()) spec->flags |= worker::kUpgradeRequest;
  if (matched_) {
    fields->FillSlots(*target_, path_, {captures_.data(), capture_count_}, spec);
  }
  spec->fields = fields->fields();
}

// The request's body...

void Exchange::OnRequestBody(std::string_view bytes) {
  if (state_ == State::kFinish) return;
  body_pending_ += bytes;
  if (call_ != nullptr) ForwardPendingBody();
}

void Exchange::ForwardPendingBody() {
  if (call_->body_ended()) {
    body_pending_.clear();
    return;
  }
  const size_t room = std::min(call_->body_window(), body_pending_.size());
  const bool last = request_complete_ && room == body_pending_.size();
  if (room > 0 || last) {
    call_->SendBody(std::string_view(body_pending_).substr(0, room), last);
    body_pending_.erase(0, room);
  }
  client_->SetBodyReading(body_pending_.empty());
}

void Exchange::OnBodyRoom() {
  if (awaits_continue_) {
    awaits_continue_ = false;
    // A client that has sent its body already did not wait for this, and needs no invitation.
    if (!head_written_ && body_pending_.empty() && !request_complete_) {
      client_->output().Append(http::kContinue);
    }
  }
  ForwardPendingBody();
  client_->WakeExchange();
}

// The answer...

void Exchange::OnInformational(const worker::ResponseHead& informational) {
  if (head_written_ || request_->minor_version() == 0) return;
  HeadOptions options;
  options.status = informational.status;
  options.date = options.server = options.connection = false;
  for (const worker::Field& field : informational.fields) {
    options.fields_bytes += field.name.size() + field.value.size() + 4;
  }
  AnswerHead head(*context_, *request_, options, client_->output());
  for (const worker::Field& field : informational.fields) head.Field(field.name, field.value);
  head.Finish();
  client_->WakeExchange();
}

void Exchange::OnResponse(const worker::ResponseHead& response) {
  handler_us_ = response.handler_us;
  client_->WakeExchange();
  if (!WriteResponseHead(response)) {
    CancelCall(worker::CancelCode::kBadAnswer);
    RefuseWith(502, cause_);
    return;
  }
  if (!response.body.empty()) AppendBody(response.body);
}

bool Exchange::WriteResponseHead(const worker::ResponseHead& response) {
  HeadOptions options;
  options.status = response.status;
  close_ = close_ || !request_complete_;
  std::optional<uint64_t> length;
  for (const worker::Field& field : response.fields) {
    options.fields_bytes += field.name.size() + field.value.size() + 4;
    if (field.name == "content-length") {
      uint64_t value = 0;  // The link lets no other than one sound length through.
      if (http::ParseDecimal(field.value, &value)) length = value;
    } else if (field.name == "date") {
      options.date = false;
    } else if (field.name == "server") {
      options.server = false;
    } else if (field.name == "connection") {
      http::ListItems items(field.value);
      for (std::string_view item; items.Next(&item);) {
        if (http::EqualsIgnoringCase(item, "close")) close_ = true;
      }
    }
  }
  const bool known = length.has_value() || response.complete;
  framing_ = http::FramingOf(request_->method(), request_->minor_version(), response.status, known);
  if (framing_ == http::ResponseFraming::kClose) close_ = true;
  body_left_ = length.value_or(response.complete ? response.body.size() : UINT64_MAX);
  options.close = close_;
  AnswerHead head(*context_, *request_, options, client_->output());
  const bool tells = http::StatusHasBody(response.status) || response.status == 304;
  bool told_length = false;
  bool names_request = false;  // The app's own id is the one that leaves.
  for (const worker::Field& field : response.fields) {
    if (IsConnectionField(field.name)) continue;
    if (field.name == "content-length") {
      // Once, however often the app said it; also where it only tells (HEAD, 304).
      if (!tells || std::exchange(told_length, true)) continue;
    }
    names_request = names_request || field.name == "x-request-id";
    head.Field(field.name, field.value);
  }
  if (framing_ == http::ResponseFraming::kLength && !told_length) {
    head.Length(response.body.size());
  }
  if (framing_ == http::ResponseFraming::kChunked) head.Field("Transfer-Encoding", "chunked");
  if (tells_forward_ && why_ != cache::Forward::kNone) {
    char lines[cache::kCacheLinesBytesMax];
    cache::Forwarded forwarded;
    forwarded.why = why_;
    forwarded.status = response.status;
    head.Lines({lines, cache::WriteForwardLine(lines, forwarded)});
  }
  if (!names_request) EchoRequestId(head);
  if (!head.Finish()) {
    cause_ = "answer_head_too_large";
    return false;
  }
  InvalidateAfter(response);
  head_written_ = true;
  status_ = response.status;
  return true;
}

void Exchange::AppendBody(std::string_view bytes) {
  if (framing_ == http::ResponseFraming::kNone || bytes.empty()) return;
  bytes = CutToLength(bytes);
  http::OutputQueue& output = client_->output();
  if (framing_ == http::ResponseFraming::kChunked) {
    char* room = output.Reserve(http::kChunkHeadBytesMax);
    output.Commit(http::WriteChunkHead(bytes.size(), room));
    output.Append(bytes);
    output.Append(http::kChunkEnd);
  } else {
    output.Append(bytes);
  }
  body_bytes_sent_ += bytes.size();
}

std::string_view Exchange::CutToLength(std::string_view bytes) {
  if (framing_ != http::ResponseFraming::kLength) return bytes;
  if (bytes.size() > body_left_) cause_ = "answer_longer_than_its_length";
  bytes = bytes.substr(0, body_left_);
  body_left_ -= bytes.size();
  return bytes;
}

void Exchange::EndBody() {
  if (framing_ == http::ResponseFraming::kChunked) client_->output().Append(http::kLastChunk);
  // Less than was promised: the client must not take it for the whole.
  if (framing_ == http::ResponseFraming::kLength && body_left_ > 0) {
    broken_ = true;
    cause_ = "answer_shorter_than_its_length";
  }
}

void Exchange::OnData(std::string_view bytes) {
  AppendBody(bytes);
  unconsumed_ += bytes.size();
  ReturnWindow();
  client_->WakeExchange();
}

// What has not left for the client yet keeps the worker's window taken: a slow reader slows the
// app.
void Exchange::ReturnWindow() {
  waits_for_output_ = unconsumed_ > 0 && client_->output().pending_bytes() >= kOutputMark;
  if (waits_for_output_ || unconsumed_ == 0 || call_ == nullptr) return;
  call_->Consumed(std::exchange(unconsumed_, 0));
}

Next Exchange::Stream() {
  ReturnWindow();
  return Next::kWait;
}

void Exchange::OnEnd() {
  call_ = nullptr;
  waits_for_output_ = false;
  EndBody();
  state_ = State::kFinish;
  client_->WakeExchange();
}

void Exchange::OnFailure(const worker::CallFailure& failure) {
  call_ = nullptr;
  waits_for_output_ = false;
  client_->WakeExchange();
  cause_ = worker::FailureName(failure.kind);
  detail_ = failure.cause;
  if (head_written_) {
    broken_ = true;
    state_ = State::kFinish;
    return;
  }
  retry_after_s_ = std::max<uint32_t>(failure.retry_after_s, 1);
  RefuseWith(StatusOf(failure.kind), cause_);
}

void Exchange::CancelCall(worker::CancelCode code) {
  if (call_ == nullptr) return;
  call_->Cancel(code);
  call_ = nullptr;
  // A call that came from a fill is its driver's no more either.
  if (FillDriver* driver = context_->fill_drivers.Find(driver_ticket_)) driver->LeaderLeft();
}

}  // namespace catzilla::exchange
