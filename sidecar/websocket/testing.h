// For tests of any room: what a client puts on the wire. Not linked into the sidecar.
#pragma once

#include <string>
#include <string_view>

#include "sidecar/websocket/frame.h"

namespace catzilla::websocket {

// A masked frame.
inline std::string ClientFrame(Opcode opcode, std::string_view payload, bool last = true,
                               bool compressed = false) {
  char head[kFrameHeadBytesMax];
  const char key[4] = {'\x37', '\xfa', '\x21', '\x3d'};
  const size_t bytes = WriteFrameHead(opcode, last, compressed, payload.size(), head);
  std::string frame(head, AddMaskKey(key, bytes, head));
  std::string masked(payload.size(), '\0');
  Mask(key, 0, payload, masked.data());
  return frame + masked;
}

}  // namespace catzilla::websocket
