// The way through the edge cache: a stored answer, a fill to lead or to follow, or past it.
#include <algorithm>
#include <cstring>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/cache/cache_status.h"
#include "sidecar/cache/validation.h"
#include "sidecar/exchange/exchange.h"
#include "sidecar/exchange/fill_driver.h"
#include "sidecar/exchange/origin.h"
#include "sidecar/exchange/request_fields.h"

namespace catzilla::exchange {
namespace {

// Whether a head, or its lines, has a field of this name (in lower case).
bool HasLine(std::string_view head, std::string_view lower_name) {
  for (size_t begin = 0; begin < head.size();) {
    const std::string_view line = head.substr(begin);
    if (line.size() > lower_name.size() && line[lower_name.size()] == ':' &&
        http::EqualsLower(line.substr(0, lower_name.size()), lower_name)) {
      return true;
    }
    const size_t end = line.find('\n');
    if (end == std::string_view::npos) return false;
    begin += end + 1;
  }
  return false;
}

}  // namespace

// Host as in a key: lower case, with its port unless that is the scheme's own.
std::string Exchange::KeyHost() const {
  std::string host(request_->host());
  const uint16_t own = https_ ? 443 : 80;
  if (request_->port() != 0 && request_->port() != own) {
    host += ":" + std::to_string(request_->port());
  }
  return host;
}

Next Exchange::Lookup() {
  cache::ObjectStore& store = *target_->cache->store;
  https_ = FindOrigin(*request_, client_->facts()).https;
  key_host_ = KeyHost();
  const cache::RequestView view{*request_, https_ ? "https" : "http", key_host_};
  const cache::RequestFacts facts = cache::RequestFacts::Of(*request_);
  cache::BuildKey(view, target_->key_policy, store.seed(), &key_);
  bool variants = false;
  const cache::Object* object = store.Find(key_, *request_, &variants);
  cache::Judgement judgement = cache::Judge(object != nullptr ? &object->freshness() : nullptr,
                                            facts, context_->now().monotonic_us, variants);
  // A body on a request that may be cached would reach the app for one client and answer another.
  if (request_->has_body() && facts.is_safe) {
    judgement.verdict = cache::Verdict::kBypass;
    judgement.forward = cache::Forward::kBypass;
  }
  // What a route keeps by its own TTL may have been made for the client whose cookies came along.
  const config::Route& route = *target_->config;
  const bool own_ttl = route.cache_ttl_us >= 0 && !route.cache_ignores_cookies;
  if (own_ttl && request_->Has(http::HeaderId::kCookie)) {
    judgement.verdict = cache::Verdict::kBypass;
    judgement.forward = cache::Forward::kBypass;
  }
  const auto loop = static_cast<unsigned>(context_->index());
  why_ = judgement.forward;
  switch (judgement.verdict) {
    case cache::Verdict::kServe: {
      CATZILLA_CHECK(object != nullptr, "an answer is to be served that is not stored");
      const bool stale = judgement.ttl_s < 0;
      store.Count(loop, stale ? cache::CacheResult::kStale : cache::CacheResult::kHit);
      char lines[cache::kCacheLinesBytesMax];
      const size_t bytes = cache::WriteHitLines(lines, judgement.age_s, judgement.ttl_s);
      return ServeObject(*object, {lines, bytes});
    }
    case cache::Verdict::kOnlyIfCached:
      store.Count(loop, cache::CacheResult::kOnlyIfCached);
      return RefuseWith(504, "only_if_cached");
    case cache::Verdict::kBypass:
      store.Count(loop, cache::CacheResult::kBypass);
      return ForwardAlone();
    case cache::Verdict::kMiss:
      return Join(nullptr);
    case cache::Verdict::kRevalidate:
      return Join(object);
  }
  return ForwardAlone();
}

// To the worker directly: what it answers is this client's only, and says so.
Next Exchange::ForwardAlone() {
  tells_forward_ = true;
  return GoTo(State::kForward);
}

Next Exchange::Join(const cache::Object* stale) {
  cache::ObjectStore& store = *target_->cache->store;
  const auto loop = static_cast<unsigned>(context_->index());
  const cache::Ticket ticket{loop, ticket_.slot, ticket_.epoch};
  cache::Joined joined = store.Join(key_, *request_, stale, target_->record_policy, ticket,
                                    follower_, context_->now().monotonic_us);
  fill_ = std::move(joined.fill);
  switch (joined.role) {
    case cache::Role::kAlone:
      store.Count(loop, cache::CacheResult::kBypass);
      return ForwardAlone();
    case cache::Role::kFollow:
      store.Count(loop, cache::CacheResult::kCollapsed);
      collapsed_ = true;
      Hold();
      context_->wheel.Arm(*this, joined.deadline_us);
      state_ = State::kFollow;
      return Next::kMore;
    case cache::Role::kLead:
      break;
  }
  store.Count(loop,
              joined.hit_for_miss ? cache::CacheResult::kHitForMiss : cache::CacheResult::kMiss);
  return Lead(std::move(joined.producer));
}

Next Exchange::Lead(cache::Producer producer) {
  FillDriver* driver = context_->fill_drivers.Take();
  driver_ticket_ = driver->ticket();
  driver->Begin(*context_, *request_, https_, key_host_, target_, this);
  driver->SetProducer(std::move(producer));
  EnsureRequestId();
  // The app is asked on behalf of everyone: without this client's conditions, with the cache's own.
  RequestFields fields(*request_, [](http::HeaderId id) { return !cache::IsOwnCondition(id); });
  cache::Conditions conditions;
  if (const cache::Object* stale = driver->stale(); stale != nullptr) {
    conditions = cache::ConditionsFor(*stale);
    if (!conditions.if_none_match.empty()) fields.Add("if-none-match", conditions.if_none_match);
    if (!conditions.if_modified_since.empty()) {
      fields.Add("if-modified-since", conditions.if_modified_since);
    }
  }
  if (!request_->Find("x-request-id").has_value()) fields.Add("x-request-id", request_id_);
  worker::RequestSpec spec;
  DescribeRequest(&fields, &spec);
  worker::CallFailure failure;
  served_ = Served::kWorker;
  Hold();
  state_ = State::kFollow;
  if (!driver->Start(spec, &failure)) OnFillFailure(failure);
  return Next::kMore;
}

void Exchange::OnFillFailure(const worker::CallFailure& failure) {
  cause_ = worker::FailureName(failure.kind);
  detail_ = failure.cause;
  client_->WakeExchange();
}

// What we led is not to be shared: from here this is an exchange with a call of its own.
worker::CallObserver& Exchange::TakeOverCall(worker::Call* call) {
  LeaveFill();
  call_ = call;
  tells_forward_ = true;
  state_ = State::kStream;
  return *this;
}

void Exchange::OnFillMoved() { client_->WakeExchange(); }

// The fill took too long for one who only follows.
void Exchange::OnDeadline() {
  if (state_ != State::kFollow || head_written_) return;
  LeaveFill();
  state_ = State::kForward;
  tells_forward_ = true;
  client_->WakeExchange();
}

void Exchange::LeaveFill() {
  if (fill_) fill_->Leave(follower_);
  fill_ = nullptr;
  context_->wheel.Disarm(*this);
}

Next Exchange::Follow() {
  if (!fill_) return Next::kWait;  // The call is ours now.
  if (!head_written_) {
    const cache::Fill::State state = fill_->Look(follower_);
    switch (state) {
      case cache::Fill::State::kPending:
        return Next::kWait;
      case cache::Fill::State::kReleased:
        LeaveFill();
        return ForwardAlone();
      case cache::Fill::State::kFailed:
        return RefuseAsFailed();
      case cache::Fill::State::kObject:
        return ServeValidated();
      case cache::Fill::State::kStreaming:
      case cache::Fill::State::kComplete:
        break;
    }
    if (!fill_->Selects(*request_)) {
      // The answer is another variant than ours: ask anew.
      LeaveFill();
      return GoTo(State::kLookup);
    }
    context_->wheel.Disarm(*this);
    if (!WriteFillHead()) return GoTo(State::kFinish);
  }
  return FollowBody();
}

// Everyone who waited is told the same.
Next Exchange::RefuseAsFailed() {
  const cache::FillFailure failure = fill_->failure();
  LeaveFill();
  retry_after_s_ = failure.retry_after_s;
  return RefuseWith(failure.status, cause_.empty() ? "fill_failed" : cause_);
}

Next Exchange::ServeValidated() {
  const base::Ref<cache::Object> object = fill_->object();
  LeaveFill();
  cache::Forwarded forwarded;
  forwarded.why = why_;
  forwarded.status = 304;
  forwarded.revalidated = true;
  forwarded.collapsed = collapsed_;
  forwarded.ttl_s = object->freshness().TtlUs(context_->now().monotonic_us) / 1'000'000;
  target_->cache->store->Count(static_cast<unsigned>(context_->index()),
                               cache::CacheResult::kRevalidated);
  char lines[cache::kCacheLinesBytesMax];
  return ServeObject(*object, {lines, cache::WriteForwardLine(lines, forwarded)});
}

// False: the answer is complete with its head.
bool Exchange::WriteFillHead() {
  const cache::Record& record = fill_->record();
  cache::Forwarded forwarded;
  forwarded.why = why_;
  forwarded.status = record.status;
  forwarded.stored = record.storable;
  forwarded.collapsed = collapsed_;
  char lines[cache::kCacheLinesBytesMax];
  const std::string_view cache_lines(lines, cache::WriteForwardLine(lines, forwarded));
  const http::Precondition judged =
      record.status == 200
          ? http::JudgePreconditions(*request_, {record.etag, record.last_modified_s},
                                     context_->now().wall_s())
          : http::Precondition::kProceed;
  if (judged == http::Precondition::kNotModified) {
    WriteRawHead("HTTP/1.1 304 Not Modified\r\n", record.fields_304, cache_lines);
    status_ = 304;
    LeaveFill();
    return false;
  }
  const bool known = record.content_length.has_value();
  framing_ = http::FramingOf(request_->method(), request_->minor_version(),
                             static_cast<uint16_t>(record.status), known);
  if (framing_ == http::ResponseFraming::kClose) close_ = true;
  body_left_ = record.content_length.value_or(UINT64_MAX);
  std::string extra(cache_lines);
  // It has aged on its way here already (RFC 9111 section 5.1).
  const int64_t age_s = record.freshness.AgeUs(context_->now().monotonic_us) / 1'000'000;
  if (age_s > 0) extra += "Age: " + std::to_string(age_s) + "\r\n";
  if (known) extra += "Content-Length: " + std::to_string(*record.content_length) + "\r\n";
  if (framing_ == http::ResponseFraming::kChunked) extra += "Transfer-Encoding: chunked\r\n";
  WriteRawHead(record.status_line, record.fields, extra);
  status_ = static_cast<uint16_t>(record.status);
  return true;
}

Next Exchange::FollowBody() {
  http::OutputQueue& output = client_->output();
  cache::Fill::Piece pieces[8];
  cache::Fill::State state = cache::Fill::State::kStreaming;
  while (output.pending_bytes() < kOutputMark) {
    const size_t count = fill_->Read(follower_, pieces, &state);
    for (size_t i = 0; i < count; ++i) AppendPiece(pieces[i].bytes, std::move(pieces[i].owner));
    if (count > 0) continue;
    waits_for_output_ = false;
    if (state == cache::Fill::State::kStreaming) return Next::kWait;
    if (state == cache::Fill::State::kFailed) {
      broken_ = true;
      cause_ = "fill_failed";
    } else {
      EndBody();
    }
    LeaveFill();
    return GoTo(State::kFinish);
  }
  waits_for_output_ = true;
  return Next::kWait;
}

void Exchange::AppendPiece(std::string_view bytes, base::Ref<base::Owner> owner) {
  if (framing_ == http::ResponseFraming::kNone || bytes.empty()) return;
  bytes = CutToLength(bytes);
  if (bytes.empty()) return;
  http::OutputQueue& output = client_->output();
  const bool chunked = framing_ == http::ResponseFraming::kChunked;
  if (chunked) {
    char* room = output.Reserve(http::kChunkHeadBytesMax);
    output.Commit(http::WriteChunkHead(bytes.size(), room));
  }
  output.AppendShared(bytes, std::move(owner));
  if (chunked) output.Append(http::kChunkEnd);
  body_bytes_sent_ += bytes.size();
}

// A head made elsewhere, our lines behind it, and what the connection must say.
void Exchange::WriteRawHead(std::string_view line, std::string_view fields,
                            std::string_view extra) {
  http::OutputQueue& output = client_->output();
  close_ = close_ || !request_complete_;
  char own[512];
  const size_t own_bytes = CachedFields(fields.empty() ? line : fields, own, sizeof(own));
  output.Append(line);
  output.Append(fields);
  output.Append(extra);
  output.Append({own, own_bytes});
  output.Append("\r\n");
  head_written_ = true;
}

// What an answer says that was not made for this client alone: as any other of ours it names the
// server and the request, unless the app has done so itself.
size_t Exchange::CachedFields(std::string_view fields, char* out, size_t bytes_max) {
  http::ResponseWriter writer(out, bytes_max);
  writer.Connection(!close_, request_->minor_version());
  const std::string& server = context_->plan->snapshot->server_name;
  if (!server.empty() && !HasLine(fields, "server")) writer.Field("Server", server);
  if (request_id_.empty()) EnsureRequestId();
  if (!HasLine(fields, "x-request-id")) writer.Field("X-Request-Id", request_id_);
  return writer.size();
}

Next Exchange::ServeObject(const cache::Object& object, std::string_view cache_lines) {
  served_ = Served::kCache;
  const cache::Reply reply = cache::ReplyTo(*request_, object, context_->now().wall_s());
  const bool head_only = request_->method() == http::Method::kHead;
  switch (reply.kind) {
    case cache::Reply::Kind::kUnsatisfiable: {
      char range[http::kContentRangeBytesMax];
      refusal_fields_ = "Content-Range: ";
      refusal_fields_.append(range, http::WriteUnsatisfiedRange(object.body_size(), range));
      refusal_fields_ += "\r\n";
      return RefuseWith(416, "");
    }
    case cache::Reply::Kind::kFailed:
      return RefuseWith(412, "");
    case cache::Reply::Kind::kNotModified:
      WriteRawHead(object.not_modified_head(), "", cache_lines);
      status_ = 304;
      return GoTo(State::kFinish);
    case cache::Reply::Kind::kPartial: {
      char range[http::kContentRangeBytesMax];
      std::string line = "HTTP/1.1 206 Partial Content\r\nContent-Range: ";
      line.append(range, http::WriteContentRange(reply.range, object.body_size(), range));
      line += "\r\nContent-Length: " + std::to_string(reply.range.length) + "\r\n";
      WriteRawHead(line, object.fields(), cache_lines);
      status_ = 206;
      if (!head_only) AppendObject(object, reply.range.first, reply.range.length);
      return GoTo(State::kFinish);
    }
    case cache::Reply::Kind::kWhole:
      WriteRawHead(object.head(), "", cache_lines);
      status_ = static_cast<uint16_t>(object.status());
      if (!head_only) AppendObject(object, 0, object.body_size());
      return GoTo(State::kFinish);
  }
  return GoTo(State::kFinish);
}

void Exchange::AppendObject(const cache::Object& object, uint64_t first, uint64_t length) {
  http::OutputQueue& output = client_->output();
  for (const std::string_view piece : object.body()) {
    if (first >= piece.size()) {
      first -= piece.size();
      continue;
    }
    const std::string_view part = piece.substr(first, length);
    first = 0;
    length -= part.size();
    body_bytes_sent_ += part.size();
    output.AppendShared(part, base::Ref<base::Owner>(const_cast<cache::Object*>(&object)));
    if (length == 0) return;
  }
}

// RFC 9111 section 4.4: what an unsafe request has changed is not served from the store any more.
// The route that changes it is seldom the one whose answers are kept: that is GET's.
void Exchange::InvalidateAfter(const worker::ResponseHead& response) {
  const Plan& plan = *context_->plan;
  if (plan.caches.empty() || http::IsSafe(request_->method()) || response.status >= 400) return;
  https_ = FindOrigin(*request_, client_->facts()).https;
  key_host_ = KeyHost();
  const cache::RequestView view{*request_, https_ ? "https" : "http", key_host_};
  std::vector<cache::Field> fields;
  for (const worker::Field& field : response.fields) fields.push_back({field.name, field.value});
  route::Verdict verdict;
  plan.router.Match(request_->host(), "GET", path_, &verdict);
  const RouteTarget* kept =
      verdict.kind == route::Verdict::Kind::kRoute ? plan.routes[verdict.route].get() : nullptr;
  for (const std::shared_ptr<const CacheTarget>& cache : plan.caches) {
    const bool own = kept != nullptr && kept->cache == cache;
    cache->store->Invalidate(view, {response.status, fields},
                             own ? kept->key_policy : cache->key_policy());
  }
}

}  // namespace catzilla::exchange
