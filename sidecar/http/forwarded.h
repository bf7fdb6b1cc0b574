// Who the client is, as told by proxies in front: Forwarded (RFC 7239) or X-Forwarded-*.
//
// The lists are walked from the right, from the peer outwards, as long as each hop is trusted; the
// first one that is not is the client. What untrusted hops wrote is never believed. Pure; any
// thread; allocates nothing.
#pragma once

#include <cstdint>
#include <string_view>

#include "sidecar/http/address.h"
#include "sidecar/http/request_head.h"

namespace catzilla::http {

// A reference to "is this address a trusted proxy?"; borrowed for the call.
class TrustPredicate {
 public:
  template <typename Callable>
  TrustPredicate(const Callable& callable)  // NOLINT: implicit by design
      : object_(&callable), call_([](const void* object, const IpAddress& address) {
          return static_cast<bool>((*static_cast<const Callable*>(object))(address));
        }) {}
  bool operator()(const IpAddress& address) const { return call_(object_, address); }

 private:
  const void* object_;
  bool (*call_)(const void*, const IpAddress&);
};

struct ClientOrigin {
  IpAddress client;        // The peer, if nobody trusted says otherwise.
  bool forwarded = false;  // A trusted proxy spoke.
  bool conflict = false;   // Forwarded and X-Forwarded-For name different clients: neither counts.
  std::string_view proto;  // "http" or "https"; empty: the connection's own.
  std::string_view host;   // As the client asked for it; empty: the request's own.
};

ClientOrigin FindClientOrigin(const RequestHead& request, const IpAddress& peer,
                              TrustPredicate trusts);

// Whether `address` is within `prefix_bits` of `range` (both in v6 form).
bool InRange(const IpAddress& address, const uint8_t* range, unsigned prefix_bits);

}  // namespace catzilla::http
