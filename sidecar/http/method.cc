#include "sidecar/http/method.h"

#include <iterator>

#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

constexpr std::string_view kTexts[] = {"",       "GET",   "HEAD",    "POST",  "PUT",
                                       "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"};

}  // namespace

Method MethodFromText(std::string_view text) {
  if (Is(text, "GET")) return Method::kGet;  // Nearly always.
  for (size_t i = 2; i < std::size(kTexts); ++i) {
    if (text == kTexts[i]) return static_cast<Method>(i);
  }
  return Method::kOther;
}

std::string_view MethodText(Method method) { return kTexts[static_cast<size_t>(method)]; }

}  // namespace catzilla::http
