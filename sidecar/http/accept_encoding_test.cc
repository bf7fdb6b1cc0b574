#include "sidecar/http/accept_encoding.h"

#include <gtest/gtest.h>

#include "sidecar/http/testing.h"

namespace catzilla::http {
namespace {

TEST(AcceptEncoding, ChoosesByQualityThenByOurOrder) {
  struct Row {
    std::string_view value;
    Coding chosen;  // Of br, zstd, gzip, in this order.
  };
  const Row rows[] = {
      {"", Coding::kIdentity},
      {"gzip", Coding::kGzip},
      {"GZIP", Coding::kGzip},
      {"x-gzip", Coding::kGzip},
      {"gzip, deflate, br, zstd", Coding::kBrotli},
      {"gzip;q=1.0, br;q=0.5", Coding::kGzip},
      {"gzip;q=0", Coding::kIdentity},
      {"gzip;q=0.000, br;q=0", Coding::kIdentity},
      {"*", Coding::kBrotli},
      {"*;q=0.5, br;q=0", Coding::kZstd},
      {"*;q=0", Coding::kIdentity},
      {"gzip, *;q=0", Coding::kGzip},
      {"identity;q=0, gzip", Coding::kGzip},
      {"identity;q=0", Coding::kIdentity},  // Nothing is acceptable: better than 406.
      {"identity, gzip;q=0.5", Coding::kIdentity},
      {"identity;q=0.5, gzip;q=0.5", Coding::kGzip},
      {"gzip;q=1.001", Coding::kIdentity},
      {"gzip;q=2", Coding::kIdentity},
      {"gzip;q=", Coding::kIdentity},
      {"gzip;q=0.1234", Coding::kIdentity},
      {"gzip ; Q=0.3", Coding::kGzip},
      {"deflate, compress", Coding::kIdentity},
      {"gzipped", Coding::kIdentity},
      {"br;level=4", Coding::kBrotli},
  };
  for (const Row& row : rows) {
    const AcceptEncoding accept(row.value);
    EXPECT_EQ(accept.Choose({Coding::kBrotli, Coding::kZstd, Coding::kGzip}), row.chosen)
        << row.value;
  }
}

TEST(AcceptEncoding, RefusesIdentityOnlyWhenToldSo) {
  EXPECT_TRUE(AcceptEncoding("gzip").Accepts(Coding::kIdentity));
  EXPECT_FALSE(AcceptEncoding("identity;q=0").Accepts(Coding::kIdentity));
  EXPECT_FALSE(AcceptEncoding("*;q=0").Accepts(Coding::kIdentity));
  EXPECT_TRUE(AcceptEncoding("*;q=0, identity;q=0.1").Accepts(Coding::kIdentity));
}

TEST(AcceptEncoding, SeveralFieldsAreOneList) {
  const auto request =
      ParseLinesForTest("GET /", {"Accept-Encoding: gzip;q=0.5", "Accept-Encoding: br"});
  EXPECT_EQ(AcceptEncoding(request->head()).Choose({Coding::kGzip, Coding::kBrotli}),
            Coding::kBrotli);
  const auto without = ParseLinesForTest("GET /", {});
  EXPECT_EQ(AcceptEncoding(without->head()).Choose({Coding::kGzip}), Coding::kIdentity);
}

}  // namespace
}  // namespace catzilla::http
