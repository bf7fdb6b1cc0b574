#include "sidecar/exchange/exchange.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/cache/cache_status.h"
#include "sidecar/exchange/origin.h"
#include "sidecar/http/target.h"
#include "sidecar/stats/json_line.h"

namespace catzilla::exchange {
namespace {

constexpr size_t kRequestIdBytesMax = 128;
// A body that nobody wants is skipped up to here, then the connection is given up.
constexpr uint64_t kSkippedBodyMax = 64 * 1024;

std::string_view ServedName(Served served) {
  switch (served) {
    case Served::kFile:
      return "file";
    case Served::kCache:
      return "cache";
    case Served::kWorker:
      return "worker";
    case Served::kSidecar:
      break;
  }
  return "sidecar";
}

}  // namespace

Exchange::~Exchange() { CATZILLA_CHECK(call_ == nullptr, "an exchange died under its call"); }

void Exchange::Begin(Context& context, Client& client, http::RequestHead& request, bool last) {
  context_ = &context;
  client_ = &client;
  request_ = &request;
  state_ = State::kRoute;
  started_us_ = context.now().monotonic_us;
  request_complete_ = !request.has_body();
  close_ = last || !request.keep_alive();
  context.stats.requests.Add();
}

Next Exchange::Run() {
  Next next = Next::kMore;
  while (next == Next::kMore) next = Step();
  // The request's bytes lie in the loop's shared buffer: who waits takes its own.
  if (next == Next::kWait) HoldUntilSent();
  return next;
}

Next Exchange::Step() {
  switch (state_) {
    case State::kRoute:
      return Route();
    case State::kOpenFile:
      return OpenFile();
    case State::kLookup:
      return Lookup();
    case State::kFollow:
      return Follow();
    case State::kForward:
      return Forward();
    case State::kStream:
      return Stream();
    case State::kRefuse:
      return Refuse();
    case State::kFinish:
      break;
  }
  return request_complete_ || abandoned_ || close_ ? Next::kDone : Next::kWait;
}

Next Exchange::GoTo(State state) {
  state_ = state;
  return Next::kMore;
}

// The one look at the Snapshot: afterwards the exchange holds what is its own.
Next Exchange::Route() {
  const Plan& plan = *context_->plan;
  stats_ = plan.unmatched.get();
  body_bytes_max_ = kSkippedBodyMax;
  if (request_->is_asterisk()) return RefuseWith(204, "");
  const http::DecodedPath decoded = http::DecodePath(request_->path(), path_decoded_);
  path_ = decoded.path;
  route::Verdict verdict;
  plan.router.Match(request_->host(), request_->method_text(), path_, &verdict);
  switch (verdict.kind) {
    case route::Verdict::Kind::kMount:
      return StartFile(verdict.mount, decoded.flags);
    case route::Verdict::Kind::kRoute:
    case route::Verdict::Kind::kAppDecides:
      return StartRoute(plan.routes[verdict.route], verdict);
    case route::Verdict::Kind::kMethodNotAllowed:
      break;
    case route::Verdict::Kind::kNotFound:
      if (plan.catch_all != nullptr) return StartRoute(plan.catch_all, verdict);
      if (plan.app_is_starting) return RefuseWith(503, "app_starting");
      as_fastapi_ = plan.as_fastapi;
      return RefuseWith(404, "no_route");
  }
  const auto& target = plan.routes[verdict.route];
  const bool of_app = target->config->source == config::Layer::kApp;
  if (of_app && plan.catch_all != nullptr) return StartRoute(target, verdict);
  stats_ = target->stats.get();
  as_fastapi_ = of_app;
  refusal_fields_ = "Allow: " + plan.router.Allow(request_->host(), path_) + "\r\n";
  return RefuseWith(405, "method");
}

Next Exchange::RefuseWith(uint16_t status, std::string_view cause) {
  refusal_ = status;
  cause_ = cause;
  return GoTo(State::kRefuse);
}

Next Exchange::Refuse() {
  HeadOptions options;
  options.status = refusal_;
  close_ = close_ || !SkipsBody();
  if (!request_complete_) {
    body_pending_.clear();
    // What is promised to be skipped is, whatever the route would have taken.
    if (!close_) body_bytes_max_ = kSkippedBodyMax;
    client_->SetBodyReading(true);
  }
  options.close = close_;
  const http::ErrorFormat format = http::ChooseErrorFormat(request_);
  const bool has_body = http::StatusHasBody(refusal_);
  // FastAPI's own 404 and 405 are JSON for everyone; other errors of its routes for who takes JSON.
  const bool as_json =
      as_fastapi_ && (refusal_ == 404 || refusal_ == 405 || format == http::ErrorFormat::kJson);
  const std::string_view body = has_body ? BodyOfRefusal(format, as_json) : std::string_view();
  http::OutputQueue& output = client_->output();
  AnswerHead head(*context_, *request_, options, output);
  head.Lines(refusal_fields_);
  if (has_body) {
    head.Field("Content-Type", as_json ? "application/json" : http::ContentTypeOf(format));
    head.Length(body.size());
  }
  if (refusal_ == 503) head.RetryAfter(retry_after_s_);
  EchoRequestId(head);
  head.Finish();
  if (has_body && request_->method() != http::Method::kHead) {
    output.Append(body);
    body_bytes_sent_ = body.size();
  }
  status_ = refusal_;
  head_written_ = true;
  return GoTo(State::kFinish);
}

std::string_view Exchange::BodyOfRefusal(http::ErrorFormat format, bool as_fastapi) {
  std::string& page = context_->scratch;
  page.clear();
  if (as_fastapi) {
    page.append(R"({"detail":")").append(http::ReasonPhrase(refusal_)).append("\"}");
    return page;
  }
  const std::string_view detail =
      context_->plan->snapshot->development ? cause_ : std::string_view();
  http::AppendErrorPage(format, refusal_, detail, request_id_, page);
  return page;
}

