// One answer on its way into the store, read by everyone who waits for it.
//
//   kPending --Begin(storable)--> kStreaming --Finish()--> kComplete
//      |  \--Begin(not storable), Release()--> kReleased  \--Abort()--> kFailed
//      |--NotModified()--> kObject
//      \--Abort()--> kFailed
//
// A fill belongs to the store, not to the client that caused it. Its producer (the exchange that
// asks the app) appends; followers, the first client among them, read at their own speed from the
// same segments. The app is never slowed by a follower until the answer outgrows what may be kept;
// from there the fill is a window that moves with its slowest follower, nothing of it is kept, and
// newcomers ask alone.
//
// Threads: a Follower belongs to one loop, a Producer to one at a time; the fill joins them under
//          its mutex, which is held to link segments and to move positions, never while bytes are
//          copied.
// Owns:    its segments. Followers and Producer are members of their exchanges.
// Limits:  object_bytes_max, then kWindowBytes from the segment on that the slowest follower reads.
// Fails:   kFailed, when the producer aborts, goes away, or delivers another length than it
//          declared: a follower that sent no byte may say 502, others cut their answer. Nothing is
//          stored.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/intrusive_list.h"
#include "sidecar/base/mutex.h"
#include "sidecar/base/ref.h"
#include "sidecar/base/ticket.h"
#include "sidecar/cache/key.h"
#include "sidecar/cache/object.h"
#include "sidecar/cache/record.h"

namespace catzilla::cache {

class ObjectStore;
class Fill;

// Posts a wake-up to another loop. Called under a fill's mutex from any thread: it must not block
// for long and must not call into the cache.
class Waker {
 public:
  virtual void Wake(base::Ticket ticket) = 0;

 protected:
  ~Waker() = default;
};

// What a client is told when there will be no answer.
struct FillFailure {
  uint16_t status = 502;
  uint32_t retry_after_s = 1;              // For a 503.
  std::string_view cause = "fill_failed";  // For the log; a literal.
};

// An exchange's place in a fill; a member of it. Leave the fill before it dies.
class Follower : private base::ListNode<Fill> {
 public:
  Follower() = default;
  ~Follower();  // REQUIRES: !following()
  bool following() const { return fill_ != nullptr; }

 private:
  friend class Fill;
  template <typename T, typename U>
  friend class base::List;
  // Guarded by the fill's mutex.
  Fill* fill_ = nullptr;
  base::Ticket ticket_;
  uint64_t position_ = 0;  // Bytes taken.
  uint64_t segment_ = 0;   // Number of the segment it is in, counted from the fill's first.
  size_t segment_offset_ = 0;
};

class Fill final : public base::Owner {
 public:
  static constexpr size_t kWindowBytes = 256 * 1024;
  static_assert(kWindowBytes > 2 * kSegmentBytesMax, "who has read everything still gets room");

  enum class State : uint8_t {
    kPending,    // No head yet. Wait.
    kStreaming,  // record() is there; Read() what has come.
    kComplete,   // All bytes are there: the answer ends when Read() gives nothing more.
    kObject,     // Validated: serve object().
    kReleased,   // Not to be shared: go to the app alone.
    kFailed,
  };

  struct Piece {
    std::string_view bytes;
    base::Ref<Segment> owner;
  };

  // Followers...

  // The state now; the follower will be woken when it changes or bytes come.
  State Look(Follower& follower);

  // Takes the next bytes, as references; returns how many pieces. 0: nothing now (woken later) or,
  // when `*state` is kComplete, ever. REQUIRES: following.
  size_t Read(Follower& follower, std::span<Piece> pieces, State* state);

  // Status line, fields, declared length and vary of the answer. REQUIRES: Look() or Read() said
  // kStreaming or kComplete.
  const Record& record() const { return record_; }
  // REQUIRES: Look() said kObject.
  base::Ref<Object> object() const;

  // Why there is none, for all who wait. REQUIRES: Look() or Read() said kFailed.
  FillFailure failure() const;

  // Whether the answer is this request's variant; if not, Leave() and ask again. REQUIRES: as
  // record().
  bool Selects(const http::RequestHead& request) const {
    return MatchesVary(record_.vary, request);
  }

  // Idempotent. The last one to leave a fill that will not be stored makes the producer stop.
  void Leave(Follower& follower);

  const CacheKey& key() const { return key_; }
  int64_t started_us() const { return started_us_; }
  size_t follower_count() const;

 private:
  friend class ObjectStore;
  friend class Producer;

  struct Slot {
    base::Ref<Segment> segment;
    size_t size = 0;       // Published bytes.
    size_t followers = 0;  // That are in it: the first slot with any is the slowest one's.
  };

  Fill(ObjectStore& store, const CacheKey& key, RecordPolicy policy, base::Ref<Object> stale,
       base::Ticket producer, int64_t started_us);
  ~Fill() override;

  enum class Tagged : uint8_t { kNo, kYes, kUnknown };

