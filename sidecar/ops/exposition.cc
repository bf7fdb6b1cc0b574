#include "sidecar/ops/exposition.h"

#include <charconv>
#include <cmath>
#include <utility>

#include "sidecar/base/utf8.h"

namespace catzilla::ops {
namespace {

void AppendEscaped(std::string& text, std::string_view value, bool quotes) {
  while (!value.empty()) {
    const size_t length = base::Utf8CharacterBytes(value);
    if (length == 0) {
      text += "\xef\xbf\xbd";
      value.remove_prefix(1);
      continue;
    }
    const char c = value[0];
    if (c == '\\') {
      text += "\\\\";
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '"' && quotes) {
      text += "\\\"";
    } else {
      text += value.substr(0, length);
    }
    value.remove_prefix(length);
  }
}

std::string Number(double value) {
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (std::isnan(value)) return "NaN";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  return std::string(buffer, end);
}

// A bucket's bound, 0.0005 and not 5e-04. OpenMetrics wants a float ("1.0"); written so for both
// formats, the series are the same.
std::string Bound(double value) {
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed).ptr;
  std::string text(buffer, end);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Takes what is before the next `separator`.
std::string_view TakeUntil(std::string_view& rest, char separator) {
  const size_t at = rest.find(separator);
  const std::string_view taken = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return Trimmed(taken);
}

// One element of Accept: its type, and how much it is wanted.
struct Wanted {
  std::string_view type;
  std::string_view version;
  double quality = 1;
};

Wanted ParseWanted(std::string_view element) {
  Wanted wanted;
  wanted.type = TakeUntil(element, ';');
  while (!element.empty()) {
    std::string_view parameter = TakeUntil(element, ';');
    const std::string_view name = TakeUntil(parameter, '=');
    const std::string_view value = Trimmed(parameter);
    if (name == "version") wanted.version = value;
    if (name == "q") {
      double quality = 0;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), quality);
      wanted.quality = parsed.ec == std::errc() ? quality : 0;
    }
  }
  return wanted;
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

std::string_view Suffix(MetricType type) {
  if (type == MetricType::kCounter) return "_total";
  if (type == MetricType::kInfo) return "_info";
  return {};
}

}  // namespace

void Exposition::Family(const MetricFamily& family) {
  family_ = family;
  // Text format: the heading names the sample, suffix included; OpenMetrics: the family.
  std::string name(family.name);
  if (!open_metrics_) name += Suffix(family.type);
  text_ += "# HELP " + name + " ";
  AppendEscaped(text_, family.help, open_metrics_);  // Only OpenMetrics escapes quotes here.
  text_ += "\n# TYPE " + name + " ";
  text_ += TypeName(family.type, open_metrics_);
  text_ += '\n';
}

void Exposition::Sample(const Labels& labels, double value) {
  Line(Suffix(family_.type), labels, Number(value));
}

// Exactly: a double has 53 bits.
void Exposition::Sample(const Labels& labels, uint64_t value) {
  Line(Suffix(family_.type), labels, std::to_string(value));
}

void Exposition::Histogram(std::pair<std::string_view, std::string_view> label,
                           std::span<const double> bounds, std::span<const uint64_t> buckets,
                           double sum) {
  uint64_t count = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    count += buckets[i];
    const std::string bound = i < bounds.size() ? Bound(bounds[i]) : "+Inf";
    Line("_bucket", {label, {"le", bound}}, std::to_string(count));
  }
  Line("_sum", {label}, Number(sum));
  Line("_count", {label}, std::to_string(count));
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

bool Exposition::PrefersOpenMetrics(std::string_view accept) {
  double open = 0;
  double plain = 0;
  while (!accept.empty()) {
    const Wanted wanted = ParseWanted(TakeUntil(accept, ','));
    if (wanted.type == "application/openmetrics-text") {
      // Version 0.0.1 is the draft before info and exemplars; it is not spoken here.
      const bool known = wanted.version.empty() || wanted.version == "1.0.0";
      if (known && wanted.quality > open) open = wanted.quality;
    } else if (wanted.type == "text/plain" && wanted.quality > plain) {
      plain = wanted.quality;
    }
  }
  return open > 0 && open >= plain;
}

}  // namespace catzilla::ops
