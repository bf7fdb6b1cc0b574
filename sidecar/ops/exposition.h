// Writing metrics in Prometheus' text format 0.0.4 or in OpenMetrics 1.0.
//
// Threads: none of its own. Owns: the text. A family's samples follow its heading; names are given
// without the "_total" of counters, which both formats put on the sample.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace catzilla::ops {

enum class MetricType : uint8_t { kCounter, kGauge, kHistogram, kInfo };

struct MetricFamily {
  std::string_view name;
  MetricType type;
  std::string_view help;
};

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

class Exposition {
 public:
  explicit Exposition(bool open_metrics) : open_metrics_(open_metrics) {}

  void Family(const MetricFamily& family);
  // One sample of the current family.
  void Sample(const Labels& labels, double value);
  void Sample(const Labels& labels, uint64_t value);
  // A bucket, or the sum or count of a histogram: suffix is "_bucket", "_sum" or "_count".
  void HistogramSample(std::string_view suffix, const Labels& labels, double value);

  std::string Finish() &&;  // With "# EOF" where the format wants it.
  static std::string_view ContentType(bool open_metrics);

 private:
  void Line(std::string_view suffix, const Labels& labels, std::string_view value);

  const bool open_metrics_;
  MetricFamily family_{};
  std::string text_;
};

// Something that has metrics to tell; called by the ops thread at each scrape.
class MetricsSource {
 public:
  virtual void Collect(Exposition& out) = 0;

 protected:
  ~MetricsSource() = default;
};

}  // namespace catzilla::ops
