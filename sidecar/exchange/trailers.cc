#include "sidecar/exchange/trailers.h"

#include <algorithm>
#include <iterator>

#include "sidecar/exchange/request_fields.h"
#include "sidecar/http/text.h"

namespace catzilla::exchange {

bool TakesTrailers(const http::RequestHead& request) {
  bool takes = false;
  request.ForEachItem(http::HeaderId::kTe, [&](std::string_view item) {
    takes = takes || http::EqualsIgnoringCase(item, "trailers");
  });
  return takes;
}

// RFC 9110 section 6.5.1: not what frames, routes, authenticates, describes the content or controls
// the answer.
bool MayTrail(std::string_view lower_name) {
  constexpr std::string_view kNever[] = {"age",
                                         "authorization",
                                         "cache-control",
                                         "cookie",
                                         "date",
                                         "expires",
                                         "host",
                                         "location",
                                         "pragma",
                                         "range",
                                         "te",
                                         "set-cookie",
                                         "retry-after",
                                         "vary",
                                         "warning",
                                         "expect",
                                         "max-forwards",
                                         "www-authenticate",
                                         "proxy-authenticate",
                                         "proxy-authorization"};
  return !IsConnectionField(lower_name) && !lower_name.starts_with("content-") &&
         !lower_name.starts_with("if-") &&
         std::find(std::begin(kNever), std::end(kNever), lower_name) == std::end(kNever);
}

}  // namespace catzilla::exchange
