#include "sidecar/worker/payload.h"

#include <cstring>

#include "sidecar/base/check.h"

namespace catzilla::worker {

namespace {

constexpr size_t kHelloBytes = 184;
constexpr size_t kHelloAckBytes = 72;
constexpr size_t kResponseBytes = 36;
constexpr size_t kHeadBytes = 8;
constexpr size_t kStatsBytes = 64;

}  // namespace

Writer& Writer::U16(uint16_t value) {
  char bytes[2];
  Store16(bytes, value);
  out_.append(bytes, sizeof bytes);
  return *this;
}
Writer& Writer::U32(uint32_t value) {
  char bytes[4];
  Store32(bytes, value);
  out_.append(bytes, sizeof bytes);
  return *this;
}
Writer& Writer::U64(uint64_t value) {
  char bytes[8];
  Store64(bytes, value);
  out_.append(bytes, sizeof bytes);
  return *this;
}

// Fields...

Field FieldsView::Iterator::operator*() const {
  const size_t name_end = rest_.find('\0');
  const size_t value_end = rest_.find('\0', name_end + 1);
  return {rest_.substr(0, name_end), rest_.substr(name_end + 1, value_end - name_end - 1)};
}

FieldsView::Iterator& FieldsView::Iterator::operator++() {
  const size_t name_end = rest_.find('\0');
  rest_.remove_prefix(rest_.find('\0', name_end + 1) + 1);
  return *this;
}

int64_t CountFields(std::string_view bytes) {
  if (bytes.empty()) return 0;
  if (bytes.back() != '\0') return -1;
  int64_t nuls = 0;
  for (size_t at = bytes.find('\0'); at != std::string_view::npos; at = bytes.find('\0', at + 1)) {
    ++nuls;
  }
  return nuls % 2 == 0 ? nuls / 2 : -1;
}

void AppendField(std::string_view name, std::string_view value, std::string* out) {
  out->append(name).push_back('\0');
  out->append(value).push_back('\0');
}

// HELLO...

const char* DecodeHello(std::string_view payload, Hello* hello) {
  if (payload.size() < kHelloBytes) return "HELLO is shorter than its fixed part";
  const char* p = payload.data();
  if (Load32(p) != kHelloMagic) return "HELLO does not begin with CZL1";
  hello->version_min = Load16(p + 4);
  hello->version_max = Load16(p + 6);
  if (hello->version_min == 0 || hello->version_min > hello->version_max) {
    return "HELLO has an upside-down version range";
  }
  hello->capabilities = Load32(p + 8);
  const auto purpose = static_cast<uint8_t>(p[12]);
  const auto lane_kind = static_cast<uint8_t>(p[13]);
  if (purpose < 1 || purpose > 2) return "HELLO is neither for a lane nor for control";
  if (lane_kind > 2 || (purpose == 1) != (lane_kind != 0)) return "HELLO names no kind of lane";
  hello->purpose = static_cast<Purpose>(purpose);
  hello->lane_kind = static_cast<LaneKind>(lane_kind);
  hello->loop_index = Load16(p + 14);
  hello->token = payload.substr(16, kTokenBytes);
  hello->epoch = Load64(p + 32);
  hello->generation = Load64(p + 40);
  hello->table_hash = payload.substr(48, kTableHashBytes);
  hello->pid = Load32(p + 80);
  hello->worker_index = Load32(p + 84);
  hello->start_time_us = Load64(p + 88);
  hello->in_flight_max = Load32(p + 96);
  hello->stream_window = Load32(p + 100);
  hello->connection_window = Load32(p + 104);
  hello->head_bytes_max = Load32(p + 108);
  hello->data_bytes_max = Load32(p + 112);
  hello->monotonic_us = Load64(p + 120);
  hello->wall_us = Load64(p + 128);
  hello->rss_bytes = Load64(p + 136);
  if (hello->stream_window > kWindowMax || hello->connection_window > kWindowMax) {
    return "HELLO has a window past 2^31-1";
  }
  std::string_view* texts[] = {&hello->pool, &hello->sdk, &hello->python, &hello->framework,
                               &hello->note};
  size_t at = kHelloBytes;
  const char* ends = p + 152;
  for (std::string_view* text : texts) {
    const size_t end = Load32(ends);
    ends += 4;
    if (end < at || end > payload.size()) return "HELLO has texts out of order";
    *text = payload.substr(at, end - at);
    at = end;
  }
  return at == payload.size() ? nullptr : "HELLO has bytes behind its texts";
}

void EncodeHello(const Hello& hello, std::string* out) {
  CATZILLA_CHECK(hello.token.size() == kTokenBytes, "the token of a HELLO has 16 bytes");
  CATZILLA_CHECK(hello.table_hash.size() == kTableHashBytes, "the table hash has 32 bytes");
  Writer writer(out);
  writer.U32(kHelloMagic).U16(hello.version_min).U16(hello.version_max).U32(hello.capabilities);
  writer.U8(static_cast<uint8_t>(hello.purpose)).U8(static_cast<uint8_t>(hello.lane_kind));
  writer.U16(hello.loop_index).Bytes(hello.token).U64(hello.epoch).U64(hello.generation);
  writer.Bytes(hello.table_hash).U32(hello.pid).U32(hello.worker_index).U64(hello.start_time_us);
  writer.U32(hello.in_flight_max).U32(hello.stream_window).U32(hello.connection_window);
  writer.U32(hello.head_bytes_max).U32(hello.data_bytes_max).Zeros(4);
  writer.U64(hello.monotonic_us).U64(hello.wall_us).U64(hello.rss_bytes).Zeros(8);
  size_t at = kHelloBytes;
  for (std::string_view text : {hello.pool, hello.sdk, hello.python, hello.framework, hello.note}) {
    at += text.size();
    writer.U32(static_cast<uint32_t>(at));
  }
  writer.Zeros(12).Bytes(hello.pool).Bytes(hello.sdk).Bytes(hello.python);
  writer.Bytes(hello.framework).Bytes(hello.note);
}

const char* DecodeHelloAck(std::string_view payload, HelloAck* ack) {
  if (payload.size() < kHelloAckBytes) return "HELLO_ACK is shorter than its fixed part";
  const char* p = payload.data();
  ack->version = Load16(p);
  ack->loop_count = Load16(p + 2);
  ack->capabilities = Load32(p + 4);
  ack->credits = Load32(p + 8);
  ack->stream_window = Load32(p + 12);
  ack->connection_window = Load32(p + 16);
  ack->head_bytes_max = Load32(p + 20);
  ack->data_bytes_max = Load32(p + 24);
  ack->ping_interval_ms = Load32(p + 28);
  ack->monotonic_us = Load64(p + 32);
  ack->wall_us = Load64(p + 40);
  ack->worker_id = Load64(p + 48);
  ack->lane_id = Load32(p + 56);
  ack->loop_index = Load32(p + 60);
  if (Load32(p + 64) != payload.size()) return "HELLO_ACK does not end with its text";
  ack->sidecar = payload.substr(kHelloAckBytes);
  return nullptr;
}

void EncodeHelloAck(const HelloAck& ack, std::string* out) {
  Writer writer(out);
  writer.U16(ack.version).U16(ack.loop_count).U32(ack.capabilities).U32(ack.credits);
  writer.U32(ack.stream_window).U32(ack.connection_window).U32(ack.head_bytes_max);
  writer.U32(ack.data_bytes_max).U32(ack.ping_interval_ms).U64(ack.monotonic_us);
  writer.U64(ack.wall_us).U64(ack.worker_id).U32(ack.lane_id).U32(ack.loop_index);
  writer.U32(static_cast<uint32_t>(kHelloAckBytes + ack.sidecar.size())).Zeros(4);
  writer.Bytes(ack.sidecar);
}

// RESPONSE and other heads...

const char* DecodeResponse(std::string_view payload, ResponseView* response, bool* fields_sound) {
  if (payload.size() < kResponseBytes) return "RESPONSE is shorter than its fixed part";
  const char* p = payload.data();
  response->status = Load16(p);
  response->lane = static_cast<uint8_t>(p[2]);
  response->fallback = static_cast<uint8_t>(p[3]);
  response->flags = Load16(p + 4);
  response->field_count = Load16(p + 6);
  const uint64_t fields_bytes = Load32(p + 8);
  const uint64_t tags_bytes = Load32(p + 12);
  response->handler_us = Load32(p + 16);
  response->ttl_ms = Load32(p + 20);
  response->stale_while_revalidate_ms = Load32(p + 24);
  response->stale_if_error_ms = Load32(p + 28);
  if (kResponseBytes + fields_bytes + tags_bytes > payload.size()) {
    return "RESPONSE has fields or tags behind its end";
  }
  response->fields = FieldsView(payload.substr(kResponseBytes, fields_bytes));
  response->tags = payload.substr(kResponseBytes + fields_bytes, tags_bytes);
  response->body = payload.substr(kResponseBytes + fields_bytes + tags_bytes);
  *fields_sound = CountFields(response->fields.bytes()) == response->field_count &&
                  (response->tags.empty() || response->tags.back() == '\0');
  return nullptr;
}

void EncodeResponse(const ResponseView& response, std::string* out) {
  Writer writer(out);
  writer.U16(response.status).U8(response.lane).U8(response.fallback).U16(response.flags);
  writer.U16(static_cast<uint16_t>(CountFields(response.fields.bytes())));
  writer.U32(static_cast<uint32_t>(response.fields.bytes().size()));
  writer.U32(static_cast<uint32_t>(response.tags.size())).U32(response.handler_us);
  writer.U32(response.ttl_ms).U32(response.stale_while_revalidate_ms);
  writer.U32(response.stale_if_error_ms).Zeros(4);
  writer.Bytes(response.fields.bytes()).Bytes(response.tags).Bytes(response.body);
}

const char* DecodeHead(std::string_view payload, HeadView* head) {
  if (payload.size() < kHeadBytes) return "a head is shorter than its fixed part";
  const char* p = payload.data();
  head->status = Load16(p);
  if (kHeadBytes + uint64_t{Load32(p + 4)} != payload.size()) {
    return "a head has bytes behind its fields";
  }
  head->fields = FieldsView(payload.substr(kHeadBytes));
  if (CountFields(head->fields.bytes()) != Load16(p + 2)) return "a head counts other fields";
  return nullptr;
}

void EncodeHead(const HeadView& head, std::string* out) {
  const std::string_view bytes = head.fields.bytes();
  Writer writer(out);
  writer.U16(head.status).U16(static_cast<uint16_t>(CountFields(bytes)));
  writer.U32(static_cast<uint32_t>(bytes.size())).Bytes(bytes);
}

// STATS...

const char* DecodeStats(std::string_view payload, WorkerStats* stats) {
  if (payload.size() != kStatsBytes) return "STATS has another size";
  const char* p = payload.data();
  stats->rss_bytes = Load64(p);
  stats->requests = Load64(p + 8);
  stats->exceptions = Load64(p + 16);
  stats->active = Load32(p + 24);
  stats->detached = Load32(p + 28);
  stats->loop_lag_us = Load32(p + 32);
  stats->threads = Load32(p + 36);
  stats->gc_us = Load64(p + 40);
  stats->wall_us = Load64(p + 48);
  return nullptr;
}

void EncodeStats(const WorkerStats& stats, std::string* out) {
  Writer writer(out);
  writer.U64(stats.rss_bytes).U64(stats.requests).U64(stats.exceptions).U32(stats.active);
  writer.U32(stats.detached).U32(stats.loop_lag_us).U32(stats.threads).U64(stats.gc_us);
  writer.U64(stats.wall_us).Zeros(8);
}

}  // namespace catzilla::worker
