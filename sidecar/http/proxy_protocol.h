// The PROXY protocol, versions 1 and 2: what a TCP load balancer puts before the first request.
//
// Pure; any thread; allocates nothing. Feed it all bytes read so far, until it has decided.
// Limits: 107 bytes for version 1; 16 + kProxyV2BytesMax for version 2. Past them: kMalformed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sidecar/http/address.h"

namespace catzilla::http {

inline constexpr size_t kProxyV1BytesMax = 107;
inline constexpr size_t kProxyV2BytesMax = 4096;  // Addresses and TLVs after the 16 bytes.

struct ProxyHeader {
  bool has_addresses = false;  // False: UNKNOWN, LOCAL, or not IP; the peer speaks for itself.
  IpAddress source;
  IpAddress destination;
};

struct ProxyResult {
  enum class Status : uint8_t { kDone, kNeedMore, kMalformed };
  Status status = Status::kMalformed;
  size_t consumed = 0;  // For kDone.
};

// `header` is written only for kDone.
ProxyResult ParseProxyHeader(std::string_view input, ProxyHeader* header);

}  // namespace catzilla::http
