#include "sidecar/http/address.h"

#include <arpa/inet.h>

#include <cstring>

#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

constexpr uint8_t kV4Prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::optional<uint16_t> ParsePort(std::string_view text) {
  uint64_t port = 0;
  if (text.size() > 5 || !ParseDecimal(text, &port) || port > 65535) return std::nullopt;
  return static_cast<uint16_t>(port);
}

}  // namespace

IpAddress IpAddress::V4(const uint8_t* four_bytes, uint16_t port) {
  IpAddress address;
  std::memcpy(address.bytes.data(), kV4Prefix, sizeof(kV4Prefix));
  std::memcpy(address.bytes.data() + sizeof(kV4Prefix), four_bytes, 4);
  address.port = port;
  return address;
}

bool IpAddress::is_v4() const {
  return std::memcmp(bytes.data(), kV4Prefix, sizeof(kV4Prefix)) == 0;
}

AddressText IpAddress::Text() const {
  static_assert(sizeof(AddressText::bytes) >= INET6_ADDRSTRLEN);
  AddressText text;
  const bool v4 = is_v4();
  const uint8_t* from = bytes.data() + (v4 ? sizeof(kV4Prefix) : 0);
  ::inet_ntop(v4 ? AF_INET : AF_INET6, from, text.bytes.data(), text.bytes.size());
  text.size = static_cast<uint8_t>(std::strlen(text.bytes.data()));
  return text;
}

std::optional<IpAddress> ParseIpAddress(std::string_view text) {
  char copy[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof(copy)) return std::nullopt;
  // inet_pton would stop at a NUL and not see the rest.
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  text.copy(copy, text.size());
  copy[text.size()] = '\0';
  if (text.find(':') == std::string_view::npos) {
    uint8_t four[4];
    if (::inet_pton(AF_INET, copy, four) != 1) return std::nullopt;
    return IpAddress::V4(four);
  }
  IpAddress address;
  if (::inet_pton(AF_INET6, copy, address.bytes.data()) != 1) return std::nullopt;
  return address;
}

std::optional<IpAddress> ParseIpAndPort(std::string_view text) {
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  if (!text.empty() && text.front() == '[') {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    host = text.substr(1, end - 1);
    if (host.find(':') == std::string_view::npos) return std::nullopt;
    port = text.substr(end + 1);
    has_port = !port.empty();
    if (has_port && port.front() != ':') return std::nullopt;
  } else if (const size_t colon = text.find(':');
             colon != std::string_view::npos && colon == text.rfind(':')) {
    host = text.substr(0, colon);
    port = text.substr(colon);
    has_port = true;
  }
  std::optional<IpAddress> address = ParseIpAddress(host);
  if (!address.has_value() || !has_port) return address;
  const std::optional<uint16_t> number = ParsePort(port.substr(1));
  if (!number.has_value()) return std::nullopt;
  address->port = *number;
  return address;
}

}  // namespace catzilla::http
