// How many connections each client address has, over all loops. Whose address that is, and who is
// not counted, LoopServer decides.
//
// Threads: any. Limits: as many addresses as there are connections. Costs a lock per connection,
// not per request, and nothing at all while no cap is configured.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <unordered_map>

#include "sidecar/base/mutex.h"
#include "sidecar/loop/socket.h"

namespace catzilla::server {

// What the cap says of one more connection.
enum class ClientPlace : uint8_t { kUncounted, kCounted, kFull };

class ClientCounts {
 public:
  // kFull: `most` connections of this address are open. `most` 0 counts nothing.
  [[nodiscard]] ClientPlace TryAdd(const loop::PeerAddress& peer, uint32_t most) {
    if (most == 0 || !peer.is_ip) return ClientPlace::kUncounted;
    base::MutexLock lock(mutex_);
    uint32_t& count = counts_[KeyOf(peer)];
    if (count >= most) return ClientPlace::kFull;
    ++count;
    return ClientPlace::kCounted;
  }

  // For one that was kCounted.
  void Remove(const loop::PeerAddress& peer) {
    base::MutexLock lock(mutex_);
    const auto found = counts_.find(KeyOf(peer));
    if (found == counts_.end()) return;
    if (--found->second == 0) counts_.erase(found);
  }

 private:
  using Key = std::array<uint8_t, 16>;
  struct Hash {
    size_t operator()(const Key& key) const {
      uint64_t high = 0;
      uint64_t low = 0;
      std::memcpy(&high, key.data(), 8);
      std::memcpy(&low, key.data() + 8, 8);
      return (high ^ low) * 0x9e3779b97f4a7c15ull;
    }
  };
  static Key KeyOf(const loop::PeerAddress& peer) {
    Key key;
    std::memcpy(key.data(), peer.address, key.size());
    return key;
  }

  base::Mutex mutex_;
  std::unordered_map<Key, uint32_t, Hash> counts_ CATZILLA_GUARDED_BY(mutex_);
};

}  // namespace catzilla::server