// Ids are made for what a worker answers; a client's own is always given back.
void Exchange::EchoRequestId(AnswerHead& head) {
  if (request_id_.empty()) {
    const auto given = request_->Find("x-request-id");
    if (!given.has_value() || given->size() > kRequestIdBytesMax) return;
    request_id_ = *given;
  }
  head.Field("X-Request-Id", request_id_);
}

void Exchange::EnsureRequestId() {
  const auto given = request_->Find("x-request-id");
  if (given.has_value() && !given->empty() && given->size() <= kRequestIdBytesMax) {
    request_id_ = *given;
    return;
  }
  static constexpr char kHex[] = "0123456789abcdef";
  uint64_t bits = context_->NextRandom();
  for (int i = 0; i < 16; ++i, bits >>= 4) request_id_ += kHex[bits & 15];
}

// What must outlive this turn is taken into own memory; views are made anew from it.
void Exchange::Hold() {
  if (request_->pinned()) return;
  const std::string_view raw = request_->path();
  const bool in_request = path_.data() >= raw.data() && path_.data() <= raw.data() + raw.size();
  request_->Pin();
  if (in_request) path_ = request_->path();
}

// Whether the rest of a body that nobody wants may be read and dropped, so that the connection
// lives on: it is known to be short, and its sender does not wait to be asked for it.
bool Exchange::SkipsBody() const {
  if (request_complete_) return true;
  if (request_->expect_continue()) return false;
  return request_->body_kind() == http::BodyKind::kLength
             ? request_->content_length() <= kSkippedBodyMax
             : body_bytes_max_ <= kSkippedBodyMax;
}

void Exchange::HoldUntilSent() {
  Hold();
  if (mount_ != nullptr && held_mount_ == nullptr) held_mount_ = mount_->shared_from_this();
  if (held_stats_ == nullptr) held_stats_ = stats_->shared_from_this();
}

bool Exchange::ReadAhead(const base::Ref<base::Owner>& entry, uint64_t offset, uint64_t bytes) {
  HoldUntilSent();
  const files::Waiter waiter{&context_->open_sink, ticket_.packed()};
  is_reading_ =
      mount_ != nullptr && mount_->ReadAhead(entry, offset, bytes, waiter, context_->index());
  return is_reading_;
}

void Exchange::BreakOff(uint64_t unsent, bool truncated) {
  body_bytes_sent_ -= std::min(unsent, body_bytes_sent_);
  (truncated ? broken_ : abandoned_) = true;
  if (truncated && cause_.empty()) cause_ = "file_changed";
  if (truncated && mount_ != nullptr) {
    mount_->stats().Add(context_->index(), files::Counter::kTruncated);
  }
}

void Exchange::OnRequestEnd() {
  request_complete_ = true;
  if (call_ != nullptr) ForwardPendingBody();
}

