#include "sidecar/exchange/client_origin.h"

#include <algorithm>

#include "sidecar/http/forwarded.h"
#include "sidecar/http/text.h"

namespace catzilla::exchange {
namespace {

bool IsIn(const std::vector<config::AddressRange>& ranges, const http::IpAddress& address) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const config::AddressRange& range) {
    return http::InRange(address, range.address, range.prefix_bits);
  });
}

http::IpAddress ToIpAddress(const loop::PeerAddress& peer) {
  http::IpAddress address;
  std::copy_n(peer.address, address.bytes.size(), address.bytes.begin());
  address.port = peer.port;
  return address;
}

}  // namespace

bool IsTrusted(const config::Listener& listener, const loop::PeerAddress& peer) {
  return peer.is_ip && IsIn(listener.trusted_proxies, ToIpAddress(peer));
}

ClientOrigin FindOrigin(const http::RequestHead& request, const ClientFacts& facts) {
  ClientOrigin origin;
  const auto& trusted = facts.listener->trusted_proxies;
  if (trusted.empty()) {
    origin.peer = facts.peer_text;
    origin.port = facts.peer.port;
    return origin;
  }
  const auto trusts = [&](const http::IpAddress& address) { return IsIn(trusted, address); };
  const http::ClientOrigin found = http::FindClientOrigin(request, ToIpAddress(facts.peer), trusts);
  origin.text = found.client.Text();
  origin.port = found.client.port;
  origin.https = http::EqualsLower(found.proto, "https");
  return origin;
}

}  // namespace catzilla::exchange
