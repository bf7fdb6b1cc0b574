#include "sidecar/schema/units.h"

#include <limits>

#include "sidecar/base/utf8.h"

namespace catzilla::schema {
namespace {

constexpr char kDurationForms[] = "use a number with a unit: 250ms, 30s, 1m30s, 2h";
constexpr char kSizeForms[] =
    "use a number with a unit: 512B, 64KiB, 64MiB, 1GB, or 25% of the memory limit";

struct Unit {
  std::string_view name;
  uint64_t factor;
};

// Longer names first: "ms" must not be read as "m".
constexpr Unit kDurationUnits[] = {
    {"ms", 1000},           {"us", 1},
    {"s", 1'000'000},       {"m", 60'000'000},
    {"h", 3600'000'000ull}, {"d", 86'400'000'000ull},
};
constexpr Unit kSizeUnits[] = {
    {"KiB", 1ull << 10},
    {"MiB", 1ull << 20},
    {"GiB", 1ull << 30},
    {"TiB", 1ull << 40},
    {"kB", 1000},
    {"KB", 1000},
    {"MB", 1000'000},
    {"GB", 1000'000'000},
    {"TB", 1000'000'000'000ull},
    {"B", 1},
};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string Quoted(std::string_view text) {
  return "\"" + std::string(base::CutUtf8(text, 64)) + (text.size() > 64 ? "…" : "") + "\"";
}

struct Number {
  uint64_t whole = 0;
  uint64_t fraction = 0;        // Of fraction_scale.
  uint64_t fraction_scale = 1;  // A power of ten, at most 10^9.
};

// Takes digits with at most one point off the front. False: there is no number, or it is too large.
bool TakeNumber(std::string_view* text, Number* number) {
  size_t i = 0;
  while (i < text->size() && IsDigit((*text)[i])) {
    if (number->whole > std::numeric_limits<uint64_t>::max() / 10 - 1) return false;
    number->whole = number->whole * 10 + static_cast<uint64_t>((*text)[i++] - '0');
  }
  if (i == 0) return false;
  if (i < text->size() && (*text)[i] == '.') {
    const size_t point = i++;
    while (i < text->size() && IsDigit((*text)[i])) {
      if (i - point > 9) return false;
      number->fraction = number->fraction * 10 + static_cast<uint64_t>((*text)[i++] - '0');
      number->fraction_scale *= 10;
    }
    if (i == point + 1) return false;
  }
  text->remove_prefix(i);
  return true;
}

// number * factor, or false when it passes int64.
bool Scale(const Number& number, uint64_t factor, uint64_t* out) {
  constexpr auto kMax = static_cast<unsigned __int128>(std::numeric_limits<int64_t>::max());
  const unsigned __int128 product =
      static_cast<unsigned __int128>(number.whole) * factor +
      static_cast<unsigned __int128>(number.fraction) * factor / number.fraction_scale;
  if (product > kMax) return false;
  *out = static_cast<uint64_t>(product);
  return true;
}

template <size_t kCount>
const Unit* TakeUnit(std::string_view* text, const Unit (&units)[kCount]) {
  for (const Unit& unit : units) {
    if (!text->starts_with(unit.name)) continue;
    // "30second" must not pass as "30s" and a rest that happens to fail later with a worse message.
    if (text->size() > unit.name.size() && !IsDigit((*text)[unit.name.size()])) continue;
    text->remove_prefix(unit.name.size());
    return &unit;
  }
  return nullptr;
}

}  // namespace

base::Result<int64_t, std::string> ParseDuration(std::string_view text) {
  const std::string_view all = text;
  if (text == "0") return int64_t{0};
  if (text.empty()) return base::Fail(std::string("an empty duration; ") + kDurationForms);
  uint64_t total = 0;
  uint64_t last_factor = std::numeric_limits<uint64_t>::max();
  while (!text.empty()) {
    Number number;
    if (!TakeNumber(&text, &number)) {
      return base::Fail(Quoted(all) + " is not a duration; " + kDurationForms);
    }
    if (text.empty()) {
      return base::Fail(Quoted(all) + " has no unit; write " + Quoted(std::string(all) + "s") +
                        " for seconds or " + Quoted(std::string(all) + "ms") + " for milliseconds");
    }
    const Unit* unit = TakeUnit(&text, kDurationUnits);
    if (unit == nullptr) return base::Fail(Quoted(all) + " is not a duration; " + kDurationForms);
    if (unit->factor >= last_factor) {
      return base::Fail(Quoted(all) + " names its units out of order or twice; " + kDurationForms);
    }
    last_factor = unit->factor;
    uint64_t part = 0;
    if (!Scale(number, unit->factor, &part) ||
        part > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) - total) {
      return base::Fail(Quoted(all) + " is longer than any clock");
    }
    total += part;
  }
  return static_cast<int64_t>(total);
}

base::Result<uint64_t, std::string> ParseSize(std::string_view text, uint64_t memory_limit_bytes) {
  const std::string_view all = text;
  if (text == "0") return uint64_t{0};
  if (text.empty()) return base::Fail(std::string("an empty size; ") + kSizeForms);
  Number number;
  if (!TakeNumber(&text, &number)) {
    return base::Fail(Quoted(all) + " is not a size; " + kSizeForms);
  }
  if (text.empty()) {
    return base::Fail(Quoted(all) + " has no unit; write " + Quoted(std::string(all) + "B") +
                      " for bytes or " + Quoted(std::string(all) + "MiB"));
  }
  uint64_t bytes = 0;
  if (text == "%") {
    if (memory_limit_bytes == 0) {
      return base::Fail(Quoted(all) + " needs a memory limit to be a part of, and there is none; " +
                        "give a size such as 64MiB");
    }
    if (number.whole > 100 || (number.whole == 100 && number.fraction > 0)) {
      return base::Fail(Quoted(all) + " is more than all memory");
    }
    const auto scaled =
        static_cast<unsigned __int128>(memory_limit_bytes) *
        (static_cast<unsigned __int128>(number.whole) * number.fraction_scale + number.fraction) /
        (100 * static_cast<unsigned __int128>(number.fraction_scale));
    return static_cast<uint64_t>(scaled);
  }
  const Unit* unit = TakeUnit(&text, kSizeUnits);
  if (unit == nullptr || !text.empty()) {
    return base::Fail(Quoted(all) + " is not a size; " + kSizeForms);
  }
  if (!Scale(number, unit->factor, &bytes)) {
    return base::Fail(Quoted(all) + " is larger than any memory");
  }
  return bytes;
}

std::string FormatDuration(int64_t microseconds) {
  if (microseconds == 0) return "0s";
  std::string out;
  auto rest = static_cast<uint64_t>(microseconds < 0 ? -microseconds : microseconds);
  for (const Unit& unit : {kDurationUnits[5], kDurationUnits[4], kDurationUnits[3],
                           kDurationUnits[2], kDurationUnits[0], kDurationUnits[1]}) {
    if (rest < unit.factor) continue;
    out += std::to_string(rest / unit.factor) + std::string(unit.name);
    rest %= unit.factor;
  }
  return microseconds < 0 ? "-" + out : out;
}

std::string FormatSize(uint64_t bytes) {
  if (bytes == 0) return "0B";
  for (const Unit& unit : {kSizeUnits[3], kSizeUnits[2], kSizeUnits[1], kSizeUnits[0]}) {
    if (bytes % unit.factor == 0)
      return std::to_string(bytes / unit.factor) + std::string(unit.name);
  }
  return std::to_string(bytes) + "B";
}

}  // namespace catzilla::schema
