#include "sidecar/worker/request_frame.h"

#include <algorithm>
#include <array>

#include "sidecar/base/check.h"

namespace catzilla::worker {

namespace {

constexpr size_t kFixedBytes = 120;
constexpr size_t kQueueAt = 40;
constexpr size_t kOffsetsAt = 48;  // query_at; method_at follows.
constexpr int kStringCount = 10;
constexpr uint16_t kListBit = 0x8000;

constexpr std::array<std::string_view, 10> kMethods = {
    "", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"};

size_t SlotBytes(const SlotValue& slot) {
  if (slot.kind == SlotValue::Kind::kAbsent) return 0;
  if (slot.kind == SlotValue::Kind::kValue) return slot.value.size();
  size_t bytes = 4 * slot.list.size();
  for (std::string_view item : slot.list) bytes += item.size();
  return bytes;
}

std::array<std::string_view, kStringCount> Strings(const RequestSpec& spec) {
  return {ToMethod(spec.method) == Method::kOther ? spec.method : std::string_view(),
          spec.target,
          spec.path,
          spec.host,
          spec.client,
          spec.server,
          spec.root_path,
          spec.request_id,
          spec.traceparent,
          spec.tracestate};
}

// Whether every slot can be said with 16 bits of offset and 15 of length.
bool SlotsFit(const RequestSpec& spec, size_t values_at) {
  size_t at = values_at;
  for (const SlotValue& slot : spec.slots) {
    if (slot.value.size() > 0x7FFF || slot.list.size() * 4 > 0x7FFF) return false;
    for (std::string_view item : slot.list) {
      if (item.size() > 0xFFFF) return false;
    }
    at += SlotBytes(slot);
  }
  return at <= 0xFFFF;
}

// Appends the values, and writes their places into the slot table at `table` (an offset in `out`).
void AppendSlots(const RequestSpec& spec, size_t payload_at, size_t table, std::string* out) {
  const auto place = [&](std::string_view value) {
    const size_t at = out->size() - payload_at;
    out->append(value);
    return static_cast<uint16_t>(at);
  };
  for (const SlotValue& slot : spec.slots) {
    uint16_t offset = 0;
    uint16_t length = 0;
    if (slot.kind == SlotValue::Kind::kValue) {
      offset = place(slot.value);
      length = static_cast<uint16_t>(slot.value.size());
    } else if (slot.kind == SlotValue::Kind::kList) {
      uint16_t at = static_cast<uint16_t>(out->size() - payload_at);
      for (std::string_view item : slot.list) place(item);
      offset = static_cast<uint16_t>(out->size() - payload_at);
      for (std::string_view item : slot.list) {
        Writer(out).U16(at).U16(static_cast<uint16_t>(item.size()));
        at = static_cast<uint16_t>(at + item.size());
      }
      length = static_cast<uint16_t>(slot.list.size() * 4) | kListBit;
    }
    Store16(out->data() + table, offset);
    Store16(out->data() + table + 2, length);
    table += 4;
  }
}

}  // namespace

Method ToMethod(std::string_view text) {
  for (size_t i = 1; i < kMethods.size(); ++i) {
    if (kMethods[i] == text) return static_cast<Method>(i);
  }
  return Method::kOther;
}

std::string_view MethodText(Method method) { return kMethods[static_cast<size_t>(method)]; }

bool IsIdempotent(Method method) {
  switch (method) {
    case Method::kGet:
    case Method::kHead:
    case Method::kPut:
    case Method::kDelete:
    case Method::kOptions:
    case Method::kTrace:
      return true;
    default:
      return false;
  }
}

size_t RequestHeadBytes(const RequestSpec& spec) {
  size_t bytes = kFixedBytes + 4 * spec.slots.size();
  for (std::string_view text : Strings(spec)) bytes += text.size();
  for (const SlotValue& slot : spec.slots) bytes += SlotBytes(slot);
  for (const Field& field : spec.fields) bytes += field.name.size() + field.value.size() + 2;
  return bytes;
}

void EncodeRequest(const RequestSpec& spec, std::string* out) {
  const size_t frame_at = out->size();
  const size_t payload_at = frame_at + kFrameHeaderBytes;
  const bool whole = spec.body_mode != BodyMode::kStreaming;
  const auto strings = Strings(spec);
  std::array<uint32_t, kStringCount + 1> offsets;
  size_t at = kFixedBytes + 4 * spec.slots.size();
  for (int i = 0; i < kStringCount; ++i) {
    offsets[i] = static_cast<uint32_t>(at);
    at += strings[i].size();
  }
  offsets[kStringCount] = static_cast<uint32_t>(at);  // values_at
  const bool slots_fit = SlotsFit(spec, at);
  const size_t mark = spec.target.find('?');
  const uint32_t query_at =
      mark == std::string_view::npos ? offsets[2] : static_cast<uint32_t>(offsets[1] + mark + 1);

  out->append(kFrameHeaderBytes, '\0');
  Writer writer(out);
  writer.U32(spec.route_id).U32(spec.flags | (slots_fit ? 0u : kSlotsOverflow));
  writer.U8(static_cast<uint8_t>(ToMethod(spec.method))).U8(spec.http_version).U8(spec.scheme);
  writer.U8(static_cast<uint8_t>(spec.body_mode));
  writer.U16(static_cast<uint16_t>(spec.slots.size()));
  writer.U16(static_cast<uint16_t>(spec.fields.size()));
  writer.U64(static_cast<uint64_t>(spec.accept_us)).U64(static_cast<uint64_t>(spec.deadline_us));
  writer.U64(spec.body_length).U32(spec.queue_us).U16(spec.client_port).U16(spec.server_port);
  writer.U32(query_at);
  for (uint32_t offset : offsets) writer.U32(offset);
  const size_t ends_at = out->size();
  writer.Zeros(8 + 16);  // fields_at and body_at are known below.
  const size_t table = out->size();
  writer.Zeros(4 * spec.slots.size());
  for (std::string_view text : strings) out->append(text);
  if (slots_fit) AppendSlots(spec, payload_at, table, out);
  Store32(out->data() + ends_at, static_cast<uint32_t>(out->size() - payload_at));
  for (const Field& field : spec.fields) AppendField(field.name, field.value, out);
  Store32(out->data() + ends_at + 4, static_cast<uint32_t>(out->size() - payload_at));
  if (spec.body_mode == BodyMode::kInline) out->append(spec.body);

  FrameHeader header;
  header.length = static_cast<uint32_t>(out->size() - payload_at);
  header.type = spec.upgrade ? FrameType::kUpgrade : FrameType::kRequest;
  header.flags = whole && !spec.upgrade ? kFlagEnd : 0;
  EncodeHeader(header, out->data() + frame_at);
}

void PatchRequest(char* frame, uint32_t stream, uint32_t attempt, uint32_t queue_us) {
  Store32(frame + 8, stream);
  Store32(frame + 12, attempt);
  Store32(frame + kFrameHeaderBytes + kQueueAt, queue_us);
}

// Reading it...

const char* DecodeRequest(std::string_view payload, RequestView* request) {
  if (payload.size() < kFixedBytes) return "REQUEST is shorter than its fixed part";
  const char* p = payload.data();
  RequestView& r = *request;
  r.payload = payload;
  r.route_id = Load32(p);
  r.flags = Load32(p + 4);
  const auto method = static_cast<uint8_t>(p[8]);
  const auto body_mode = static_cast<uint8_t>(p[11]);
  r.http_version = static_cast<uint8_t>(p[9]);
  r.scheme = static_cast<uint8_t>(p[10]);
  if (method >= kMethods.size() || body_mode > 2 || r.scheme > 1) {
    return "REQUEST has a method, scheme or body mode that is not defined";
  }
  r.method = static_cast<Method>(method);
  r.body_mode = static_cast<BodyMode>(body_mode);
  r.slot_count = Load16(p + 12);
  r.field_count = Load16(p + 14);
  r.accept_us = Load64(p + 16);
  r.deadline_us = Load64(p + 24);
  r.body_length = Load64(p + 32);
  r.queue_us = Load32(p + kQueueAt);
  r.client_port = Load16(p + 44);
  r.server_port = Load16(p + 46);

  // method_at … body_at rise, between the slots and the end.
  constexpr int kEnds = kStringCount + 3;
  size_t ends[kEnds + 1];
  size_t least = kFixedBytes + 4 * size_t{r.slot_count};
  for (int i = 0; i < kEnds; ++i) {
    ends[i] = Load32(p + kOffsetsAt + 4 + 4 * i);
    if (ends[i] < least || ends[i] > payload.size()) return "REQUEST has offsets out of order";
    least = ends[i];
  }
  const auto text = [&](int i) { return payload.substr(ends[i], ends[i + 1] - ends[i]); };
  std::string_view* strings[kStringCount] = {
      &r.method_text, &r.target,    &r.path,       &r.host,        &r.client,
      &r.server,      &r.root_path, &r.request_id, &r.traceparent, &r.tracestate};
  for (int i = 0; i < kStringCount; ++i) *strings[i] = text(i);
  const size_t query_at = Load32(p + kOffsetsAt);
  if (query_at < ends[1] || query_at > ends[2]) return "REQUEST has a query outside its target";
  r.query = payload.substr(query_at, ends[2] - query_at);
  r.fields = FieldsView(text(kStringCount + 1));
  if (CountFields(r.fields.bytes()) != r.field_count) return "REQUEST counts other fields";
  r.body = payload.substr(ends[kEnds - 1]);
  if (r.body_mode != BodyMode::kInline && !r.body.empty()) return "REQUEST has a body it denies";

  for (size_t i = 0; i < r.slot_count; ++i) {
    const size_t offset = Load16(p + kFixedBytes + 4 * i);
    const uint16_t length = Load16(p + kFixedBytes + 4 * i + 2);
    const size_t size = length & ~kListBit;
    if (offset == 0) continue;
    if (offset < kFixedBytes || offset + size > payload.size()) return "REQUEST has a slot outside";
    if ((length & kListBit) == 0) continue;
    for (size_t item = 0; item + 4 <= size; item += 4) {
      const char* spot = p + offset + item;
      if (size_t{Load16(spot)} + Load16(spot + 2) > payload.size()) {
        return "REQUEST has a list slot outside";
      }
    }
  }
  return nullptr;
}

RequestView::Slot RequestView::SlotAt(uint16_t index) const {
  CATZILLA_CHECK(index < slot_count, "a slot that the request does not have");
  const char* entry = payload.data() + kFixedBytes + 4 * size_t{index};
  const uint16_t offset = Load16(entry);
  const uint16_t length = Load16(entry + 2);
  if (offset == 0) return {};
  return {true, (length & kListBit) != 0,
          payload.substr(offset, length & static_cast<uint16_t>(~kListBit))};
}

std::string_view RequestView::ListItem(const Slot& slot, size_t index) const {
  CATZILLA_CHECK(slot.list && index < slot.list_size(), "an item that the slot does not have");
  const char* spot = slot.bytes.data() + 4 * index;
  return payload.substr(Load16(spot), Load16(spot + 2));
}

}  // namespace catzilla::worker
