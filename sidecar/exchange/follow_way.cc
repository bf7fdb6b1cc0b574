#include "sidecar/exchange/follow_way.h"

#include <charconv>
#include <utility>

#include "sidecar/cache/validation.h"
#include "sidecar/exchange/exchange.h"
#include "sidecar/exchange/request_fields.h"
#include "sidecar/http/conditional.h"

namespace catzilla::exchange {

Next FollowWay::Join(const cache::CacheKey& key, const cache::Object* stale) {
  Context& context = exchange_.context();
  const RouteTarget& route = exchange_.route();
  cache::ObjectStore& store = *route.cache->store;
  const auto loop = static_cast<unsigned>(context.index());
  cache::Joined joined = store.Join(key, exchange_.request(), stale, route.record_policy,
                                    exchange_.ticket(), follower_, context.now().monotonic_us);
  fill_ = std::move(joined.fill);
  switch (joined.role) {
    case cache::Role::kAlone:
      store.Count(loop, cache::CacheResult::kBypass);
      return GoAlone();
    case cache::Role::kFollow:
      store.Count(loop, cache::CacheResult::kCollapsed);
      collapsed_ = true;
      context.wheel.Arm(*this, joined.deadline_us);
      return Next::kMore;
    case cache::Role::kLead:
      break;
  }
  store.Count(loop,
              joined.hit_for_miss ? cache::CacheResult::kHitForMiss : cache::CacheResult::kMiss);
  return Lead(std::move(joined.producer));
}

// The app is asked on behalf of everyone: without this client's conditions, with the cache's own.
Next FollowWay::Lead(cache::Producer producer) {
  FillDriver* driver = exchange_.context().fill_drivers.Take();
  driver_ = driver->ticket();
  driver->Begin(exchange_.context(), exchange_.request(), exchange_.facts(),
                exchange_.shared_route(), this);
  driver->SetProducer(std::move(producer));
  RequestFields fields(exchange_.request(),
                       [](http::HeaderId id) { return !cache::IsOwnCondition(id); });
  cache::Conditions conditions;
  if (const cache::Object* stale = driver->stale(); stale != nullptr) {
    conditions = cache::ConditionsFor(*stale);
    if (!conditions.if_none_match.empty()) fields.Add("if-none-match", conditions.if_none_match);
    if (!conditions.if_modified_since.empty()) {
      fields.Add("if-modified-since", conditions.if_modified_since);
    }
  }
  origin::RequestSpec spec;
  exchange_.Describe(&fields, &spec);
  origin::Failure failure;
  if (!driver->Start(spec, &failure)) OnFillFailure(failure);
  return Next::kMore;
}

void FollowWay::OnFillInformational(const origin::ResponseHead& informational) {
  exchange_.responder().Inform(informational);
  exchange_.client().WakeExchange();
}

void FollowWay::OnFillFailure(const origin::Failure& failure) {
  exchange_.record().detail = failure.cause;
  exchange_.client().WakeExchange();
}

// What we led is not to be shared.
origin::Observer& FollowWay::TakeOverCall(origin::Call* call) {
  return exchange_.TakeOver(call, std::exchange(driver_, {}));
}

void FollowWay::OnDeadline() {
  if (exchange_.responder().head_written()) return;
  exchange_.client().WakeExchange();
  GoAlone();
}

void FollowWay::Leave() {
  if (fill_) fill_->Leave(follower_);
  fill_ = nullptr;
  FillDriver* driver = exchange_.context().fill_drivers.Find(std::exchange(driver_, {}));
  if (driver != nullptr) driver->LeaderLeft();
}

// What the app answers us is this client's only.
Next FollowWay::GoAlone() { return exchange_.GoAlone(); }

Next FollowWay::Step() {
  if (!exchange_.responder().head_written()) {
    switch (fill_->Look(follower_)) {
      case cache::Fill::State::kPending:
        return Next::kWait;
      case cache::Fill::State::kReleased:
        return GoAlone();
      case cache::Fill::State::kFailed:
        return RefuseAsFailed();
      case cache::Fill::State::kObject:
        return ServeValidated();
      case cache::Fill::State::kStreaming:
      case cache::Fill::State::kComplete:
        break;
    }
    // The answer may be another variant than ours: ask anew.
    if (!fill_->Selects(exchange_.request())) return exchange_.LookUp();
    exchange_.context().wheel.Disarm(*this);
    if (!SendHead()) return exchange_.Answered();
  }
  return SendBody();
}

// Everyone who waited is told the same.
Next FollowWay::RefuseAsFailed() {
  const cache::FillFailure failure = fill_->failure();
  return exchange_.Refuse({failure.status, failure.cause, "", failure.retry_after_s});
}

Next FollowWay::ServeValidated() {
  const Context& context = exchange_.context();
  const base::Ref<cache::Object> object = fill_->object();
  cache::Forwarded forwarded;
  forwarded.why = exchange_.record().forward;
  forwarded.status = 304;
  forwarded.revalidated = true;
  forwarded.collapsed = collapsed_;
  forwarded.ttl_s = object->freshness().TtlUs(context.now().monotonic_us) / 1'000'000;
  exchange_.route().cache->store->Count(static_cast<unsigned>(context.index()),
                                        cache::CacheResult::kRevalidated);
  char lines[cache::kCacheLinesBytesMax];
  return exchange_.SendObject(*object, {lines, cache::WriteForwardLine(lines, forwarded)});
}

bool FollowWay::SendHead() {
  const Context& context = exchange_.context();
  const cache::Record& record = fill_->record();
  cache::Forwarded forwarded;
  forwarded.why = exchange_.record().forward;
  forwarded.status = record.status;
  forwarded.stored = record.storable;
  forwarded.collapsed = collapsed_;
  char extra[cache::kCacheLinesBytesMax + 40];
  size_t bytes = cache::WriteForwardLine(extra, forwarded);
  const http::Precondition judged =
      record.status == 200
          ? http::JudgePreconditions(exchange_.request(), {record.etag, record.last_modified_s},
                                     context.now().wall_s())
          : http::Precondition::kProceed;
  StoredHead head;
  if (judged == http::Precondition::kNotModified) {
    head.status = 304;
    head.line = "HTTP/1.1 304 Not Modified\r\n";
    head.fields = record.fields_304;
    head.extra = {extra, bytes};
    exchange_.responder().SendStored(head);
    return false;
  }
  // It has aged on its way here already (RFC 9111 section 5.1).
  const int64_t age_s = record.freshness.AgeUs(context.now().monotonic_us) / 1'000'000;
  if (age_s > 0) {
    http::ResponseWriter age(extra + bytes, sizeof(extra) - bytes);
    age.Field("Age", static_cast<uint64_t>(age_s));
    bytes += age.size();
  }
  head.status = static_cast<uint16_t>(record.status);
  head.line = record.status_line;
  head.fields = record.fields;
  head.extra = {extra, bytes};
  head.length = record.content_length;
  head.tells_length = true;
  exchange_.responder().SendStored(head);
  return true;
}

Next FollowWay::SendBody() {
  Responder& responder = exchange_.responder();
  cache::Fill::Piece pieces[8];
  cache::Fill::State state = cache::Fill::State::kStreaming;
  while (responder.Room()) {
    const size_t count = fill_->Read(follower_, pieces, &state);
    for (size_t i = 0; i < count; ++i) responder.Body(pieces[i].bytes, std::move(pieces[i].owner));
    if (count > 0) continue;
    if (state == cache::Fill::State::kStreaming) return Next::kWait;
    if (state == cache::Fill::State::kFailed) return exchange_.BreakOffAnswer("fill_failed");
    responder.EndBody();
    return exchange_.Answered();
  }
  return Next::kWait;
}

}  // namespace catzilla::exchange
