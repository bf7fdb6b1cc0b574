#include "sidecar/http/proxy_protocol.h"

#include <algorithm>
#include <cstring>

#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

using Status = ProxyResult::Status;

constexpr std::string_view kV1Prefix = "PROXY ";
constexpr std::string_view kV2Prefix("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr size_t kV2HeadBytes = 16;

ProxyResult NeedMore() { return {Status::kNeedMore, 0}; }
ProxyResult Malformed() { return {Status::kMalformed, 0}; }

// Takes the word before the next space (or the rest) off the front.
std::string_view TakeWord(std::string_view* text) {
  const size_t end = std::min(text->find(' '), text->size());
  const std::string_view word = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return word;
}

// A port as version 1 writes it: no leading zeros.
bool ParsePort(std::string_view text, uint16_t* port) {
  uint64_t value = 0;
  if (text.size() > 5 || !ParseDecimal(text, &value) || value > 65535) return false;
  if (text.size() > 1 && text.front() == '0') return false;
  *port = static_cast<uint16_t>(value);
  return true;
}

bool ParseV1Line(std::string_view line, ProxyHeader* header) {
  const std::string_view family = TakeWord(&line);
  if (family == "UNKNOWN") {
    *header = ProxyHeader();
    return true;
  }
  const bool v4 = family == "TCP4";
  if (!v4 && family != "TCP6") return false;
  // Five words, no space at the end: count before taking.
  if (std::count(line.begin(), line.end(), ' ') != 3) return false;
  const std::string_view source = TakeWord(&line);
  const std::string_view destination = TakeWord(&line);
  const bool shaped = (source.find(':') == std::string_view::npos) == v4 &&
                      (destination.find(':') == std::string_view::npos) == v4;
  const auto from = ParseIpAddress(source);
  const auto to = ParseIpAddress(destination);
  if (!shaped || !from.has_value() || !to.has_value()) return false;
  ProxyHeader found{true, *from, *to};
  if (!ParsePort(TakeWord(&line), &found.source.port)) return false;
  if (!ParsePort(line, &found.destination.port)) return false;
  *header = found;
  return true;
}

ProxyResult ParseV1(std::string_view input, ProxyHeader* header) {
  const std::string_view window = input.substr(0, kProxyV1BytesMax);
  const size_t newline = window.find('\n');
  if (newline == std::string_view::npos) {
    return window.size() == kProxyV1BytesMax ? Malformed() : NeedMore();
  }
  if (window[newline - 1] != '\r') return Malformed();
  const std::string_view line = window.substr(kV1Prefix.size(), newline - 1 - kV1Prefix.size());
  if (line.find('\r') != std::string_view::npos) return Malformed();
  if (!ParseV1Line(line, header)) return Malformed();
  return {Status::kDone, newline + 1};
}

uint16_t ReadU16(const char* at) {
  return static_cast<uint16_t>(static_cast<uint8_t>(at[0]) << 8 | static_cast<uint8_t>(at[1]));
}

IpAddress ReadAddress(const char* at, bool v4, uint16_t port) {
  uint8_t bytes[16];
  std::memcpy(bytes, at, v4 ? 4 : 16);
  if (v4) return IpAddress::V4(bytes, port);
  IpAddress address;
  std::memcpy(address.bytes.data(), bytes, 16);
  address.port = port;
  return address;
}

ProxyResult ParseV2(std::string_view input, ProxyHeader* header) {
  // What is wrong in the first 14 bytes is known without the rest.
  if (input.size() > 12) {
    const auto version_command = static_cast<uint8_t>(input[12]);
    if (version_command != 0x20 && version_command != 0x21) return Malformed();
  }
  if (input.size() < kV2HeadBytes) return NeedMore();
  const size_t length = ReadU16(input.data() + 14);
  if (length > kProxyV2BytesMax) return Malformed();
  if (input.size() < kV2HeadBytes + length) return NeedMore();
  const ProxyResult done{Status::kDone, kV2HeadBytes + length};

  const bool local = input[12] == 0x20;
  const int family = static_cast<uint8_t>(input[13]) >> 4;
  const int transport = static_cast<uint8_t>(input[13]) & 0xf;
  if (family > 3 || transport > 2) return Malformed();
  ProxyHeader found;
  // LOCAL is the proxy's own health check; AF_UNSPEC and AF_UNIX say nothing that helps us.
  if (!local && (family == 1 || family == 2)) {
    const bool v4 = family == 1;
    const size_t address_bytes = v4 ? 4 : 16;
    if (length < 2 * address_bytes + 4) return Malformed();
    const char* const at = input.data() + kV2HeadBytes;
    found.has_addresses = true;
    found.source = ReadAddress(at, v4, ReadU16(at + 2 * address_bytes));
    found.destination = ReadAddress(at + address_bytes, v4, ReadU16(at + 2 * address_bytes + 2));
  }
  *header = found;
  return done;
}

bool BeginsLike(std::string_view input, std::string_view prefix) {
  const size_t bytes = std::min(input.size(), prefix.size());
  return input.substr(0, bytes) == prefix.substr(0, bytes);
}

}  // namespace

ProxyResult ParseProxyHeader(std::string_view input, ProxyHeader* header) {
  if (BeginsLike(input, kV2Prefix)) {
    return input.size() < kV2Prefix.size() ? NeedMore() : ParseV2(input, header);
  }
  if (BeginsLike(input, kV1Prefix)) {
    return input.size() < kV1Prefix.size() ? NeedMore() : ParseV1(input, header);
  }
  return Malformed();
}

}  // namespace catzilla::http
