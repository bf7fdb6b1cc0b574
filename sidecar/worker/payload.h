// What frames carry: fields, HELLO, HELLO_ACK, RESPONSE, heads, STATS (sections 4.1, 4.2, 4.4
// to 4.6).
//
// Threads: none of its own. Owns: nothing; views borrow from the payload they were decoded from.
// Fails:   Decode…() returns why as a static sentence, null for success; the view is then complete
//          and every offset has been checked. Encoders append to `out` and cannot fail.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "sidecar/http/field.h"
#include "sidecar/worker/frame.h"

namespace catzilla::worker {

using http::Field;

// Header pairs as they lie in a frame: `name NUL value NUL …`. Always whole: see CountFields().
class FieldsView {
 public:
  FieldsView() = default;
  explicit FieldsView(std::string_view bytes) : bytes_(bytes) {}

  class Iterator {
   public:
    explicit Iterator(std::string_view rest) : rest_(rest) {}
    Field operator*() const;
    Iterator& operator++();
    bool operator!=(const Iterator& other) const { return rest_.size() != other.rest_.size(); }

   private:
    std::string_view rest_;
  };
  Iterator begin() const { return Iterator(bytes_); }
  Iterator end() const { return Iterator(bytes_.substr(bytes_.size())); }
  std::string_view bytes() const { return bytes_; }

 private:
  std::string_view bytes_;
};

// How many pairs `bytes` holds; -1 if it does not end with a whole one.
int64_t CountFields(std::string_view bytes);
// REQUIRES: no NUL in either; the HTTP parser and the response checks have seen to that.
void AppendField(std::string_view name, std::string_view value, std::string* out);

enum class Purpose : uint8_t { kLane = 1, kControl = 2 };
enum class LaneKind : uint8_t { kNone = 0, kEventLoop = 1, kBlocking = 2 };
inline constexpr uint16_t kAnyLoop = 0xFFFF;
inline constexpr uint32_t kHelloMagic = 0x314C5A43;
inline constexpr size_t kTokenBytes = 16;
inline constexpr size_t kTableHashBytes = 32;

struct Hello {
  uint16_t version_min = kLinkVersionMin;
  uint16_t version_max = kLinkVersionMax;
  uint32_t capabilities = 0;
  Purpose purpose = Purpose::kLane;
  LaneKind lane_kind = LaneKind::kEventLoop;
  uint16_t loop_index = 0;
  std::string_view token;  // kTokenBytes
  uint64_t epoch = 0;
  uint64_t generation = 0;
  std::string_view table_hash;  // kTableHashBytes
  uint32_t pid = 0;
  uint32_t worker_index = 0;
  uint64_t start_time_us = 0;
  uint32_t in_flight_max = 0;
  uint32_t stream_window = 0;
  uint32_t connection_window = 0;
  uint32_t head_bytes_max = 0;
  uint32_t data_bytes_max = 0;
  uint64_t monotonic_us = 0;
  uint64_t wall_us = 0;
  uint64_t rss_bytes = 0;
  std::string_view pool;
  std::string_view sdk;
  std::string_view python;
  std::string_view framework;
  std::string_view note;
};
const char* DecodeHello(std::string_view payload, Hello* hello);
void EncodeHello(const Hello& hello, std::string* out);

struct HelloAck {
  uint16_t version = kLinkVersionMax;
  uint16_t loop_count = 1;
  uint32_t capabilities = 0;
  uint32_t credits = 0;
  uint32_t stream_window = 0;
  uint32_t connection_window = 0;
  uint32_t head_bytes_max = 0;
  uint32_t data_bytes_max = 0;
  uint32_t ping_interval_ms = 0;
  uint64_t monotonic_us = 0;
  uint64_t wall_us = 0;
  uint64_t worker_id = 0;
  uint32_t lane_id = 0;
  uint32_t loop_index = 0;
  std::string_view sidecar;
};
const char* DecodeHelloAck(std::string_view payload, HelloAck* ack);
void EncodeHelloAck(const HelloAck& ack, std::string* out);

// How the SDK has made an answer: the genuine app, compiled behind its middleware, compiled.
inline constexpr std::array<std::string_view, 3> kAnswerLaneNames = {"slow", "stack", "fast"};
inline constexpr size_t kAnswerLanes = kAnswerLaneNames.size();

enum ResponseFlag : uint16_t {
  kOutsideUserMiddleware = 0x01,
  kDetachedAnswer = 0x02,
  kStore = 0x04,
  kNoStore = 0x08,
};

struct ResponseView {
  uint16_t status = 0;
  uint8_t lane = 0;
  uint8_t fallback = 0;
  uint16_t flags = 0;
  uint16_t field_count = 0;
  uint32_t handler_us = 0;
  uint32_t ttl_ms = 0;
  uint32_t stale_while_revalidate_ms = 0;
  uint32_t stale_if_error_ms = 0;
  FieldsView fields;
  std::string_view tags;  // Each followed by NUL.
  std::string_view body;
};
// Offsets are broken: the peer's fault. `fields_sound` says whether count and pairs agree; if not
// it is the app's fault and only this request fails.
const char* DecodeResponse(std::string_view payload, ResponseView* response, bool* fields_sound);
void EncodeResponse(const ResponseView& response, std::string* out);

// INFORMATIONAL and TRAILERS.
struct HeadView {
  uint16_t status = 0;
  FieldsView fields;
};
const char* DecodeHead(std::string_view payload, HeadView* head);
void EncodeHead(const HeadView& head, std::string* out);

struct WorkerStats {
  uint64_t rss_bytes = 0;
  uint64_t requests = 0;
  uint64_t exceptions = 0;
  uint32_t active = 0;
  uint32_t detached = 0;
  uint32_t loop_lag_us = 0;
  uint32_t threads = 0;
  uint64_t gc_us = 0;
  uint64_t wall_us = 0;
};
const char* DecodeStats(std::string_view payload, WorkerStats* stats);
void EncodeStats(const WorkerStats& stats, std::string* out);

// Writes numbers one behind the other; the layouts read like the tables of frames.md.
class Writer {
 public:
  explicit Writer(std::string* out) : out_(*out) {}
  Writer& U8(uint8_t value) {
    out_.push_back(static_cast<char>(value));
    return *this;
  }
  Writer& U16(uint16_t value);
  Writer& U32(uint32_t value);
  Writer& U64(uint64_t value);
  Writer& Bytes(std::string_view bytes) {
    out_.append(bytes);
    return *this;
  }
  Writer& Zeros(size_t count) {
    out_.append(count, '\0');
    return *this;
  }

 private:
  std::string& out_;
};

}  // namespace catzilla::worker
