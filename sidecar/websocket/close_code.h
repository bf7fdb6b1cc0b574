// Why a WebSocket ends, as its peers say it (RFC 6455 section 7.4).
//
// Pure; any thread.
#pragma once

#include <cstdint>

namespace catzilla::websocket {

inline constexpr uint16_t kCloseNormal = 1000;
inline constexpr uint16_t kCloseGoingAway = 1001;
inline constexpr uint16_t kCloseProtocolError = 1002;
inline constexpr uint16_t kCloseNoStatus = 1005;  // Never on the wire: a Close without a code.
inline constexpr uint16_t kCloseAbnormal = 1006;  // Never on the wire: no Close at all.
inline constexpr uint16_t kCloseInvalidData = 1007;
inline constexpr uint16_t kClosePolicy = 1008;
inline constexpr uint16_t kCloseTooLarge = 1009;
inline constexpr uint16_t kCloseInternalError = 1011;
inline constexpr uint16_t kCloseServiceRestart = 1012;

// Whether a Close frame may say it.
constexpr bool IsCloseCode(uint32_t code) {
  if (code >= 3000 && code <= 4999) return true;
  return code >= 1000 && code <= 1014 && code != 1004 && code != kCloseNoStatus &&
         code != kCloseAbnormal;
}

}  // namespace catzilla::websocket
