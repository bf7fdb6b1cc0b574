#include "sidecar/http/http_date.h"

#include <algorithm>
#include <string>

#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::string_view kLongDays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                          "Thursday", "Friday", "Saturday"};
constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr int64_t kDaySeconds = 86400;

struct Civil {
  int64_t year = 1970;
  unsigned month = 1;
  unsigned day = 1;
};

// Howard Hinnant's algorithm: days are counted from 0000-03-01, so that February ends the year.
Civil CivilFromDays(int64_t days) {
  days += 719468;
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto day_of_era = static_cast<unsigned>(days - era * 146097);
  const unsigned year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const unsigned day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned shifted = (5 * day_of_year + 2) / 153;
  const unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
  return {static_cast<int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0), month,
          day_of_year - (153 * shifted + 2) / 5 + 1};
}

// Reads fixed pieces off the front of a text; after the first that does not fit, all fail.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && rest_.empty(); }

  void Literal(std::string_view wanted) {
    if (ok_ && rest_.substr(0, wanted.size()) == wanted) {
      rest_.remove_prefix(wanted.size());
    } else {
      ok_ = false;
    }
  }
  unsigned Number(size_t digits) {
    unsigned value = 0;
    if (rest_.size() < digits) ok_ = false;
    for (size_t i = 0; ok_ && i < digits; ++i) {
      ok_ = IsIn(rest_[i], kDigitChar);
      value = value * 10 + static_cast<unsigned>(rest_[i] - '0');
    }
    if (ok_) rest_.remove_prefix(digits);
    return value;
  }
  template <size_t kCount>
  unsigned Name(const std::string_view (&names)[kCount]) {
    for (unsigned i = 0; ok_ && i < kCount; ++i) {
      if (rest_.substr(0, names[i].size()) == names[i]) {
        rest_.remove_prefix(names[i].size());
        return i;
      }
    }
    ok_ = false;
    return 0;
  }
  // asctime pads the day with a space.
  unsigned PaddedDay() {
    if (ok_ && !rest_.empty() && rest_.front() == ' ') {
      rest_.remove_prefix(1);
      return Number(1);
    }
    return Number(2);
  }
  int64_t Time() {
    const unsigned hour = Number(2);
    Literal(":");
    const unsigned minute = Number(2);
    Literal(":");
    const unsigned second = Number(2);
    if (hour > 23 || minute > 59 || second > 60) ok_ = false;  // 60: a leap second.
    return static_cast<int64_t>(hour) * 3600 + minute * 60 + second;
  }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

