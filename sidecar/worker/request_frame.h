// REQUEST: one flat buffer from which a worker rebuilds the whole request (section 4.3).
//
// Threads: none of its own. Owns: nothing; spec and view borrow.
// Limits:  the caller keeps head_bytes_max and data_bytes_max (RequestBytes()). Slots that do not
//          fit 16-bit offsets are all left out and the frame says SLOTS_OVERFLOW: the worker takes
//          the slow lane.
// Fails:   DecodeRequest() returns why, null for success.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sidecar/origin/request.h"
#include "sidecar/worker/payload.h"

namespace catzilla::worker {

enum class Method : uint8_t {
  kOther = 0,
  kGet = 1,
  kHead = 2,
  kPost = 3,
  kPut = 4,
  kPatch = 5,
  kDelete = 6,
  kOptions = 7,
  kTrace = 8,
  kConnect = 9,
};
Method ToMethod(std::string_view text);
std::string_view MethodText(Method method);  // Empty for kOther.
bool IsIdempotent(Method method);            // RFC 9110, 9.2.2; kOther is not.

using origin::BodyMode;
using origin::kLengthUnknown;
using origin::kNoRoute;
using enum origin::RequestFlag;
using origin::RequestSpec;
using origin::SlotValue;

// Payload bytes without the inline body, for the limit.
size_t RequestHeadBytes(const RequestSpec& spec);

// Appends frame header and payload; stream and aux are 0 until PatchRequest().
void EncodeRequest(const RequestSpec& spec, std::string* out);
// `frame` is what EncodeRequest() wrote.
void PatchRequest(char* frame, uint32_t stream, uint32_t attempt, uint32_t queue_us);

struct RequestView {
  uint32_t route_id = 0;
  uint32_t flags = 0;
  Method method = Method::kOther;
  uint8_t http_version = 0;
  uint8_t scheme = 0;
  BodyMode body_mode = BodyMode::kNone;
  uint16_t slot_count = 0;
  uint16_t field_count = 0;
  uint64_t accept_us = 0;
  uint64_t deadline_us = 0;
  uint64_t body_length = 0;
  uint32_t queue_us = 0;
  uint16_t client_port = 0;
  uint16_t server_port = 0;
  std::string_view method_text, target, query, path, host, client, server, root_path, request_id,
      traceparent, tracestate;
  FieldsView fields;
  std::string_view body;
  std::string_view payload;

  // REQUIRES: index < slot_count. A list's items are read with ListItem().
  struct Slot {
    bool present = false;
    bool list = false;
    std::string_view bytes;
    size_t list_size() const { return bytes.size() / 4; }
  };
  Slot SlotAt(uint16_t index) const;
  std::string_view ListItem(const Slot& slot, size_t index) const;
};
const char* DecodeRequest(std::string_view payload, RequestView* request);

}  // namespace catzilla::worker
