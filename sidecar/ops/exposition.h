// Writing metrics in Prometheus' text format 0.0.4 or in OpenMetrics 1.0.
//
// Threads: none of its own. Owns: the text. A family's samples follow its heading; names are given
//          without the "_total" of counters, which both formats put on the sample.
// Fails:   never: a label's bytes that are not UTF-8 become U+FFFD, for one of them would make
//          Prometheus refuse all series.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace catzilla::ops {

enum class MetricType : uint8_t { kCounter, kGauge, kHistogram, kInfo };

struct MetricFamily {
  std::string_view name;
  MetricType type;
  std::string_view help;
  std::string_view labels = {};  // "route, method", for the manual.
};

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

class Exposition {
 public:
  explicit Exposition(bool open_metrics) : open_metrics_(open_metrics) {}

  void Family(const MetricFamily& family);
  // One sample of the current family.
  void Sample(const Labels& labels, double value);
  void Sample(const Labels& labels, uint64_t value);
  // One histogram: its buckets, sum and count. `buckets` are not cumulative, and one more than
  // `bounds`: the last is everything above. One label at most.
  void Histogram(std::pair<std::string_view, std::string_view> label,
                 std::span<const double> bounds, std::span<const uint64_t> buckets, double sum);

  std::string Finish() &&;  // With "# EOF" where the format wants it.
  static std::string_view ContentType(bool open_metrics);
  // Whether an Accept field prefers OpenMetrics 1.0 to the text format.
  static bool PrefersOpenMetrics(std::string_view accept);

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
