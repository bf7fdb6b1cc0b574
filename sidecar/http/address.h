// An IP address with a port, as proxies tell it. IPv4 is stored as v4-mapped IPv6, as
// config::AddressRange and loop::PeerAddress do. Pure; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace catzilla::http {

// An address without its port, as text: "10.0.0.7", "2001:db8::1".
struct AddressText {
  std::array<char, 46> bytes;  // The longest, and the NUL of who wrote it.
  uint8_t size = 0;
  std::string_view view() const { return {bytes.data(), size}; }
};

struct IpAddress {
  std::array<uint8_t, 16> bytes{};
  uint16_t port = 0;  // 0: none was given.

  bool is_v4() const;
  AddressText Text() const;
  std::string HostText() const { return std::string(Text().view()); }
  bool operator==(const IpAddress&) const = default;

  static IpAddress V4(const uint8_t* four_bytes, uint16_t port = 0);
};

// "10.0.0.7" or "2001:db8::1"; no port, no brackets, no zone.
std::optional<IpAddress> ParseIpAddress(std::string_view text);
// The same with an optional port: "10.0.0.7:80", "[2001:db8::1]", "[2001:db8::1]:80".
std::optional<IpAddress> ParseIpAndPort(std::string_view text);

}  // namespace catzilla::http
