// Any bytes, however cut: the same messages, never more than the limit, never outside a buffer.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/base/check.h"
#include "sidecar/websocket/message_decoder.h"

using namespace catzilla::websocket;  // NOLINT: a fuzzer is one file

namespace {

constexpr uint64_t kMost = 3000;

// `inside`: the input ends within a message.
std::string Read(std::string_view input, MessageDecoder::Sender sender, bool inflates,
                 size_t step_bytes, size_t room, bool* inside) {
  const bool in_place = sender == MessageDecoder::Sender::kServer && !inflates;
  MessageDecoder decoder(kMost, sender);
  if (inflates) decoder.Inflate(std::make_unique<Inflater>(15, true));
  std::vector<char> out(room);
  std::string told;
  uint64_t message = 0;
  while (!input.empty()) {
    const size_t take = std::min(step_bytes, input.size());
    std::string part(input.substr(0, take));  // Its own memory: ASan sees what is read past it.
    input.remove_prefix(take);
    for (std::string_view rest = part;;) {
      const MessageDecoder::Step step = decoder.Next(rest, out);
      CATZILLA_CHECK(step.consumed <= rest.size(), "took more than there was");
      CATZILLA_CHECK(in_place || step.payload.size() <= std::max(room, size_t{kControlBytesMax}),
                     "no room");
      rest.remove_prefix(step.consumed);
      if (step.event == MessageDecoder::Event::kError)
        return told + "!" + std::to_string(step.code);
      if (step.event == MessageDecoder::Event::kNothing) {
        if (rest.empty()) break;
        CATZILLA_CHECK(step.consumed > 0, "it goes on");
        continue;
      }
      told += step.payload;
      if (step.event != MessageDecoder::Event::kPiece) {
        told += static_cast<char>('0' + static_cast<int>(step.event));
        continue;
      }
      message += step.payload.size();
      CATZILLA_CHECK(message <= kMost, "a message past its limit");
      if (step.last) message = 0, told += step.kind == Opcode::kText ? 'T' : 'B';
    }
  }
  *inside = decoder.in_message();
  return told;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 3, size - 3);
  const bool inflates = (data[0] & 1) != 0;
  const auto sender =
      (data[0] & 2) != 0 ? MessageDecoder::Sender::kServer : MessageDecoder::Sender::kClient;
  bool inside = false;
  const std::string whole = Read(input, sender, inflates, input.size() + 1, 8192, &inside);
  const std::string parts = Read(input, sender, inflates, 1 + data[1], 1 + data[2], &inside);
  // What comes before an error may differ by what was given in one piece with it, no more.
  const size_t bang = whole.rfind('!');
  if (bang != std::string::npos) return 0;
  CATZILLA_CHECK(whole == parts, "a cut changes what it means");
  return 0;
}
