// Header fields that code looks for, as numbers: a name is compared once, when it is parsed.
// Pure values; any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace catzilla::http {

// X(identifier, lower-case name). Append at will; the order means nothing.
#define CATZILLA_HEADER_LIST(X)                                         \
  X(kAccept, "accept")                                                  \
  X(kAcceptCharset, "accept-charset")                                   \
  X(kAcceptEncoding, "accept-encoding")                                 \
  X(kAcceptLanguage, "accept-language")                                 \
  X(kAcceptRanges, "accept-ranges")                                     \
  X(kAccessControlAllowCredentials, "access-control-allow-credentials") \
  X(kAccessControlAllowHeaders, "access-control-allow-headers")         \
  X(kAccessControlAllowMethods, "access-control-allow-methods")         \
  X(kAccessControlAllowOrigin, "access-control-allow-origin")           \
  X(kAccessControlExposeHeaders, "access-control-expose-headers")       \
  X(kAccessControlMaxAge, "access-control-max-age")                     \
  X(kAccessControlRequestHeaders, "access-control-request-headers")     \
  X(kAccessControlRequestMethod, "access-control-request-method")       \
  X(kAge, "age")                                                        \
  X(kAllow, "allow")                                                    \
  X(kAuthorization, "authorization")                                    \
  X(kBaggage, "baggage")                                                \
  X(kCacheControl, "cache-control")                                     \
  X(kCacheGroupInvalidation, "cache-group-invalidation")                \
  X(kCacheGroups, "cache-groups")                                       \
  X(kCacheStatus, "cache-status")                                       \
  X(kCacheTag, "cache-tag")                                             \
  X(kCdnCacheControl, "cdn-cache-control")                              \
  X(kConnection, "connection")                                          \
  X(kContentDisposition, "content-disposition")                         \
  X(kContentEncoding, "content-encoding")                               \
  X(kContentLanguage, "content-language")                               \
  X(kContentLength, "content-length")                                   \
  X(kContentLocation, "content-location")                               \
  X(kContentRange, "content-range")                                     \
  X(kContentSecurityPolicy, "content-security-policy")                  \
  X(kContentType, "content-type")                                       \
  X(kCookie, "cookie")                                                  \
  X(kDate, "date")                                                      \
  X(kEtag, "etag")                                                      \
  X(kExpect, "expect")                                                  \
  X(kExpires, "expires")                                                \
  X(kForwarded, "forwarded")                                            \
  X(kHost, "host")                                                      \
  X(kHttp2Settings, "http2-settings")                                   \
  X(kIfMatch, "if-match")                                               \
  X(kIfModifiedSince, "if-modified-since")                              \
  X(kIfNoneMatch, "if-none-match")                                      \
  X(kIfRange, "if-range")                                               \
  X(kIfUnmodifiedSince, "if-unmodified-since")                          \
  X(kKeepAlive, "keep-alive")                                           \
  X(kLastModified, "last-modified")                                     \
  X(kLink, "link")                                                      \
  X(kLocation, "location")                                              \
  X(kMaxForwards, "max-forwards")                                       \
  X(kOrigin, "origin")                                                  \
  X(kPragma, "pragma")                                                  \
  X(kPriority, "priority")                                              \
  X(kProxyAuthenticate, "proxy-authenticate")                           \
  X(kProxyAuthorization, "proxy-authorization")                         \
  X(kProxyConnection, "proxy-connection")                               \
  X(kRange, "range")                                                    \
  X(kReferer, "referer")                                                \
  X(kRetryAfter, "retry-after")                                         \
  X(kSecFetchDest, "sec-fetch-dest")                                    \
  X(kSecFetchMode, "sec-fetch-mode")                                    \
  X(kSecWebsocketAccept, "sec-websocket-accept")                        \
  X(kSecWebsocketExtensions, "sec-websocket-extensions")                \
  X(kSecWebsocketKey, "sec-websocket-key")                              \
  X(kSecWebsocketProtocol, "sec-websocket-protocol")                    \
  X(kSecWebsocketVersion, "sec-websocket-version")                      \
  X(kServer, "server")                                                  \
  X(kServerTiming, "server-timing")                                     \
  X(kSetCookie, "set-cookie")                                           \
  X(kSurrogateControl, "surrogate-control")                             \
  X(kSurrogateKey, "surrogate-key")                                     \
  X(kTe, "te")                                                          \
  X(kTraceparent, "traceparent")                                        \
  X(kTracestate, "tracestate")                                          \
  X(kTrailer, "trailer")                                                \
  X(kTransferEncoding, "transfer-encoding")                             \
  X(kUpgrade, "upgrade")                                                \
  X(kUserAgent, "user-agent")                                           \
  X(kVary, "vary")                                                      \
  X(kVia, "via")                                                        \
  X(kWarning, "warning")                                                \
  X(kWwwAuthenticate, "www-authenticate")                               \
  X(kXForwardedFor, "x-forwarded-for")                                  \
  X(kXForwardedHost, "x-forwarded-host")                                \
  X(kXForwardedPort, "x-forwarded-port")                                \
  X(kXForwardedProto, "x-forwarded-proto")                              \
  X(kXRealIp, "x-real-ip")                                              \
  X(kXRequestId, "x-request-id")

enum class HeaderId : uint8_t {
  kOther,  // A name that is not in the list.
#define CATZILLA_HEADER_ENUM(identifier, name) identifier,
  CATZILLA_HEADER_LIST(CATZILLA_HEADER_ENUM)
#undef CATZILLA_HEADER_ENUM
      kCount,  // Not an id.
};

// Whatever the case of `name`.
HeaderId FindHeaderId(std::string_view name);
// In lower case; empty for kOther.
std::string_view HeaderName(HeaderId id);

// Hop-by-hop fields (RFC 9110 section 7.6.1) that are never forwarded nor stored; the ones that
// Connection names come on top.
constexpr bool IsHopByHop(HeaderId id) {
  switch (id) {
    case HeaderId::kConnection:
    case HeaderId::kHttp2Settings:
    case HeaderId::kKeepAlive:
    case HeaderId::kProxyAuthenticate:
    case HeaderId::kProxyAuthorization:
    case HeaderId::kProxyConnection:
    case HeaderId::kTe:
    case HeaderId::kTrailer:
    case HeaderId::kTransferEncoding:
    case HeaderId::kUpgrade:
      return true;
    default:
      return false;
  }
}

}  // namespace catzilla::http
