#include "sidecar/http/forwarded.h"

#include <cstring>
#include <optional>

#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

// What one list of hops says.
struct Chain {
  bool present = false;
  IpAddress client;
  size_t from_right = 0;  // The hop that named the client; 0 is the last one.
  size_t hops = 0;
  std::string_view element;  // Of Forwarded: the whole element that named the client.
};

std::string_view Unquote(std::string_view text) {
  const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
  return quoted ? text.substr(1, text.size() - 2) : text;
}

// One parameter of a Forwarded element; empty if it is not there.
std::string_view Parameter(std::string_view element, std::string_view lower) {
  ListItems pairs(element, ';');
  std::string_view pair;
  while (pairs.Next(&pair)) {
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) continue;
    if (EqualsLower(Trim(pair.substr(0, equals)), lower)) {
      return Unquote(Trim(pair.substr(equals + 1)));
    }
  }
  return {};
}

std::string_view ItemAt(const RequestHead& request, HeaderId id, size_t index) {
  std::string_view found;
  size_t at = 0;
  request.ForEachItem(id, [&](std::string_view item) {
    if (at++ == index) found = item;
  });
  return found;
}

// Walks from the right while hops are trusted. Lists are short and walked by index: nothing is
// stored.
Chain WalkChain(const RequestHead& request, HeaderId id, const IpAddress& peer,
                TrustPredicate trusts) {
  Chain chain;
  request.ForEachItem(id, [&](std::string_view) { ++chain.hops; });
  chain.present = chain.hops > 0;
  chain.client = peer;
  // An endless list costs a trusted proxy's client nothing to send: look at the nearest hops only.
  constexpr size_t kHopsMax = 32;
  for (size_t i = 0; i < chain.hops && i < kHopsMax; ++i) {
    const std::string_view element = ItemAt(request, id, chain.hops - 1 - i);
    const std::string_view node =
        id == HeaderId::kForwarded ? Parameter(element, "for") : Unquote(element);
    const std::optional<IpAddress> address = ParseIpAndPort(node);
    // "unknown" or an obfuscated name: further than this nobody can be told apart.
    if (!address.has_value()) break;
    chain.client = *address;
    chain.from_right = i;
    chain.element = element;
    if (!trusts(*address)) break;
  }
  if (chain.present && chain.element.empty()) {
    chain.element = ItemAt(request, id, chain.hops - 1);
  }
  return chain;
}

// Schemes are case-insensitive (RFC 3986 section 3.1); empty if it is none of ours.
std::string_view KnownProto(std::string_view text) {
  for (const std::string_view known : {"http", "https"}) {
    if (EqualsLower(text, known)) return known;
  }
  return {};
}

bool IsHost(std::string_view text) {
  if (text.empty() || text.size() > RequestHead::kHostBytesMax + 6) return false;
  for (const char c : text) {
    if (!IsIn(c, kHostChar) && c != ':' && c != '[' && c != ']') return false;
  }
  return true;
}

// The entry of the same hop if there is one for each, else the nearest proxy's.
std::string_view AlignedItem(const RequestHead& request, HeaderId id, const Chain& chain) {
  size_t count = 0;
  request.ForEachItem(id, [&count](std::string_view) { ++count; });
  if (count == 0) return {};
  const size_t from_right = count == chain.hops ? chain.from_right : 0;
  return ItemAt(request, id, count - 1 - from_right);
}

}  // namespace

ClientOrigin FindClientOrigin(const RequestHead& request, const IpAddress& peer,
                              TrustPredicate trusts) {
  ClientOrigin origin;
  origin.client = peer;
  if (!trusts(peer)) return origin;
  const Chain standard = WalkChain(request, HeaderId::kForwarded, peer, trusts);
  const Chain common = WalkChain(request, HeaderId::kXForwardedFor, peer, trusts);
  // A proxy that writes one of them passes the other through as the client sent it. If they differ
  // we cannot know which one is the client's invention.
  if (standard.present && common.present && standard.client.bytes != common.client.bytes) {
    origin.conflict = true;
    return origin;
  }
  std::string_view proto;
  std::string_view host;
  if (standard.present && !common.present) {
    origin.client = standard.client;
    proto = Parameter(standard.element, "proto");
    host = Parameter(standard.element, "host");
    origin.forwarded = true;
  } else {
    if (common.present) origin.client = common.client;
    proto = AlignedItem(request, HeaderId::kXForwardedProto, common);
    host = AlignedItem(request, HeaderId::kXForwardedHost, common);
    origin.forwarded = common.present || !proto.empty() || !host.empty();
  }
  origin.proto = KnownProto(proto);
  if (IsHost(host)) origin.host = host;
  return origin;
}

bool InRange(const IpAddress& address, const uint8_t* range, unsigned prefix_bits) {
  const unsigned whole = prefix_bits / 8;
  if (std::memcmp(address.bytes.data(), range, whole) != 0) return false;
  const unsigned rest = prefix_bits % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - rest));
  return ((address.bytes[whole] ^ range[whole]) & mask) == 0;
}

}  // namespace catzilla::http
