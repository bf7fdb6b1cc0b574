#include "sidecar/cache/fill.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/cache/store.h"
#include "sidecar/cache/validation.h"

namespace catzilla::cache {

// Locks: a shard of the store's fills, then the fill, then the waker's mailbox; never the other
// way.

Follower::~Follower() {
  CATZILLA_CHECK(fill_ == nullptr, "a follower dies without leaving its fill");
}

Fill::Fill(ObjectStore& store, const CacheKey& key, RecordPolicy policy, base::Ref<Object> stale,
           base::Ticket producer, int64_t started_us)
    : store_(store),
      key_(key),
      policy_(std::move(policy)),
      stale_(std::move(stale)),
      started_us_(started_us),
      moved_us_(started_us),
      producer_(producer) {}

Fill::~Fill() = default;

// Followers...

void Fill::Follow(Follower& follower, base::Ticket ticket) {
  base::MutexLock lock(mutex_);
  CATZILLA_CHECK(follower.fill_ == nullptr, "a follower is in two fills");
  follower.fill_ = this;
  follower.ticket_ = ticket;
  follower.position_ = dropped_bytes_;
  follower.segment_ = first_slot_;
  follower.segment_offset_ = 0;
  if (!slots_.empty()) ++slots_.front().followers;  // Else with the first one that is written.
  armed_.PushBack(follower);
  ++follower_count_;
}

// Wants a wake-up at the next change, or not.
void Fill::Arm(Follower& follower, bool armed) {
  follower.Unlink();
  (armed ? armed_ : busy_).PushBack(follower);
}

bool Fill::Admits(const http::RequestHead& request, const Object* stale, int64_t moved_after_us) {
  base::MutexLock lock(mutex_);
  if (overflowed_ || moved_us_ <= moved_after_us) return false;
  if (state_ == State::kStreaming) return MatchesVary(record_.vary, request);
  return state_ == State::kPending && stale == stale_.get();
}

Fill::Tagged Fill::HasTag(std::string_view tag) {
  base::MutexLock lock(mutex_);
  if (state_ == State::kPending) return Tagged::kUnknown;
  const bool has = std::find(record_.tags.begin(), record_.tags.end(), tag) != record_.tags.end();
  return has ? Tagged::kYes : Tagged::kNo;
}

Fill::State Fill::Look(Follower& follower) {
  base::MutexLock lock(mutex_);
  CATZILLA_CHECK(follower.fill_ == this, "a follower looks at another fill");
  Arm(follower, true);
  return state_;
}

size_t Fill::Read(Follower& follower, std::span<Piece> pieces, State* state) {
  base::MutexLock lock(mutex_);
  CATZILLA_CHECK(follower.fill_ == this, "a follower reads another fill");
  *state = state_;
  if (state_ != State::kStreaming && state_ != State::kComplete) {
    Arm(follower, true);
    return 0;
  }
  size_t count = 0;
  while (count < pieces.size()) {
    const uint64_t index = follower.segment_ - first_slot_;
    if (index >= slots_.size()) break;
    Slot& slot = slots_[index];
    const size_t size = slot.size - follower.segment_offset_;
    if (size != 0) {
      pieces[count++] = {{slot.segment->data() + follower.segment_offset_, size}, slot.segment};
      follower.position_ += size;
      follower.segment_offset_ += size;
    }
    if (index + 1 == slots_.size()) break;  // The last one may still grow.
    --slot.followers;
    ++slots_[index + 1].followers;
    ++follower.segment_;
    follower.segment_offset_ = 0;
  }
  Arm(follower, state_ == State::kStreaming && follower.position_ == bytes_);
  if (count != 0 && overflowed_) {
    TrimLocked();
    if (producer_waits_ && RoomLocked() != 0) {
      producer_waits_ = false;
      store_.waker_.Wake(producer_);
    }
  }
  return count;
}

FillFailure Fill::failure() const {
  base::MutexLock lock(mutex_);
  return failure_;
}

base::Ref<Object> Fill::object() const {
  base::MutexLock lock(mutex_);
  return object_;
}

void Fill::Leave(Follower& follower) {
  base::MutexLock lock(mutex_);
  if (follower.fill_ == nullptr) return;
  CATZILLA_CHECK(follower.fill_ == this, "a follower leaves another fill");
  follower.fill_ = nullptr;
  follower.Unlink();
  --follower_count_;
  if (!slots_.empty()) --slots_[follower.segment_ - first_slot_].followers;
  if (state_ != State::kStreaming) return;
  if (overflowed_) TrimLocked();
  // The producer goes on with more room, or learns from Wanted() that it may stop.
  if (!WantedLocked() || (producer_waits_ && RoomLocked() != 0)) {
    producer_waits_ = false;
    store_.waker_.Wake(producer_);
  }
}

size_t Fill::follower_count() const {
  base::MutexLock lock(mutex_);
  return follower_count_;
}

// Each once, until it has looked: a burst of frames is one message.
void Fill::WakeFollowers() {
  while (Follower* follower = armed_.PopFront()) {
    busy_.PushBack(*follower);
    store_.waker_.Wake(follower->ticket_);
  }
}

void Fill::SetState(State state) {
  base::MutexLock lock(mutex_);
  state_ = state;
  WakeFollowers();
}

bool Fill::WantedLocked() { return state_ == State::kPending || keep_ || follower_count_ != 0; }

size_t Fill::RoomLocked() {
  if (!overflowed_) return SIZE_MAX;
  TrimLocked();
  const uint64_t held = bytes_ - dropped_bytes_;
  return held >= kWindowBytes ? 0 : static_cast<size_t>(kWindowBytes - held);
}

// Asks the slots, not the followers: what many followers cost must not grow with each of their
// reads.
void Fill::TrimLocked() {
  // The last one stays: the producer may still write to it.
  while (slots_.size() > 1 && slots_.front().followers == 0) {
    dropped_bytes_ += slots_.front().size;
    const size_t charge = std::min(charge_, slots_.front().segment->charge());
    charge_ -= charge;
    store_.fill_bytes_.fetch_sub(charge, std::memory_order_relaxed);
    slots_.pop_front();
    ++first_slot_;
  }
}

base::Ref<Body> Fill::TakeBody() {
  base::MutexLock lock(mutex_);
  if (bytes_ == 0) return nullptr;
  auto body = base::Ref<Body>::Adopt(new Body);
  for (const Slot& slot : slots_) {
    base::Ref<Segment> segment = slot.segment;
    // A long tail that nothing was written to is not worth keeping. Short bodies are copied anyway.
    if (bytes_ > kInlineBodyBytesMax && segment->capacity() - slot.size > slot.size / 4 + 1024) {
      base::Ref<Segment> tight = Segment::Make(slot.size);
      if (tight) {
        std::memcpy(tight->data(), segment->data(), slot.size);
        segment = std::move(tight);
      }
    }
    body->Append(std::move(segment), slot.size);
  }
  return body;
}

// The producer...

Producer::Begun Producer::Begin(const RequestView& request, const ResponseView& response,
                                const ExchangeTimes& times) {
  CATZILLA_CHECK(active(), "a fill begins without its producer");
  Fill& fill = *fill_;
  Record record = MakeRecord(request, response, fill.policy_, times);
  const size_t object_max = fill.store_.object_bytes_max_.load(std::memory_order_relaxed);
  if (record.storable && record.content_length.value_or(0) > object_max) {
    record.storable = false;
    record.reason = "too large";
  }
  if (!record.storable) {
    // What only this request asked for says nothing about the next ones.
    if (record.reason != "request no-store") {
      fill.store_.MarkHitForMiss(fill.key_.hash, times.response_us + ObjectStore::kHitForMissUs);
    }
    End(Fill::State::kReleased);
    return Begun::kAlone;
  }
  base::MutexLock lock(fill.mutex_);
  fill.record_ = std::move(record);
  fill.moved_us_ = std::max(fill.moved_us_, times.response_us);
  fill.keep_ = true;
  fill.state_ = Fill::State::kStreaming;
  fill.WakeFollowers();
  return Begun::kShared;
}

base::Ref<Object> Producer::NotModified(const RequestView& request, const ResponseView& response,
                                        const ExchangeTimes& times) {
  CATZILLA_CHECK(stale() != nullptr, "a validation without a stored object");
  Fill& fill = *fill_;
  base::Ref<Object> object;
  std::optional<Record> record = Freshened(*fill.stale_, request, response, fill.policy_, times);
  if (record) {
    base::Ref<Body> body = fill.stale_->ShareBody();
    if (body || fill.stale_->body_size() == 0)
      object = Object::Make(fill.key_, *record, std::move(body));
  }
  if (!object) {
    // It would be validated in vain again and again.
    fill.store_.table_.RemoveEntry(*fill.stale_);
    End(Fill::State::kReleased);
    return nullptr;
  }
  object->CountHit(fill.stale_->hits());
  fill.store_.Freshen(fill, object);
  {
    base::MutexLock lock(fill.mutex_);
    fill.object_ = object;
    fill.state_ = Fill::State::kObject;
    fill.WakeFollowers();
  }
  fill_ = nullptr;
  return object;
}

void Producer::SetTicket(base::Ticket ticket) {
  base::MutexLock lock(fill_->mutex_);
  fill_->producer_ = ticket;
}

size_t Producer::Room() {
  base::MutexLock lock(fill_->mutex_);
  const size_t room = fill_->RoomLocked();
  fill_->producer_waits_ = room == 0;
  return room;
}

bool Producer::Wanted() {
  base::MutexLock lock(fill_->mutex_);
  return fill_->WantedLocked();
}

bool Producer::Append(std::string_view bytes, int64_t now_us) {
  Fill& fill = *fill_;
  bool overflows = false;
  uint64_t total = 0;
  {
    base::MutexLock lock(fill.mutex_);
    CATZILLA_CHECK(fill.state_ == Fill::State::kStreaming, "a body before its head");
    const bool too_much = fill.bytes_ + bytes.size() >
                              fill.store_.object_bytes_max_.load(std::memory_order_relaxed) ||
                          fill.store_.fill_bytes_.load(std::memory_order_relaxed) >
                              fill.store_.fill_bytes_max_.load(std::memory_order_relaxed);
    if (fill.keep_ && too_much) {
      fill.keep_ = false;
      fill.overflowed_ = true;
      overflows = true;
    }
    if (!fill.WantedLocked()) return false;
    fill.moved_us_ = std::max(fill.moved_us_, now_us);
    total = fill.bytes_;
  }
  if (overflows) fill.store_.StopSharing(fill);
  while (!bytes.empty()) {
    const size_t written = fill.Write(bytes, total);
    if (written == 0) {
      Abort();  // No memory: better a broken answer than a dead process.
      return false;
    }
    total += written;
    bytes.remove_prefix(written);
  }
  return true;
}

// Writes into the last segment or a new one, and publishes. Only the producer comes here, and
// nobody reads beyond what is published, so the copy needs no lock.
size_t Fill::Write(std::string_view bytes, uint64_t total) {
  const bool fresh = !tail_ || tail_used_ == tail_->capacity();
  if (fresh) {
    const uint64_t expected =
        record_.content_length ? *record_.content_length - std::min(*record_.content_length, total)
                               : std::max<uint64_t>(bytes.size(), total);
    const size_t wanted = static_cast<size_t>(std::clamp<uint64_t>(
        expected, record_.content_length ? bytes.size() : 4096, kSegmentBytesMax));
    tail_ = Segment::Make(std::clamp<size_t>(wanted, 1, kSegmentBytesMax));
    if (!tail_) return 0;
    tail_used_ = 0;
  }
  const size_t size = std::min(bytes.size(), tail_->capacity() - tail_used_);
  std::memcpy(tail_->data() + tail_used_, bytes.data(), size);
  tail_used_ += size;
  base::MutexLock lock(mutex_);
  if (fresh) {
    slots_.push_back({tail_, 0, slots_.empty() ? follower_count_ : 0});
    charge_ += tail_->charge();
    store_.fill_bytes_.fetch_add(tail_->charge(), std::memory_order_relaxed);
  }
  slots_.back().size = tail_used_;
  bytes_ += size;
  WakeFollowers();
  if (overflowed_) TrimLocked();
  return size;
}

void Producer::Finish() {
  CATZILLA_CHECK(active(), "a fill ends twice");
  Fill& fill = *fill_;
  bool keep = false;
  uint64_t bytes = 0;
  {
    base::MutexLock lock(fill.mutex_);
    CATZILLA_CHECK(fill.state_ == Fill::State::kStreaming, "a fill ends without its head");
    keep = fill.keep_;
    bytes = fill.bytes_;
  }
  if (fill.record_.content_length && *fill.record_.content_length != bytes) return Abort();
  if (keep) {
    base::Ref<Object> object = Object::Make(fill.key_, fill.record_, fill.TakeBody());
    if (object) fill.store_.Store(fill, std::move(object));
  }
  End(Fill::State::kComplete);
}

void Producer::Decline() {
  Fill& fill = *fill_;
  {
    base::MutexLock lock(fill.mutex_);
    CATZILLA_CHECK(fill.state_ == Fill::State::kStreaming, "a fill is declined before its head");
    fill.keep_ = false;
  }
  fill.store_.StopSharing(fill);
}

void Producer::Release() {
  if (active()) End(Fill::State::kReleased);
}

void Producer::Abort(const FillFailure& failure) {
  if (!active()) return;
  {
    base::MutexLock lock(fill_->mutex_);
    fill_->failure_ = failure;
  }
  End(Fill::State::kFailed);
}

void Producer::End(Fill::State state) {
  fill_->store_.Drop(*fill_);
  {
    base::MutexLock lock(fill_->mutex_);
    fill_->store_.fill_bytes_.fetch_sub(std::exchange(fill_->charge_, 0),
                                        std::memory_order_relaxed);
    fill_->keep_ = false;
  }
  fill_->SetState(state);
  fill_ = nullptr;
}

}  // namespace catzilla::cache
