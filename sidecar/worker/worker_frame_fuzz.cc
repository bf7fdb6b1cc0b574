// Any bytes into the reader and the decoders: no crash, no read outside, and what decodes encodes
// again.
#include <algorithm>
#include <cstring>

#include "sidecar/base/check.h"
#include "sidecar/worker/request_frame.h"

using namespace catzilla::worker;  // NOLINT: a fuzzer is one file

namespace {

size_t total = 0;

void Touch(std::string_view bytes) {
  for (char c : bytes) total += static_cast<unsigned char>(c);
}

void Decode(const FrameView& frame) {
  if (CheckFrame(frame) != nullptr) return;
  Hello hello;
  HelloAck ack;
  RequestView request;
  ResponseView response;
  HeadView head;
  WorkerStats stats;
  bool sound = false;
  std::string again;
  switch (frame.header.type) {
    case FrameType::kHello:
      if (DecodeHello(frame.payload, &hello) != nullptr) return;
      EncodeHello(hello, &again);
      CATZILLA_CHECK(again.size() == frame.payload.size(), "HELLO encodes to its size");
      break;
    case FrameType::kHelloAck:
      if (DecodeHelloAck(frame.payload, &ack) == nullptr) Touch(ack.sidecar);
      break;
    case FrameType::kRequest:
    case FrameType::kUpgrade:
      if (DecodeRequest(frame.payload, &request) != nullptr) return;
      Touch(request.target), Touch(request.path), Touch(request.query), Touch(request.body);
      for (Field field : request.fields) Touch(field.name), Touch(field.value);
      for (uint16_t i = 0; i < request.slot_count; ++i) {
        const auto slot = request.SlotAt(i);
        Touch(slot.bytes);
        for (size_t item = 0; slot.list && item < slot.list_size(); ++item) {
          Touch(request.ListItem(slot, item));
        }
      }
      break;
    case FrameType::kResponse:
      if (DecodeResponse(frame.payload, &response, &sound) != nullptr || !sound) return;
      for (Field field : response.fields) Touch(field.name), Touch(field.value);
      EncodeResponse(response, &again);
      CATZILLA_CHECK(again.size() == frame.payload.size(), "RESPONSE encodes to its size");
      break;
    case FrameType::kInformational:
    case FrameType::kTrailers:
    case FrameType::kWsAccept:
      if (DecodeHead(frame.payload, &head) != nullptr) return;
      for (Field field : head.fields) Touch(field.name), Touch(field.value);
      break;
    case FrameType::kStats:
      if (DecodeStats(frame.payload, &stats) == nullptr) total += stats.active;
      break;
    default:
      Touch(frame.payload);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t step = 1 + data[0] % 64;  // How much each read brings.
  FrameReader reader(FrameLimits{});
  for (size_t at = 1; at < size;) {
    size_t room = 0;
    char* space = reader.Space(&room);
    const size_t take = std::min({room, step, size - at});
    std::memcpy(space, data + at, take);
    reader.Commit(take);
    at += take;
    FrameView frame;
    FrameReader::Step next;
    while ((next = reader.Next(&frame)) == FrameReader::Step::kFrame) Decode(frame);
    if (next == FrameReader::Step::kError) break;
  }
  return 0;
}
