// Counted references to immutable things that several loops hold at once: file entries, cached
// objects, snapshots' companions.
//
// Threads: the count is atomic; the object behind it is immutable or guards itself.
// Owns:    the last Ref deletes, through T's own Destroy() if it has other memory than `new`.
// Rules:   a class derives from RefCounted<Itself>; objects begin with one reference, which
//          Ref::Adopt() takes over. TryRef() is for lock-free readers, who may meet a dying object.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "sidecar/base/check.h"

namespace catzilla::base {

template <typename T>
class RefCounted {
 public:
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void AddRef() const { count_.fetch_add(1, std::memory_order_relaxed); }

  // Takes a reference unless the object is already dying.
  [[nodiscard]] bool TryRef() const {
    uint32_t seen = count_.load(std::memory_order_relaxed);
    while (seen != 0) {
      if (count_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  void Unref() const {
    const uint32_t before = count_.fetch_sub(1, std::memory_order_acq_rel);
    CATZILLA_CHECK(before != 0, "a reference was dropped twice");
    if (before == 1) T::Destroy(static_cast<T*>(const_cast<RefCounted*>(this)));
  }

  uint32_t ref_count() const { return count_.load(std::memory_order_relaxed); }

  // Hides itself behind T::Destroy where T has memory of another kind.
  static void Destroy(T* object) { delete object; }

 protected:
  RefCounted() = default;
  ~RefCounted() = default;

 private:
  mutable std::atomic<uint32_t> count_{1};
};

template <typename T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}  // NOLINT: a null Ref reads like a null pointer
  explicit Ref(T* object) : object_(object) {
    if (object_ != nullptr) object_->AddRef();
  }
  static Ref Adopt(T* object) {
    Ref ref;
    ref.object_ = object;
    return ref;
  }
  template <typename... Args>
  static Ref Make(Args&&... args) {
    return Adopt(new T(std::forward<Args>(args)...));
  }

  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Ref(Ref<U> other) noexcept : object_(other.Release()) {}  // NOLINT
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) object_->Unref();
  }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }
  bool operator==(const Ref& other) const { return object_ == other.object_; }
  [[nodiscard]] T* Release() { return std::exchange(object_, nullptr); }

 private:
  T* object_ = nullptr;
};

// Keeps bytes alive without saying what they are: a file entry, a cached object, a frame.
class Owner : public RefCounted<Owner> {
 public:
  static void Destroy(Owner* owner) { owner->DestroySelf(); }

 protected:
  friend class RefCounted<Owner>;
  virtual ~Owner() = default;
  virtual void DestroySelf() { delete this; }  // Override where the memory is not from `new`.
};

}  // namespace catzilla::base
