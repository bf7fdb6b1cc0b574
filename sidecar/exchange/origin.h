// Who the client is and how it came, after the proxies in front have been believed or not.
//
// Pure; borrows from the request and from `storage`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sidecar/exchange/client.h"
#include "sidecar/http/request_head.h"

namespace catzilla::exchange {

struct Origin {
  std::string client;  // Address as text.
  uint16_t client_port = 0;
  bool https = false;
};

// Whether `peer` is one of the listener's trusted_proxies.
bool IsTrusted(const config::Listener& listener, const loop::PeerAddress& peer);

Origin FindOrigin(const http::RequestHead& request, const ClientFacts& facts);

}  // namespace catzilla::exchange
