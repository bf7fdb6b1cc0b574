// Who the client is and how it came, after the proxies in front have been believed or not.
//
// Pure; any thread. Owns: the address as text; allocates nothing.
#pragma once

#include <cstdint>
#include <string_view>

#include "sidecar/exchange/client.h"
#include "sidecar/http/address.h"
#include "sidecar/http/request_head.h"

namespace catzilla::exchange {

struct ClientOrigin {
  http::AddressText text;
  std::string_view
      peer;  // Instead of `text`, where nobody trusted says otherwise; the connection's.
  uint16_t port = 0;
  bool https = false;

  std::string_view client() const { return peer.empty() ? text.view() : peer; }
};

// Whether `peer` is one of the listener's trusted_proxies.
bool IsTrusted(const config::Listener& listener, const loop::PeerAddress& peer);

ClientOrigin FindOrigin(const http::RequestHead& request, const ClientFacts& facts);

}  // namespace catzilla::exchange