bool IsLeap(int64_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

std::optional<int64_t> Seconds(int64_t year, unsigned month, unsigned day, int64_t time) {
  constexpr unsigned kMonthDays[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (day < 1 || day > kMonthDays[month - 1]) return std::nullopt;
  if (month == 2 && day == 29 && !IsLeap(year)) return std::nullopt;
  return DaysFromCivil(year, month, day) * kDaySeconds + time;
}

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::optional<int64_t> ParseImf(std::string_view text) {
  Reader reader(text);
  reader.Name(kDays);
  reader.Literal(", ");
  const unsigned day = reader.Number(2);
  reader.Literal(" ");
  const unsigned month = reader.Name(kMonths) + 1;
  reader.Literal(" ");
  const unsigned year = reader.Number(4);
  reader.Literal(" ");
  const int64_t time = reader.Time();
  reader.Literal(" GMT");
  if (!reader.at_end()) return std::nullopt;
  return Seconds(year, month, day, time);
}

// "Sunday, 06-Nov-94 08:49:37 GMT"
std::optional<int64_t> ParseRfc850(std::string_view text, int64_t now_s) {
  Reader reader(text);
  reader.Name(kLongDays);
  reader.Literal(", ");
  const unsigned day = reader.Number(2);
  reader.Literal("-");
  const unsigned month = reader.Name(kMonths) + 1;
  reader.Literal("-");
  const unsigned short_year = reader.Number(2);
  reader.Literal(" ");
  const int64_t time = reader.Time();
  reader.Literal(" GMT");
  if (!reader.at_end()) return std::nullopt;
  const int64_t this_year = CivilFromDays(now_s / kDaySeconds).year;
  int64_t year = this_year - this_year % 100 + short_year;
  if (year > this_year + 50) year -= 100;
  return Seconds(year, month, day, time);
}

// "Sun Nov  6 08:49:37 1994"
std::optional<int64_t> ParseAsctime(std::string_view text) {
  Reader reader(text);
  reader.Name(kDays);
  reader.Literal(" ");
  const unsigned month = reader.Name(kMonths) + 1;
  reader.Literal(" ");
  const unsigned day = reader.PaddedDay();
  reader.Literal(" ");
  const int64_t time = reader.Time();
  reader.Literal(" ");
  const unsigned year = reader.Number(4);
  if (!reader.at_end()) return std::nullopt;
  return Seconds(year, month, day, time);
}

void WriteDigits(unsigned value, int digits, char* out) {
  for (int i = digits - 1; i >= 0; --i, value /= 10) out[i] = static_cast<char>('0' + value % 10);
}

}  // namespace

int64_t DaysFromCivil(int64_t year, unsigned month, unsigned day) {
  year -= month <= 2 ? 1 : 0;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const auto year_of_era = static_cast<unsigned>(year - era * 400);
  const unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + static_cast<int64_t>(day_of_era) - 719468;
}

void WriteHttpDate(int64_t seconds, char* out) {
  static const int64_t kFirst = DaysFromCivil(0, 1, 1) * kDaySeconds;
  static const int64_t kLast = DaysFromCivil(10000, 1, 1) * kDaySeconds - 1;
  seconds = std::clamp(seconds, kFirst, kLast);
  int64_t days = seconds / kDaySeconds;
  auto time = static_cast<int>(seconds % kDaySeconds);
  if (time < 0) {
    time += static_cast<int>(kDaySeconds);
    --days;
  }
  const Civil civil = CivilFromDays(days);
  const auto weekday = static_cast<size_t>(((days + 4) % 7 + 7) % 7);  // 1970 began on a Thursday.
  std::string_view("Ddd, 00 Mmm 0000 00:00:00 GMT").copy(out, kHttpDateBytes);
  kDays[weekday].copy(out, 3);
  WriteDigits(civil.day, 2, out + 5);
  kMonths[civil.month - 1].copy(out + 8, 3);
  WriteDigits(static_cast<unsigned>(civil.year), 4, out + 12);
  WriteDigits(static_cast<unsigned>(time / 3600), 2, out + 17);
  WriteDigits(static_cast<unsigned>(time / 60 % 60), 2, out + 20);
  WriteDigits(static_cast<unsigned>(time % 60), 2, out + 23);
}

std::string FormatHttpDate(int64_t seconds) {
  std::string text(kHttpDateBytes, ' ');
  WriteHttpDate(seconds, text.data());
  return text;
}

std::optional<int64_t> ParseHttpDate(std::string_view text, int64_t now_s) {
  text = Trim(text);
  if (text.size() < 4) return std::nullopt;
  if (text[3] == ',') return ParseImf(text);
  if (text[3] == ' ') return ParseAsctime(text);
  return ParseRfc850(text, now_s);
}

std::optional<int64_t> ParseHttpDateInAnyCase(std::string_view text, int64_t now_s) {
  std::string exact(text);
  bool in_word = false;
  for (char& c : exact) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (is_letter) c = static_cast<char>(in_word ? c | 0x20 : c & ~0x20);
    in_word = is_letter;
  }
  if (exact.ends_with("Gmt")) exact.replace(exact.size() - 3, 3, "GMT");
  return ParseHttpDate(exact, now_s);
}

}  // namespace catzilla::http
