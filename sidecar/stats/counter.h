// Counters and histograms with one writer.
//
// Threads: one thread adds (the loop that owns the block), any thread reads. Readers may see a
//          block between two additions, never a torn number.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace catzilla::stats {

class Counter {
 public:
  void Add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// A number that goes up and down, set from the owner's state once per turn.
class Gauge {
 public:
  void Set(uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  void Add(int64_t change) { Set(value() + static_cast<uint64_t>(change)); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Durations in seconds, from half a millisecond to ten seconds.
inline constexpr std::array<double, 14> kDurationBounds = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0};

class DurationHistogram {
 public:
  void Observe(int64_t duration_us) {
    size_t bucket = 0;
    while (bucket < kBoundsUs.size() && duration_us > kBoundsUs[bucket]) ++bucket;
    buckets_[bucket].Add();
    sum_us_.Add(static_cast<uint64_t>(duration_us < 0 ? 0 : duration_us));
  }
  // Not cumulative; the last bucket is everything above the highest bound.
  uint64_t bucket(size_t index) const { return buckets_[index].value(); }
  uint64_t sum_us() const { return sum_us_.value(); }

  static constexpr size_t kBuckets = kDurationBounds.size() + 1;

 private:
  static constexpr std::array<int64_t, kDurationBounds.size()> kBoundsUs = [] {
    std::array<int64_t, kDurationBounds.size()> bounds{};
    for (size_t i = 0; i < bounds.size(); ++i) {
      bounds[i] = static_cast<int64_t>(kDurationBounds[i] * 1e6);
    }
    return bounds;
  }();
  std::array<Counter, kBuckets> buckets_;
  Counter sum_us_;
};

}  // namespace catzilla::stats
