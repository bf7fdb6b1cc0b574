#include "sidecar/ops/exposition.h"

#include <charconv>
#include <utility>
#include <cmath>

namespace catzilla::ops {
namespace {

void AppendEscaped(std::string& text, std::string_view value, bool quotes) {
  for (const char c : value) {
    if (c == '\\') {
      text += "\\\\";
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '"' && quotes) {
      text += "\\\"";
    } else {
      text += c;
    }
  }
}

std::string Number(double value) {
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (std::isnan(value)) return "NaN";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  return std::string(buffer, end);
}

std::string_view TypeName(MetricType type, bool open_metrics) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
    case MetricType::kInfo:
      return open_metrics ? "info" : "gauge";
  }
  return "unknown";
}

}  // namespace

void Exposition::Family(const MetricFamily& family) {
  family_ = family;
  // Text format: the heading names the sample, suffix included; OpenMetrics: the family.
  std::string name(family.name);
  if (!open_metrics_ && family.type == MetricType::kCounter) name += "_total";
  if (!open_metrics_ && family.type == MetricType::kInfo) name += "_info";
  text_ += "# HELP " + name + " ";
  AppendEscaped(text_, family.help, false);
  text_ += "\n# TYPE " + name + " ";
  text_ += TypeName(family.type, open_metrics_);
  text_ += '\n';
}

void Exposition::Sample(const Labels& labels, double value) {
  std::string_view suffix;
  if (family_.type == MetricType::kCounter) suffix = "_total";
  if (family_.type == MetricType::kInfo) suffix = "_info";
  Line(suffix, labels, Number(value));
}

void Exposition::Sample(const Labels& labels, uint64_t value) {
  Sample(labels, static_cast<double>(value));
}

void Exposition::HistogramSample(std::string_view suffix, const Labels& labels, double value) {
  Line(suffix, labels, Number(value));
}

void Exposition::Line(std::string_view suffix, const Labels& labels, std::string_view value) {
  text_ += family_.name;
  text_ += suffix;
  if (labels.size() > 0) {
    char separator = '{';
    for (const auto& [name, text] : labels) {
      text_ += separator;
      text_ += name;
      text_ += "=\"";
      AppendEscaped(text_, text, true);
      text_ += '"';
      separator = ',';
    }
    text_ += '}';
  }
  text_ += ' ';
  text_ += value;
  text_ += '\n';
}

std::string Exposition::Finish() && {
  if (open_metrics_) text_ += "# EOF\n";
  return std::move(text_);
}

std::string_view Exposition::ContentType(bool open_metrics) {
  return open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                      : "text/plain; version=0.0.4; charset=utf-8";
}

}  // namespace catzilla::ops
