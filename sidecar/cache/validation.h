// Asking the app whether a stored answer is still good; answering clients' conditions from it.
//
// Threads: values and immutable objects; any. Owns: nothing. Fails: see each.
#pragma once

#include <optional>
#include <string>

#include "sidecar/cache/message.h"
#include "sidecar/cache/object.h"
#include "sidecar/cache/record.h"
#include "sidecar/http/conditional.h"
#include "sidecar/http/range.h"

namespace catzilla::cache {

// What to add to the forwarded request; empty values: leave out. The request's own If-* and Range
// fields are not forwarded by whoever leads a fill (see IsOwnCondition()).
struct Conditions {
  std::string_view if_none_match;  // The object's; lives as long as it.
  std::string if_modified_since;
};
Conditions ConditionsFor(const Object& stale);

// Fields of the client that a leader keeps to itself, so that the app's answer is whole and for
// all.
bool IsOwnCondition(http::HeaderId id);

// The stored answer with the fields of a 304 (RFC 9111 3.2) and its new age, as a Record to make an
// object of. Nullopt when it may no longer be kept.
std::optional<Record> Freshened(const Object& stale, const RequestView& request,
                                const ResponseView& not_modified, const RecordPolicy& policy,
                                const ExchangeTimes& times);

// How a stored object answers this request: conditions first, then ranges (RFC 9110 13.2.2).
struct Reply {
  enum class Kind : uint8_t {
    kWhole,          // object.head(), body.
    kNotModified,    // object.not_modified_head()
    kPartial,        // 206: fields(), Content-Range; `range` of the body.
    kUnsatisfiable,  // 416 with Content-Range: bytes */size.
    kFailed,         // 412
  };
  Kind kind = Kind::kWhole;
  http::ByteRange range;
};
Reply ReplyTo(const http::RequestHead& request, const Object& object, int64_t now_s);

}  // namespace catzilla::cache
