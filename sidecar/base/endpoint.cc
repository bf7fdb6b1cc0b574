#include "sidecar/base/endpoint.h"

#include <arpa/inet.h>

#include <algorithm>

namespace catzilla::base {
namespace {

bool IsAddress(int family, const std::string& text) {
  unsigned char bytes[16];
  return ::inet_pton(family, text.c_str(), bytes) == 1;
}

bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_';
}

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= Endpoint::kNameBytesMax && text.front() != '.' &&
         text.front() != '-' && text.find("..") == std::string_view::npos &&
         std::all_of(text.begin(), text.end(), IsNameByte) &&
         text.find_first_not_of("0123456789.") != std::string_view::npos;
}

bool ParsePort(std::string_view text, uint16_t* port) {
  if (text.empty() || text.size() > 5) return false;
  uint32_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  *port = static_cast<uint16_t>(value);
  return value > 0 && value <= 65535;
}

Result<Endpoint, std::string> ParseUnix(std::string_view text) {
  Endpoint endpoint{Endpoint::Kind::kUnix, std::string(text), std::string(text.substr(5)), 0};
  const std::string& path = endpoint.host;
  if (path.empty() || path.front() != '/' || path.find('\0') != std::string::npos) {
    return Fail(std::string("names no absolute path"));
  }
  if (path.size() > Endpoint::kSocketPathBytesMax) {
    return Fail("is longer than the " + std::to_string(Endpoint::kSocketPathBytesMax) +
                " bytes that a socket's path can have");
  }
  return endpoint;
}

}  // namespace

std::string Endpoint::Authority() const {
  if (kind == Kind::kUnix) return "localhost";
  const bool is_v6 = kind == Kind::kAddress && host.find(':') != std::string::npos;
  const std::string name = is_v6 ? "[" + host + "]" : host;
  return port == 80 ? name : name + ":" + std::to_string(port);
}

Result<Endpoint, std::string> ParseEndpoint(std::string_view text) {
  if (text.starts_with("unix:")) return ParseUnix(text);
  if (text.find("://") != std::string_view::npos) {
    return Fail(std::string("is a URL, and only an address is wanted"));
  }
  Endpoint endpoint;
  endpoint.text = text;
  size_t host_bytes = text.rfind(':');
  if (host_bytes == std::string_view::npos) return Fail(std::string("has no port"));
  if (!ParsePort(text.substr(host_bytes + 1), &endpoint.port)) {
    return Fail(std::string("has no port from 1 to 65535"));
  }
  if (text.front() == '[') {
    if (host_bytes < 2 || text[host_bytes - 1] != ']') {
      return Fail(std::string("has no address in its brackets"));
    }
    endpoint.host = text.substr(1, host_bytes - 2);
    endpoint.kind = Endpoint::Kind::kAddress;
    if (IsAddress(AF_INET6, endpoint.host)) return endpoint;
    return Fail(std::string("has no IPv6 address in its brackets"));
  }
  endpoint.host = text.substr(0, host_bytes);
  if (endpoint.host.find(':') != std::string::npos) {
    return Fail(std::string("has more than one colon (an IPv6 address stands in brackets)"));
  }
  endpoint.kind = Endpoint::Kind::kAddress;
  if (IsAddress(AF_INET, endpoint.host)) return endpoint;
  endpoint.kind = Endpoint::Kind::kName;
  if (IsName(endpoint.host)) return endpoint;
  return Fail(std::string("has neither an address nor a host name before its port"));
}

}  // namespace catzilla::base
