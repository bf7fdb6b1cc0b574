// The methods that the sidecar itself knows; every other one is kOther and has only its text.
// Pure values; any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace catzilla::http {

enum class Method : uint8_t {
  kOther,
  kGet,
  kHead,
  kPost,
  kPut,
  kDelete,
  kPatch,
  kOptions,
  kTrace,
  kConnect,
};

// Methods are case-sensitive: "get" is kOther.
Method MethodFromText(std::string_view text);
// Empty for kOther.
std::string_view MethodText(Method method);

// RFC 9110 section 9.2.1.
constexpr bool IsSafe(Method method) {
  return method == Method::kGet || method == Method::kHead || method == Method::kOptions ||
         method == Method::kTrace;
}
// RFC 9110 section 9.2.2: may be sent again after a failure.
constexpr bool IsIdempotent(Method method) {
  return IsSafe(method) || method == Method::kPut || method == Method::kDelete;
}

}  // namespace catzilla::http
