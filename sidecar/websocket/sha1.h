// SHA-1, for the handshake's accept key alone (RFC 6455 section 4.2.2): it proves that the server
// has read the request, and protects nothing.
//
// Pure; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace catzilla::websocket {

std::array<uint8_t, 20> Sha1(std::string_view bytes);

}  // namespace catzilla::websocket
