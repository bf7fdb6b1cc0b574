// A value or the reason why there is none.
//
// Result<Head, ParseError> holds exactly one of both. Access is checked: value() of an error is our
// mistake, not the world's.
#pragma once

#include <utility>
#include <variant>

#include "sidecar/base/check.h"

namespace catzilla::base {

template <typename E>
struct Failure {
  E error;
};

template <typename E>
Failure<std::decay_t<E>> Fail(E&& error) {
  return {std::forward<E>(error)};
}

template <typename T, typename E>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit by design
  template <typename F>
  Result(Failure<F> failure)
      : state_(std::in_place_index<1>, std::move(failure.error)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return Checked<0>(); }
  const T& value() const& { return const_cast<Result*>(this)->Checked<0>(); }
  T&& value() && { return std::move(Checked<0>()); }
  T* operator->() { return &Checked<0>(); }
  const T* operator->() const { return &const_cast<Result*>(this)->template Checked<0>(); }
  T& operator*() & { return Checked<0>(); }
  const T& operator*() const& { return const_cast<Result*>(this)->template Checked<0>(); }

  E& error() { return Checked<1>(); }
  const E& error() const { return const_cast<Result*>(this)->template Checked<1>(); }

 private:
  template <size_t kIndex>
  auto& Checked() {
    auto* held = std::get_if<kIndex>(&state_);
    CATZILLA_CHECK(held != nullptr, "the other alternative of a Result was asked for");
    return *held;
  }

  std::variant<T, E> state_;
};

// For operations that return nothing: Result<Unit, E>.
struct Unit {};

}  // namespace catzilla::base
