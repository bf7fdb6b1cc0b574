// What is known of an answer once its head has come: everything an Object needs but the body.
//
// Threads: made by one, immutable then. Owns: its bytes.
// Limits:  tags_max given to MakeRecord: an answer with more is declined, for it could not be
//          purged.
// Fails:   by a Record that is not storable, with the reason.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/cache/freshness.h"
#include "sidecar/cache/message.h"

namespace catzilla::cache {

struct Record {
  bool storable = false;
  std::string_view reason;  // Why not; of static storage.
  int status = 200;
  std::string status_line;  // "HTTP/1.1 200 OK\r\n"
  // Serialised "Name: value\r\n" lines in the app's order; without hop-by-hop fields,
  // Content-Length and Age, which whoever sends it adds. Date is there, as the age is counted from
  // it.
  std::string fields;
  std::string fields_304;  // Those of them that a 304 repeats (RFC 9110 15.4.5).
  std::string etag;
  int64_t last_modified_s = -1;
  std::optional<uint64_t> content_length;
  std::string vary;  // See EncodeVary().
  std::vector<std::string> tags;
  Freshness freshness;
};

struct RecordPolicy {
  StoragePolicy storage;
  std::vector<std::string> route_tags;  // config::Route::cache_tags
  uint32_t tags_max = 64;
  // Of the code that is asked: nobody follows a fill of another's.
  uint64_t lineage = 0;
};

Record MakeRecord(const RequestView& request, const ResponseView& response,
                  const RecordPolicy& policy, const ExchangeTimes& times);

// Whether `name` concerns one connection only and is neither stored nor sent on; `connection_lists`
// are the values of the message's Connection fields.
bool IsHopByHop(std::string_view name, Fields message);

// Splits what MakeRecord() serialised; the views point into `fields`.
std::vector<Field> ParseFields(std::string_view fields);

}  // namespace catzilla::cache
