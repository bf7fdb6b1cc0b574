// A set of HTTP methods: one bit for each registered one, names for the rest.
// Immutable once built; any thread may ask.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace catzilla::route {

inline constexpr std::string_view kKnownMethods[] = {
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"};

// The method's bit, or 0 for one without.
inline uint32_t MethodBit(std::string_view method) {
  for (size_t i = 0; i < std::size(kKnownMethods); ++i) {
    if (method == kKnownMethods[i]) return 1u << i;
  }
  return 0;
}

class MethodSet {
 public:
  static MethodSet Any() {
    MethodSet set;
    set.any_ = true;
    return set;
  }

  void Add(std::string_view method) {
    const uint32_t bit = MethodBit(method);
    bits_ |= bit;
    if (bit == 0 && !HasOther(method)) others_.emplace_back(method);
  }
  void AddAll(const MethodSet& other) {
    any_ |= other.any_;
    bits_ |= other.bits_;
    for (const std::string& method : other.others_) Add(method);
  }
  bool Has(std::string_view method) const {
    if (any_) return true;
    const uint32_t bit = MethodBit(method);
    return bit != 0 ? (bits_ & bit) != 0 : HasOther(method);
  }
  bool any() const { return any_; }
  bool empty() const { return !any_ && bits_ == 0 && others_.empty(); }

  // For the Allow field: "GET, HEAD".
  std::string Text() const {
    std::string text;
    const auto append = [&](std::string_view method) {
      if (!text.empty()) text += ", ";
      text += method;
    };
    for (size_t i = 0; i < std::size(kKnownMethods); ++i) {
      if (any_ || (bits_ & (1u << i)) != 0) append(kKnownMethods[i]);
    }
    for (const std::string& method : others_) append(method);
    return text;
  }

 private:
  bool HasOther(std::string_view method) const {
    return std::find(others_.begin(), others_.end(), method) != others_.end();
  }

  bool any_ = false;
  uint32_t bits_ = 0;
  std::vector<std::string> others_;
};

}  // namespace catzilla::route
