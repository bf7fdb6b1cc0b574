// Comma-separated lists as RFC 9110 section 5.6.1 reads them: empty elements are skipped, a comma
// in a quoted string does not separate. Pure; any thread; allocates nothing.
#pragma once

#include <string_view>

#include "sidecar/http/text.h"

namespace catzilla::http {

// Walks one field value: `while (items.Next(&item))`. Items are trimmed and never empty.
class ListItems {
 public:
  explicit ListItems(std::string_view value, char separator = ',')
      : rest_(value), separator_(separator) {}

  bool Next(std::string_view* item) {
    while (!rest_.empty()) {
      const std::string_view found = Trim(Cut());
      if (found.empty()) continue;
      *item = found;
      return true;
    }
    return false;
  }

 private:
  // Takes the first element and its separator off `rest_`.
  std::string_view Cut() {
    const std::string_view text = rest_;
    bool quoted = false;
    size_t i = 0;
    for (; i < text.size(); ++i) {
      const char c = text[i];
      if (quoted && c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = !quoted;
      } else if (c == separator_ && !quoted) {
        break;
      }
    }
    if (i > text.size()) i = text.size();
    rest_ = text.substr(i < text.size() ? i + 1 : i);
    return text.substr(0, i);
  }

  std::string_view rest_;
  char separator_;
};

// Whether a list of tokens has `lower` (in lower case), whatever its case there.
inline bool ListHas(std::string_view value, std::string_view lower) {
  ListItems items(value);
  std::string_view item;
  while (items.Next(&item)) {
    if (EqualsLower(item, lower)) return true;
  }
  return false;
}

}  // namespace catzilla::http
