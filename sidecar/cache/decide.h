// What becomes of a request on a route with a cache: what Judge() says of the stored answer, and
// what the route says of sharing. Asked by the exchange, and by who explains it.
//
// Threads: pure; any.
#pragma once

#include <cstdint>
#include <string_view>

#include "sidecar/cache/freshness.h"
#include "sidecar/config/snapshot.h"

namespace catzilla::cache {

struct Decision {
  Judgement judgement;
  std::string_view reason;  // For people; never empty.
};

// `stored` and `variants_exist` as for Judge().
Decision Decide(const config::Route& route, const http::RequestHead& request,
                const Freshness* stored, bool variants_exist, int64_t now_us);

}  // namespace catzilla::cache
