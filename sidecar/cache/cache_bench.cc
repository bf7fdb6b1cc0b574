// What the cache adds to a request: a hit from key to head, and its parts.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <string>

#include "sidecar/cache/cache_status.h"
#include "sidecar/cache/store.h"
#include "sidecar/cache/validation.h"
#include "sidecar/http/testing.h"

namespace catzilla::cache {
namespace {

class NoWaker final : public Waker {
 public:
  void Wake(base::Ticket) override {}
};

config::Cache Policy() {
  config::Cache policy;
  policy.memory_bytes_max = 256u << 20;
  return policy;
}

struct Filled {
  explicit Filled(int count) : store(domain, waker, {1, 2}, Policy()) {
    for (int i = 0; i < count; ++i) Put(i);
  }
  std::unique_ptr<http::HeadBuffer> Head(int i) {
    return http::ParseLinesForTest(
        "GET /items/" + std::to_string(i) + "?page=1&sort=name",
        {"User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0",
         "Accept: text/html,application/xhtml+xml", "Accept-Encoding: gzip, deflate, br",
         "Accept-Language: en-US,en;q=0.5", "Connection: keep-alive"});
  }
  void Put(int i) {
    const auto head = Head(i);
    const RequestView view{head->head(), "http", "test"};
    CacheKey key;
    BuildKey(view, {}, store.seed(), &key);
    Follower follower;
    Joined joined = store.Join(key, head->head(), nullptr, {}, {}, follower, 1);
    const Field fields[] = {{"Content-Type", "application/json"},
                            {"Cache-Control", "max-age=3600"},
                            {"Vary", "Accept-Encoding"},
                            {"ETag", "\"0123456789abcdef\""}};
    if (joined.producer.Begin(view, {200, fields}, {1, 1, 1'000'000'000}) ==
        Producer::Begun::kShared) {
      if (joined.producer.Append(std::string(1024, 'x'))) joined.producer.Finish();
    }
    joined.fill->Leave(follower);
  }
  NoWaker waker;
  base::EpochDomain domain;
  ObjectStore store;
};

void BM_Hit(benchmark::State& state) {
  Filled filled(static_cast<int>(state.range(0)));
  base::EpochDomain::Reader reader(filled.domain);
  std::vector<std::unique_ptr<http::HeadBuffer>> heads;
  for (int i = 0; i < 256; ++i)
    heads.push_back(filled.Head(i * static_cast<int>(state.range(0)) / 256));
  CacheKey key;
  char out[4096];
  size_t turn = 0;
  for (auto _ : state) {
    const http::RequestHead& head = heads[turn++ % heads.size()]->head();
    reader.Enter();
    BuildKey({head, "http", "test"}, {}, filled.store.seed(), &key);
    const Object* object = filled.store.Find(key, head, nullptr);
    const Judgement judgement = Judge(&object->freshness(), RequestFacts::Of(head), 1'000'000);
    benchmark::DoNotOptimize(ReplyTo(head, *object, 1'000'000'000));
    std::memcpy(out, object->head().data(), object->head().size());
    size_t size = object->head().size();
    size += WriteHitLines(out + size, judgement.age_s, judgement.ttl_s);
    std::memcpy(out + size, object->body()[0].data(), object->body()[0].size());
    filled.store.Count(0, CacheResult::kHit);
    benchmark::DoNotOptimize(out);
    reader.Leave();
  }
}
BENCHMARK(BM_Hit)->Arg(256)->Arg(50'000);

void BM_Key(benchmark::State& state) {
  Filled filled(0);
  const auto head = filled.Head(1);
  CacheKey key;
  for (auto _ : state) {
    BuildKey({head->head(), "http", "test"}, {}, filled.store.seed(), &key);
    benchmark::DoNotOptimize(key.hash);
  }
}
BENCHMARK(BM_Key);

void BM_FillOf1KiB(benchmark::State& state) {
  Filled filled(0);
  int i = 0;
  for (auto _ : state) filled.Put(i++);
}
BENCHMARK(BM_FillOf1KiB);

}  // namespace
}  // namespace catzilla::cache
