#include "sidecar/base/epoch.h"

#include <algorithm>
#include <array>

#include "sidecar/base/check.h"

namespace catzilla::base {

// Why it is safe. Retire(x) comes after x was unlinked; it stamps x with epoch t and moves the
// domain to t+1. A reader that enters later reads t+1 (acquire), hence sees the unlinking. A reader
// that entered before shows an epoch <= t and is waited for. One in between (it read t, but its
// store was not yet visible to our scan) has a full fence between that store and its first lookup,
// as we have between the unlinking and the scan: if we missed its store, it sees the unlinking.

EpochDomain::Reader::Reader(EpochDomain& domain) : domain_(domain) {
  MutexLock lock(domain_.mutex_);
  domain_.readers_.PushBack(*this);
}

EpochDomain::Reader::~Reader() {
  CATZILLA_CHECK(!inside(), "a reader dies inside its epoch");
  MutexLock lock(domain_.mutex_);
  Unlink();
}

EpochDomain::EpochDomain(EpochLimits limits) : limits_(limits) {}

EpochDomain::~EpochDomain() {
  {
    MutexLock lock(mutex_);
    CATZILLA_CHECK(readers_.empty(), "an epoch domain dies before its readers");
  }
  // A deleter may retire more.
  while (Reclaim() != 0) {
  }
}

void EpochDomain::Retire(void* object, Deleter deleter, size_t bytes) {
  pending_objects_.fetch_add(1, std::memory_order_relaxed);
  pending_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  retired_.fetch_add(1, std::memory_order_relaxed);
  MutexLock lock(mutex_);
  const uint64_t epoch = epoch_.fetch_add(1, std::memory_order_seq_cst);
  garbage_.push_back({object, deleter, bytes, epoch});
}

size_t EpochDomain::Reclaim() {
  size_t total = 0;
  // Batches on the stack: deleters run without the lock, and nothing is allocated.
  for (;;) {
    std::array<Retired, 64> batch;
    size_t count = 0;
    if (pending_objects_.load(std::memory_order_relaxed) == 0) return total;
    {
      MutexLock lock(mutex_);
      if (garbage_.empty()) return total;
      const uint64_t oldest = OldestReader();
      while (count < batch.size() && !garbage_.empty() && garbage_.front().epoch < oldest) {
        batch[count++] = garbage_.front();
        garbage_.pop_front();
      }
    }
    size_t bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      batch[i].deleter(batch[i].object);
      bytes += batch[i].bytes;
    }
    pending_objects_.fetch_sub(count, std::memory_order_relaxed);
    pending_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    reclaimed_.fetch_add(count, std::memory_order_relaxed);
    total += count;
    if (count < batch.size()) return total;
  }
}

uint64_t EpochDomain::OldestReader() {
#if !defined(__SANITIZE_THREAD__)
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
  uint64_t oldest = kQuiescent;
  readers_.ForEach([&](Reader& reader) {
    // Acquire: what the reader did before it left or moved on happened before we free.
    oldest = std::min(oldest, reader.epoch_.load(std::memory_order_seq_cst));
  });
  return oldest;
}

EpochStats EpochDomain::stats() const {
  EpochStats stats;
  stats.retired = retired_.load(std::memory_order_relaxed);
  stats.reclaimed = reclaimed_.load(std::memory_order_relaxed);
  stats.pending_objects = pending_objects_.load(std::memory_order_relaxed);
  stats.pending_bytes = pending_bytes_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace catzilla::base
