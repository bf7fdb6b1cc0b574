// What a hit costs: one lookup in a table of many entries, from one and from several threads.
#include <benchmark/benchmark.h>

#include <memory>

#include "sidecar/base/cache_table.h"

namespace catzilla::base {
namespace {

struct alignas(64) Entry final : Owner, CacheNode {
  explicit Entry(uint64_t k) : key(k) {}
  const uint64_t key;
};

uint64_t Mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

struct Filled {
  explicit Filled(uint64_t count) : table(domain, {.bytes_max = count * 1024}) {
    for (uint64_t key = 0; key < count; ++key) {
      table.Insert(Ref<Entry>::Make(key), Mix(key), 1024, [](const Entry&) { return false; });
    }
  }
  EpochDomain domain;
  CacheTable<Entry> table;
};

Filled& Shared(uint64_t count) {
  static Filled small(1000);
  static Filled large(200'000);
  return count == 1000 ? small : large;
}

void BM_Find(benchmark::State& state) {
  Filled& filled = Shared(static_cast<uint64_t>(state.range(0)));
  EpochDomain::Reader reader(filled.domain);
  const uint64_t count = static_cast<uint64_t>(state.range(0));
  uint64_t key = static_cast<uint64_t>(state.thread_index()) * 7919;
  uint64_t turn = 0;
  reader.Enter();
  for (auto _ : state) {
    key = (key + 104'729) % count;
    if (++turn % 16 == 0) reader.Enter();  // A loop's turn of sixteen requests.
    benchmark::DoNotOptimize(
        filled.table.Find(Mix(key), [&](const Entry& entry) { return entry.key == key; }));
  }
  reader.Leave();
}
BENCHMARK(BM_Find)->Arg(1000)->Arg(200'000)->ThreadRange(1, 2);

void BM_InsertEvict(benchmark::State& state) {
  Filled filled(10'000);
  uint64_t key = 1u << 20;
  for (auto _ : state) {
    ++key;
    filled.table.Insert(Ref<Entry>::Make(key), Mix(key), 1024, [](const Entry&) { return false; });
  }
}
BENCHMARK(BM_InsertEvict);

}  // namespace
}  // namespace catzilla::base
