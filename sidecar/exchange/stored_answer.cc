// What an exchange does with the edge cache: looks answers up, sends them, tells the cache of
// changes.
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/cache/cache_status.h"
#include "sidecar/cache/decide.h"
#include "sidecar/cache/validation.h"
#include "sidecar/exchange/exchange.h"
#include "sidecar/exchange/request_fields.h"
#include "sidecar/http/response_head.h"

namespace catzilla::exchange {

Next Exchange::LookUp() {
  const RouteTarget& route = *choice_.route;
  cache::ObjectStore& store = *route.cache->store;
  cache::CacheKey& key = context_->key;
  const cache::RequestView view{*request_, facts_.scheme(), facts_.key_host()};
  cache::BuildKey(view, route.key_policy, store.seed(), &key);
  bool variants = false;
  const cache::Object* object = store.Find(key, *request_, &variants);
  const cache::Judgement judgement =
      cache::Decide(*route.config, *request_, object != nullptr ? &object->freshness() : nullptr,
                    variants, context_->now().monotonic_us)
          .judgement;
  const auto loop = static_cast<unsigned>(context_->index());
  record_.forward = judgement.forward;
  switch (judgement.verdict) {
    case cache::Verdict::kServe: {
      CATZILLA_CHECK(object != nullptr, "an answer is to be served that is not stored");
      const bool stale = judgement.ttl_s < 0;
      store.Count(loop, stale ? cache::CacheResult::kStale : cache::CacheResult::kHit);
      char lines[cache::kCacheLinesBytesMax];
      const size_t bytes = cache::WriteHitLines(lines, judgement.age_s, judgement.ttl_s);
      return SendObject(*object, {lines, bytes});
    }
    case cache::Verdict::kOnlyIfCached:
      store.Count(loop, cache::CacheResult::kOnlyIfCached);
      return Refuse({504, "only_if_cached"});
    case cache::Verdict::kBypass:
      store.Count(loop, cache::CacheResult::kBypass);
      return GoAlone();
    case cache::Verdict::kMiss:
      return way_.emplace<FollowWay>(*this).Join(key, nullptr);
    case cache::Verdict::kRevalidate:
      return way_.emplace<FollowWay>(*this).Join(key, object);
  }
  return GoAlone();
}

Next Exchange::SendObject(const cache::Object& object, std::string_view cache_lines) {
  record_.served = Served::kCache;
  object.CountHit();
  const cache::Reply reply = cache::ReplyTo(*request_, object, context_->now().wall_s());
  char range[http::kContentRangeBytesMax];
  char line[256];
  http::ResponseWriter writer(line, sizeof(line));
  StoredHead head;
  head.extra = cache_lines;
  head.length = object.body_size();
  uint64_t first = 0;
  switch (reply.kind) {
    case cache::Reply::Kind::kUnsatisfiable:
      writer.Field("Content-Range",
                   {range, http::WriteUnsatisfiedRange(object.body_size(), range)});
      return Refuse({416, "", writer.bytes()});
    case cache::Reply::Kind::kFailed:
      return Refuse({412});
    case cache::Reply::Kind::kNotModified:
      head.status = 304;
      head.line = object.not_modified_head();
      break;
    case cache::Reply::Kind::kPartial:
      head.status = 206;
      head.length = reply.range.length;
      first = reply.range.first;
      writer.Status(206);
      writer.Field("Content-Range",
                   {range, http::WriteContentRange(reply.range, object.body_size(), range)});
      writer.Field("Content-Length", reply.range.length);
      head.line = writer.bytes();
      head.fields = object.fields();
      break;
    case cache::Reply::Kind::kWhole:
      head.status = static_cast<uint16_t>(object.status());
      head.line = object.head();
      break;
  }
  responder_.SendStored(head);
  if (head.status != 304) AppendObject(object, first, *head.length);
  return Answered();
}

void Exchange::AppendObject(const cache::Object& object, uint64_t first, uint64_t length) {
  for (const std::string_view piece : object.body()) {
    if (length == 0) return;
    if (first >= piece.size()) {
      first -= piece.size();
      continue;
    }
    const std::string_view part = piece.substr(first, length);
    first = 0;
    length -= part.size();
    responder_.Body(part, base::Ref<base::Owner>(const_cast<cache::Object*>(&object)));
  }
}

void Exchange::NoteAppHead(const origin::ResponseHead& response) {
  record_.handler_us = response.handler_us;
  InvalidateAfter(response);
}

bool Exchange::SendAppHead(const origin::ResponseHead& response) {
  record_.handler_us = response.handler_us;
  char lines[cache::kCacheLinesBytesMax];
  size_t bytes = 0;
  if (tells_forward_ && record_.forward != cache::Forward::kNone) {
    cache::Forwarded forwarded;
    forwarded.why = record_.forward;
    forwarded.status = response.status;
    bytes = cache::WriteForwardLine(lines, forwarded);
  }
  if (!responder_.SendApp(response, {lines, bytes})) return false;
  InvalidateAfter(response);
  return true;
}

// RFC 9111 section 4.4: what an unsafe request has changed is not served from the store any more.
// The route that changes it is seldom the one whose answers are kept: that is GET's.
void Exchange::InvalidateAfter(const origin::ResponseHead& response) {
  const Plan& plan = *context_->plan;
  if (plan.caches.empty() || http::IsSafe(request_->method()) || response.status >= 400) return;
  const cache::RequestView view{*request_, facts_.scheme(), facts_.key_host()};
  route::Verdict verdict;
  plan.router.Match(request_->host(), "GET", facts_.path(), &verdict);
  const RouteTarget* kept =
      verdict.kind == route::Verdict::Kind::kRoute ? plan.routes[verdict.route].get() : nullptr;
  for (const std::shared_ptr<const CacheTarget>& cache : plan.caches) {
    const bool own = kept != nullptr && kept->cache == cache;
    cache->store->Invalidate(view, {response.status, response.fields},
                             own ? kept->key_policy : cache->key_policy());
  }
}

}  // namespace catzilla::exchange
