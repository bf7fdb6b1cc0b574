// The opening handshake: the server's side (RFC 6455 section 4.2), and what a client checks of the
// answer (section 4.1).
//
// Pure; any thread. Owns: nothing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sidecar/http/field.h"
#include "sidecar/http/request_head.h"

namespace catzilla::websocket {

// Whether the request asks for a WebSocket: GET in HTTP/1.1, with Connection and Upgrade. What only
// looks a little like it is an ordinary request whose Upgrade is ignored (RFC 9110 section 7.8).
bool AsksForSocket(const http::RequestHead& request);

struct HandshakeError {
  uint16_t status = 0;      // 0: it is sound.
  std::string_view cause;   // For the log; a literal.
  std::string_view fields;  // Whole lines that go with the refusal.
};
// REQUIRES: AsksForSocket(request).
HandshakeError CheckHandshake(const http::RequestHead& request);

// Why a 101 is none that opens the WebSocket which was asked for: without extensions, with this key
// and these subprotocols (the values of the request's fields, joined). Null: it is.
const char* CheckAccept(http::Fields answer, std::string_view key, std::string_view subprotocols);

// What Sec-WebSocket-Accept says to this key: 28 characters.
std::string AcceptKey(std::string_view key);

// Whether the request's Origin is one of `allowed`: origins ("https://example.com:8443", in lower
// case), "same" (the origin that the request was sent to), "none" (a request without Origin, of a
// client that is no browser). An empty list allows all. `scheme` is the request's own.
bool OriginAllowed(const http::RequestHead& request, std::string_view scheme,
                   std::span<const std::string> allowed);

}  // namespace catzilla::websocket
