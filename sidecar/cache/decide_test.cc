#include "sidecar/cache/decide.h"

#include <gtest/gtest.h>

#include "sidecar/cache/testing.h"

namespace catzilla::cache {
namespace {

using testing::Request;

TEST(Decide, O8SaysWhatBecomesOfARequestAndWhy) {
  Freshness fresh;
  fresh.lifetime_us = 60'000'000;
  Freshness stale;
  stale.lifetime_us = 1;
  stale.has_validator = true;
  config::Route by_header;
  config::Route own_ttl;
  own_ttl.cache_ttl_us = 60'000'000;
  config::Route for_all = own_ttl;
  for_all.cache_ignores_cookies = true;
  const struct {
    const char* request;
    const config::Route* route;
    const Freshness* stored;
    Verdict verdict;
    const char* says;
  } kRows[] = {
      {"GET /", &by_header, nullptr, Verdict::kMiss, "nothing is stored"},
      {"GET /", &by_header, &fresh, Verdict::kServe, "fresh"},
      {"GET /", &by_header, &stale, Verdict::kRevalidate, "validators"},
      {"GET /\nCookie: a=b", &by_header, &fresh, Verdict::kServe, "fresh"},
      {"GET /\nCookie: a=b", &own_ttl, &fresh, Verdict::kBypass, "Cookie"},
      {"GET /\nCookie: a=b", &for_all, &fresh, Verdict::kServe, "fresh"},
      {"GET /\nContent-Length: 3", &own_ttl, &fresh, Verdict::kBypass, "body"},
      {"POST /", &own_ttl, &fresh, Verdict::kBypass, "GET and HEAD"},
      {"HEAD /", &own_ttl, nullptr, Verdict::kBypass, "HEAD"},
      {"GET /\nRange: bytes=0-1", &own_ttl, nullptr, Verdict::kBypass, "part"},
      {"GET /\nCache-Control: only-if-cached", &own_ttl, nullptr, Verdict::kOnlyIfCached,
       "only-if-cached"},
      {"GET /\nCache-Control: no-cache", &own_ttl, &fresh, Verdict::kMiss, "Cache-Control"},
  };
  for (const auto& row : kRows) {
    const Request request(row.request);
    const Decision decision = Decide(*row.route, request.head(), row.stored, false, 1'000'000);
    EXPECT_EQ(decision.judgement.verdict, row.verdict) << row.request;
    EXPECT_NE(decision.reason.find(row.says), std::string_view::npos)
        << row.request << ": " << decision.reason;
  }
}

}  // namespace
}  // namespace catzilla::cache
