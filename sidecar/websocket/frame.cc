#include "sidecar/websocket/frame.h"

#include <cstring>

#include "sidecar/base/utf8.h"

namespace catzilla::websocket {

size_t WriteFrameHead(Opcode opcode, bool last, bool compressed, uint64_t length,
                      char (&out)[kFrameHeadBytesMax]) {
  out[0] =
      static_cast<char>((last ? 0x80 : 0) | (compressed ? 0x40 : 0) | static_cast<uint8_t>(opcode));
  const auto store = [&](int bytes) {
    for (int i = 0; i < bytes; ++i) {
      out[2 + i] = static_cast<char>(length >> (8 * (bytes - 1 - i)) & 0xff);
    }
    return static_cast<size_t>(2 + bytes);
  };
  if (length < 126) {
    out[1] = static_cast<char>(length);
    return 2;
  }
  if (length <= 0xffff) {
    out[1] = 126;
    return store(2);
  }
  out[1] = 127;
  return store(8);
}

size_t AddMaskKey(const char (&key)[4], size_t head_bytes, char (&head)[kFrameHeadBytesMax]) {
  head[1] = static_cast<char>(head[1] | 0x80);
  std::memcpy(head + head_bytes, key, sizeof key);
  return head_bytes + sizeof key;
}

size_t WriteClosePayload(uint16_t code, std::string_view reason, char (&out)[kControlBytesMax]) {
  reason = base::CutUtf8(reason, kReasonBytesMax);
  out[0] = static_cast<char>(code >> 8);
  out[1] = static_cast<char>(code & 0xff);
  if (!reason.empty()) std::memcpy(out + 2, reason.data(), reason.size());
  return 2 + reason.size();
}

void Mask(const char (&key)[4], uint64_t at, std::string_view from, char* to) {
  char turned[8];
  for (size_t i = 0; i < sizeof turned; ++i) turned[i] = key[(at + i) & 3];
  uint64_t wide;
  std::memcpy(&wide, turned, sizeof wide);
  size_t i = 0;
  for (; i + 8 <= from.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, from.data() + i, sizeof word);
    word ^= wide;
    std::memcpy(to + i, &word, sizeof word);
  }
  for (; i < from.size(); ++i) to[i] = static_cast<char>(from[i] ^ turned[i & 7]);
}

}  // namespace catzilla::websocket
