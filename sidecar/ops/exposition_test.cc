#include "sidecar/ops/exposition.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <string>

#include "sidecar/ops/metric_names.h"

namespace catzilla::ops {
namespace {

constexpr MetricFamily kRequests{"requests", MetricType::kCounter, "A \"quoted\" \\ help.\nTwo."};
constexpr MetricFamily kDepth{"depth", MetricType::kGauge, "Depth."};
constexpr MetricFamily kBuild{"build", MetricType::kInfo, "Build."};
constexpr MetricFamily kWait{"wait_seconds", MetricType::kHistogram, "Wait."};

std::string Sampled(const std::string& label) {
  Exposition out(false);
  out.Family(kDepth);
  out.Sample({{"l", label}}, uint64_t{1});
  const std::string text = std::move(out).Finish();
  const size_t begin = text.find("depth{l=\"") + 9;
  return text.substr(begin, text.rfind("\"} 1\n") - begin);
}

TEST(Exposition, TextFormatPutsSuffixesOnHeadingsAndSamples) {
  Exposition out(false);
  out.Family(kRequests);
  out.Sample({{"route", "/"}, {"code", "2xx"}}, uint64_t{3});
  out.Family(kBuild);
  out.Sample({{"version", "1"}}, uint64_t{1});
  EXPECT_EQ(std::move(out).Finish(),
            "# HELP requests_total A \"quoted\" \\\\ help.\\nTwo.\n"
            "# TYPE requests_total counter\n"
            "requests_total{route=\"/\",code=\"2xx\"} 3\n"
            "# HELP build_info Build.\n"
            "# TYPE build_info gauge\n"
            "build_info{version=\"1\"} 1\n");
}

TEST(Exposition, OpenMetricsNamesFamiliesWithoutSuffixesAndEndsWithEof) {
  Exposition out(true);
  out.Family(kRequests);
  out.Sample({}, uint64_t{3});
  out.Family(kBuild);
  out.Sample({{"version", "1"}}, uint64_t{1});
  EXPECT_EQ(std::move(out).Finish(),
            "# HELP requests A \\\"quoted\\\" \\\\ help.\\nTwo.\n"
            "# TYPE requests counter\n"
            "requests_total 3\n"
            "# HELP build Build.\n"
            "# TYPE build info\n"
            "build_info{version=\"1\"} 1\n"
            "# EOF\n");
}

TEST(Exposition, HistogramsAreCumulativeAndEndInInf) {
  Exposition out(true);
  out.Family(kWait);
  const double bounds[] = {0.0005, 1};
  const uint64_t buckets[] = {2, 0, 5};
  out.Histogram({"pool", "app"}, bounds, buckets, 1.5);
  EXPECT_EQ(std::move(out).Finish(),
            "# HELP wait_seconds Wait.\n"
            "# TYPE wait_seconds histogram\n"
            "wait_seconds_bucket{pool=\"app\",le=\"0.0005\"} 2\n"
            "wait_seconds_bucket{pool=\"app\",le=\"1.0\"} 2\n"
            "wait_seconds_bucket{pool=\"app\",le=\"+Inf\"} 7\n"
            "wait_seconds_sum{pool=\"app\"} 1.5\n"
            "wait_seconds_count{pool=\"app\"} 7\n"
            "# EOF\n");
}

TEST(Exposition, LabelsAreEscapedAndAlwaysUtf8) {
  const struct {
    std::string label, shown;
  } kCases[] = {
      {"plain", "plain"},
      {"a\"b\\c\nd", "a\\\"b\\\\c\\nd"},
      {"é€𝄞", "é€𝄞"},
      {"\xff", "\xef\xbf\xbd"},
      {"\xc3", "\xef\xbf\xbd"},                                  // Cut short.
      {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                  // Overlong.
      {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},  // A surrogate.
      {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"", ""},
  };
  for (const auto& one : kCases) EXPECT_EQ(Sampled(one.label), one.shown);
}

TEST(Exposition, NumbersAreExact) {
  Exposition out(false);
  out.Family(kDepth);
  out.Sample({}, std::numeric_limits<uint64_t>::max());
  out.Sample({}, 0.1);
  out.Sample({}, std::numeric_limits<double>::infinity());
  out.Sample({}, std::numeric_limits<double>::quiet_NaN());
  const std::string text = std::move(out).Finish();
  EXPECT_NE(text.find("depth 18446744073709551615\ndepth 0.1\ndepth +Inf\ndepth NaN\n"),
            std::string::npos)
      << text;
}

TEST(Exposition, NegotiatesTheFormat) {
  const struct {
    std::string_view accept;
    bool open_metrics;
  } kCases[] = {
      {"", false},
      {"*/*", false},
      {"text/plain", false},
      {"application/openmetrics-text", true},
      {"application/openmetrics-text; version=1.0.0", true},
      {"application/openmetrics-text;version=1.0.0;q=0", false},
      {"application/openmetrics-text;version=0.0.1", false},
      {"text/plain;q=0.9, application/openmetrics-text;q=0.5", false},
      {"text/plain ; q=0.5 ,application/openmetrics-text ; q=0.75", true},
      {"application/openmetrics-text;q=x", false},
      // Prometheus 2.42, and 3.
      {"application/openmetrics-text;version=1.0.0,"
       "application/openmetrics-text;version=0.0.1;q=0.75,"
       "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       true},
      {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
       "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2",
       true},
  };
  for (const auto& one : kCases) {
    EXPECT_EQ(Exposition::PrefersOpenMetrics(one.accept), one.open_metrics) << one.accept;
  }
}

TEST(MetricNames, AreUniqueAndWellFormed) {
  std::set<std::string_view> names;
  for (const MetricFamily& family : kMetricFamilies) {
    EXPECT_TRUE(names.insert(family.name).second) << family.name;
    EXPECT_TRUE(family.name.starts_with("catzilla_") || family.name.starts_with("process_"));
    for (const std::string_view suffix : {"_total", "_info", "_count", "_sum", "_bucket"}) {
      EXPECT_FALSE(family.name.ends_with(suffix)) << family.name;
    }
    EXPECT_TRUE(family.help.ends_with('.')) << family.name;
  }
}

// The tests run at the top of the tree.
TEST(MetricNames, TheManualIsThisList) {
  const char* path = "docs/metrics.md";
  if (std::getenv("CATZILLA_WRITE_DOCS") != nullptr) std::ofstream(path) << MetricsReference();
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  EXPECT_EQ(text, MetricsReference()) << "to write it anew: CATZILLA_WRITE_DOCS=1";
}

}  // namespace
}  // namespace catzilla::ops