void Exchange::FailRequest(uint16_t status) {
  close_ = true;
  if (state_ == State::kFinish) return;
  CancelCall(worker::CancelCode::kClientGone);
  if (head_written_) {
    broken_ = true;
    state_ = State::kFinish;
    return;
  }
  RefuseWith(status, "request_body");
}

void Exchange::Abandon() {
  if (state_ != State::kFinish) {
    CancelCall(worker::CancelCode::kClientGone);
    abandoned_ = true;
    if (status_ == 0) status_ = 499;  // As nginx logs it: the client closed the request.
  }
  state_ = State::kFinish;
}

Outcome Exchange::Finish() {
  // By the clock of turns: what is answered in the turn it was asked in took none.
  const int64_t duration_us = context_->now().monotonic_us - started_us_;
  LeaveFill();
  Deadline::Unlink();
  if (FillDriver* driver = context_->fill_drivers.Find(driver_ticket_)) driver->LeaderLeft();
  if (status_ < 600) context_->stats.responses[status_].Add();
  context_->stats.duration.Observe(duration_us);
  stats_->Count(context_->index(), stats::MethodSlot(request_->method_text()), status_,
                duration_us);
  if (context_->access_log != nullptr) WriteLog(duration_us);
  const Outcome outcome = broken_  ? Outcome::kBroken
                          : close_ ? Outcome::kClose
                                   : Outcome::kKeepAlive;
  Reset();
  return outcome;
}

void Exchange::WriteLog(int64_t duration_us) {
  char buffer[stats::AccessLog::kLineBytesMax];
  stats::JsonLine line(buffer, sizeof(buffer));
  char time[40];
  line.Text("time", FormatLogTime(context_->now().wall_us, time));
  if (client_text_.empty()) client_text_ = FindOrigin(*request_, client_->facts()).client;
  line.Text("client", client_text_);
  line.Text("method", request_->method_text());
  line.Text("host", request_->authority());
  line.Text("target", request_->target());
  line.Number("status", status_);
  line.Number("bytes", static_cast<int64_t>(body_bytes_sent_));
  line.Seconds("duration", duration_us);
  line.Text("route", stats_->label());
  line.Text("served_by", ServedName(served_));
  if (why_ != cache::Forward::kNone) line.Text("cache", cache::ForwardName(why_));
  if (handler_us_ >= 0) line.Seconds("handler", handler_us_);
  if (!cause_.empty()) line.Text("cause", cause_);
  if (!detail_.empty()) line.Text("detail", detail_);
  if (broken_ || abandoned_) line.Text("end", broken_ ? "broken" : "client_closed");
  if (!request_id_.empty()) line.Text("request_id", request_id_);
  if (const auto agent = request_->Find(http::HeaderId::kUserAgent))
    line.Text("user_agent", *agent);
  if (!context_->access_log->Write(context_->index(), line.Finish())) {
    context_->stats.access_dropped.Add();
  }
}

void Exchange::Reset() {
  held_mount_.reset();
  held_stats_.reset();
  target_.reset();
  opened_ = {};
  opened_ready_ = is_fallback_ = false;
  page_status_ = 0;
  is_reading_ = false;
  rate_limit_ = 0;
  mount_ = nullptr;
  stats_ = nullptr;
  matched_ = awaits_continue_ = false;
  why_ = cache::Forward::kNone;
  driver_ticket_ = {};
  https_ = collapsed_ = tells_forward_ = false;
  body_pending_.clear();
  unconsumed_ = 0;
  handler_us_ = -1;
  refusal_fields_.clear();
  as_fastapi_ = false;
  retry_after_s_ = 1;
  status_ = 0;
  body_bytes_sent_ = 0;
  served_ = Served::kSidecar;
  cause_ = {};
  detail_.clear();
  request_id_.clear();
  client_text_.clear();
  head_written_ = sends_file_ = broken_ = abandoned_ = waits_for_output_ = false;
}

void LogRefusal(Context& context, const ClientFacts& facts, uint16_t status) {
  if (context.access_log == nullptr) return;
  char buffer[512];
  char time[40];
  stats::JsonLine line(buffer, sizeof(buffer));
  line.Text("time", FormatLogTime(context.now().wall_us, time));
  line.Text("client", facts.peer_text);
  line.Number("status", status);
  line.Text("served_by", "sidecar");
  line.Text("cause", status == 408 ? "header_timeout" : status == 503 ? "over_limit" : "malformed");
  if (!context.access_log->Write(context.index(), line.Finish())) {
    context.stats.access_dropped.Add();
  }
}

}  // namespace catzilla::exchange
