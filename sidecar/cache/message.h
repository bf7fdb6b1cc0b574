// How requests and answers look to this room: borrowed, whoever parsed them.
//
// Threads: values. Owns: nothing; what the views point at must live for the call they are given to.
// Limits:  none; the parsers before us have theirs.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "sidecar/http/field.h"
#include "sidecar/http/list.h"
#include "sidecar/http/request_head.h"
#include "sidecar/http/text.h"

namespace catzilla::cache {

using http::Field;  // Names in any case.
using http::Fields;

struct RequestView {
  const http::RequestHead& head;
  std::string_view scheme;  // Effective, as trusted proxies say: "http" or "https".
  std::string_view
      host;  // Effective, lower case, with its port unless that is the scheme's default.
};

struct ResponseView {
  int status = 200;
  Fields fields;
};

// When a request left for the app and its answer's head came; both clocks of the turn.
struct ExchangeTimes {
  int64_t request_us = 0;       // Monotonic.
  int64_t response_us = 0;      // Monotonic.
  int64_t response_wall_s = 0;  // Since 1970.
};

// The first field of that name (given in lower case), or null.
inline const Field* FindField(Fields fields, std::string_view lower_name) {
  for (const Field& field : fields) {
    if (http::EqualsLower(field.name, lower_name)) return &field;
  }
  return nullptr;
}

// Calls visit(element) for each element of a comma-separated list, trimmed, empty ones left out.
template <typename Visit>
void ForEachElement(std::string_view list, Visit visit) {
  http::ListItems items(list);
  std::string_view element;
  while (items.Next(&element)) visit(element);
}

// The same for the list that all fields of that name make together.
template <typename Visit>
void ForEachElement(Fields fields, std::string_view lower_name, Visit visit) {
  for (const Field& field : fields) {
    if (http::EqualsLower(field.name, lower_name)) ForEachElement(field.value, visit);
  }
}

}  // namespace catzilla::cache
