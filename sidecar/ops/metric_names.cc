#include "sidecar/ops/metric_names.h"

namespace catzilla::ops {
namespace {

// As Prometheus shows the series: with the suffix of its type.
std::string SeriesName(const MetricFamily& family) {
  std::string name(family.name);
  if (family.type == MetricType::kCounter) name += "_total";
  if (family.type == MetricType::kInfo) name += "_info";
  return name;
}

std::string_view TypeText(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
    case MetricType::kInfo:
      return "info";
  }
  return "";
}

std::string LabelsText(std::string_view labels) {
  std::string text;
  while (!labels.empty()) {
    const size_t comma = labels.find(", ");
    if (!text.empty()) text += ", ";
    text.append("`").append(labels.substr(0, comma)).append("`");
    labels = comma == std::string_view::npos ? std::string_view() : labels.substr(comma + 2);
  }
  return text;
}

constexpr std::string_view kIntroduction =
    R"(<!-- Made from sidecar/ops/metric_names.h. To write it anew: CATZILLA_WRITE_DOCS=1, and the test of ops. -->
# Metrics

`/metrics` on the ops listener (port 9901) answers in Prometheus' text format, or in OpenMetrics 1.0 when the
scraper prefers it. Every series is there from the start, at zero. Gauges are computed from the state at the
time of the scrape.

Labels are names from your configuration and route templates, never what a client has sent: a path that no
route matches is `route="<none>"`, an unknown method is `method="<other>"`. `telemetry.max_series` bounds how
many series routes may have; the routes beyond it share `route="<other>"`, and
`catzilla_telemetry_series_overflow_total` counts them. `catzilla_http_requests_total` has the class of a status
(`2xx`) as its `code`; exact codes, without routes, are in `catzilla_http_responses_total`.

| Metric | Type | Labels | What it says |
|---|---|---|---|
)";

}  // namespace

std::string MetricsReference() {
  std::string text(kIntroduction);
  for (const MetricFamily& family : kMetricFamilies) {
    text.append("| `").append(SeriesName(family)).append("` | ").append(TypeText(family.type));
    text.append(" | ").append(LabelsText(family.labels)).append(" | ");
    text.append(family.help).append(" |\n");
  }
  return text;
}

}  // namespace catzilla::ops