  // Whether a newcomer may wait for this one: it has not stood still for too long, before its head
  // or after it, validates the same object, and is the newcomer's variant as far as is known.
  bool Admits(const http::RequestHead& request, const Object* stale, int64_t moved_after_us);
  Tagged HasTag(std::string_view tag);
  void Follow(Follower& follower, base::Ticket ticket);
  void Arm(Follower& follower, bool armed) CATZILLA_REQUIRES(mutex_);
  void WakeFollowers() CATZILLA_REQUIRES(mutex_);
  void SetState(State state);
  bool WantedLocked() CATZILLA_REQUIRES(mutex_);
  size_t RoomLocked() CATZILLA_REQUIRES(mutex_);
  // Overflowed: drops what every follower has taken.
  void TrimLocked() CATZILLA_REQUIRES(mutex_);
  base::Ref<Body> TakeBody();
  size_t Write(std::string_view bytes, uint64_t total);

  // Constant after construction.
  ObjectStore& store_;
  const CacheKey key_;
  const RecordPolicy policy_;
  const base::Ref<Object> stale_;  // Validated by this fill, or null.
  const int64_t started_us_;

  // Written once, before the state says kStreaming.
  Record record_;

  // Touched by the producer only: the segment that is being written.
  base::Ref<Segment> tail_;
  size_t tail_used_ = 0;

  mutable base::Mutex mutex_;
  State state_ CATZILLA_GUARDED_BY(mutex_) = State::kPending;
  // Every follower is in one of the two: wants a wake-up at the next change, or is about to look.
  base::List<Follower, Fill> armed_ CATZILLA_GUARDED_BY(mutex_);
  base::List<Follower, Fill> busy_ CATZILLA_GUARDED_BY(mutex_);
  size_t follower_count_ CATZILLA_GUARDED_BY(mutex_) = 0;
  std::deque<Slot> slots_ CATZILLA_GUARDED_BY(mutex_);
  uint64_t first_slot_ CATZILLA_GUARDED_BY(mutex_) = 0;  // Number of slots_.front().
  uint64_t dropped_bytes_ CATZILLA_GUARDED_BY(mutex_) = 0;
  uint64_t bytes_ CATZILLA_GUARDED_BY(mutex_) = 0;
  size_t charge_ CATZILLA_GUARDED_BY(mutex_) = 0;
  bool keep_ CATZILLA_GUARDED_BY(mutex_) = false;  // Will be stored if it ends well.
  int64_t moved_us_ CATZILLA_GUARDED_BY(mutex_);   // When the last of it came.
  bool overflowed_ CATZILLA_GUARDED_BY(mutex_) = false;
  bool producer_waits_ CATZILLA_GUARDED_BY(mutex_) = false;
  base::Ticket producer_ CATZILLA_GUARDED_BY(mutex_);
  base::Ref<Object> object_ CATZILLA_GUARDED_BY(mutex_);
  FillFailure failure_ CATZILLA_GUARDED_BY(mutex_);

  // Guarded by the store's shard of fills.
  bool listed_ = false;
  bool shared_ = true;                    // Newcomers may follow.
  bool purged_ = false;                   // Its answer will not be kept.
  std::vector<std::string> purged_tags_;  // Nor if it has one of these.
};

// The writing end of a fill: held by the exchange that asks the app. Destroying it aborts.
class Producer {
 public:
  enum class Begun : uint8_t {
    kShared,  // Append() the body; your own client reads it as a follower, like all others.
    kAlone,   // Not to be kept: send it to your own client; the others have been released.
  };

  Producer() = default;
  explicit Producer(base::Ref<Fill> fill) : fill_(std::move(fill)) {}
  Producer(Producer&& other) noexcept = default;
  Producer& operator=(Producer&& other) noexcept {
    if (this != &other) {
      Abort();
      fill_ = std::move(other.fill_);
    }
    return *this;
  }
  ~Producer() { Abort(); }

  bool active() const { return static_cast<bool>(fill_); }
  // Whom to wake instead of the one that joined: whoever asks the app may outlive that client.
  void SetTicket(base::Ticket ticket);
  // The stored object that the app may confirm, or null.
  const Object* stale() const { return fill_ ? fill_->stale_.get() : nullptr; }

  // The app's final head has come.
  Begun Begin(const RequestView& request, const ResponseView& response, const ExchangeTimes& times);

  // The app said 304 to our validators: freshens the stored object; all followers see kObject,
  // whose object is also returned. Null when it cannot be freshened (its variant differs, no
  // memory): followers are released. REQUIRES: stale() is there, Begin() was not called.
  base::Ref<Object> NotModified(const RequestView& request, const ResponseView& response,
                                const ExchangeTimes& times);

  // How many bytes may be appended now; 0: our ticket is woken when there is room. Only what has
  // outgrown the cache ever waits.
  size_t Room();
  // REQUIRES: Begin() said kShared. False: nobody wants it any more; abort, and cancel at the app.
  // `now_us`: newcomers do not wait for one that has stood still for too long.
  [[nodiscard]] bool Append(std::string_view bytes, int64_t now_us = 0);
  bool Wanted();

  // Who follows gets it to its end, but it is not kept, and nobody follows any more.
  // REQUIRES: Begin() said kShared.
  void Decline();
  // The body is complete: stored, if it may still be.
  void Finish();
  // There will be no answer that others may have: everyone goes to the app alone. Idempotent.
  void Release();
  // The answer broke off, or will not come. Idempotent.
  void Abort(const FillFailure& failure = {});

 private:
  void End(Fill::State state);

  base::Ref<Fill> fill_;
};

}  // namespace catzilla::cache
