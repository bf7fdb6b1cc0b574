#include "sidecar/exchange/origin.h"

#include <algorithm>

#include "sidecar/http/forwarded.h"
#include "sidecar/http/text.h"

namespace catzilla::exchange {

Origin FindOrigin(const http::RequestHead& request, const ClientFacts& facts) {
  Origin origin;
  const auto& trusted = facts.listener->trusted_proxies;
  if (trusted.empty()) {
    origin.client = facts.peer_text;
    origin.client_port = facts.peer.port;
    return origin;
  }
  http::IpAddress peer;
  std::copy_n(facts.peer.address, peer.bytes.size(), peer.bytes.begin());
  peer.port = facts.peer.port;
  const auto trusts = [&](const http::IpAddress& address) {
    return std::any_of(trusted.begin(), trusted.end(), [&](const config::AddressRange& range) {
      return http::InRange(address, range.address, range.prefix_bits);
    });
  };
  const http::ClientOrigin found = http::FindClientOrigin(request, peer, trusts);
  origin.client = found.client.HostText();
  origin.client_port = found.client.port;
  origin.https = http::EqualsLower(found.proto, "https");
  return origin;
}

}  // namespace catzilla::exchange
