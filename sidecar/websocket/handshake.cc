#include "sidecar/websocket/handshake.h"

#include <algorithm>
#include <optional>

#include "sidecar/http/header_id.h"
#include "sidecar/http/list.h"
#include "sidecar/http/text.h"
#include "sidecar/websocket/sha1.h"

namespace catzilla::websocket {
namespace {

using http::HeaderId;

constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool IsBase64(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
         c == '/';
}

// 16 bytes in base64: 22 characters, of which the last has four bits of nothing, and "==".
bool IsKey(std::string_view key) {
  return key.size() == 24 && key.ends_with("==") &&
         std::all_of(key.begin(), key.begin() + 22, IsBase64) &&
         std::string_view("AQgw").find(key[21]) != std::string_view::npos;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), http::ToLower);
  return lower;
}

// "http://a:80" and "http://a" are one origin.
std::string_view WithoutDefaultPort(std::string_view origin) {
  const std::string_view port = origin.starts_with("https:") ? ":443" : ":80";
  if (origin.ends_with(port)) origin.remove_suffix(port.size());
  return origin;
}

// Subprotocols are compared as they are written.
bool Offers(std::string_view subprotocols, std::string_view choice) {
  http::ListItems items(subprotocols);
  std::string_view item;
  while (items.Next(&item)) {
    if (item == choice) return true;
  }
  return false;
}

}  // namespace

bool AsksForSocket(const http::RequestHead& request) {
  return request.method() == http::Method::kGet && request.wants_upgrade() &&
         request.ListHasItem(HeaderId::kUpgrade, "websocket");
}

HandshakeError CheckHandshake(const http::RequestHead& request) {
  if (request.has_body()) return {400, "websocket_body", ""};
  if (request.Find(HeaderId::kSecWebsocketVersion).value_or("") != "13" ||
      request.Count(HeaderId::kSecWebsocketVersion) != 1) {
    return {426, "websocket_version", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"};
  }
  if (request.Count(HeaderId::kSecWebsocketKey) != 1 ||
      !IsKey(*request.Find(HeaderId::kSecWebsocketKey))) {
    return {400, "websocket_key", ""};
  }
  return {};
}

const char* CheckAccept(http::Fields answer, std::string_view key, std::string_view subprotocols) {
  bool upgrade = false;
  bool connection = false;
  int accepts = 0;
  int choices = 0;
  for (const http::Field& field : answer) {
    switch (http::FindHeaderId(field.name)) {
      case HeaderId::kUpgrade:
        upgrade = http::EqualsIgnoringCase(field.value, "websocket");
        break;
      case HeaderId::kConnection:
        connection = connection || http::ListHas(field.value, "upgrade");
        break;
      case HeaderId::kSecWebsocketAccept:
        if (field.value != AcceptKey(key)) return "Sec-WebSocket-Accept is of another key";
        ++accepts;
        break;
      case HeaderId::kSecWebsocketExtensions:
        return "an extension that nobody has offered";
      case HeaderId::kSecWebsocketProtocol:
        if (!Offers(subprotocols, field.value)) {
          return "a subprotocol that nobody has offered";
        }
        ++choices;
        break;
      default:
        break;
    }
  }
  if (!upgrade || !connection) return "a 101 that does not say what it switches to";
  if (accepts != 1) return "no Sec-WebSocket-Accept, or several";
  return choices > 1 ? "several subprotocols" : nullptr;
}

std::string AcceptKey(std::string_view key) {
  const auto digest = Sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  std::string out;
  uint32_t bits = 0;
  for (size_t i = 0; i < digest.size() + 1; ++i) {
    bits = bits << 8 | (i < digest.size() ? digest[i] : 0u);
    if (i % 3 != 2) continue;
    for (int shift = 18; shift >= 0; shift -= 6) out += kBase64[bits >> shift & 63];
    bits = 0;
  }
  out.back() = '=';  // 20 bytes are one short of seven times three.
  return out;
}

bool OriginAllowed(const http::RequestHead& request, std::string_view scheme,
                   std::span<const std::string> allowed) {
  if (allowed.empty()) return true;
  const auto lists = [&](std::string_view origin) {
    return std::any_of(allowed.begin(), allowed.end(), [&](const std::string& entry) {
      return WithoutDefaultPort(entry) == origin;
    });
  };
  const std::optional<std::string_view> field = request.Find("origin");
  if (!field.has_value()) return lists("none");
  const std::string origin = Lower(*field);
  // Not a word of the list, and not two origins at once.
  if (origin.find("://") == std::string::npos) return false;
  const std::string_view named = WithoutDefaultPort(origin);
  if (lists(named)) return true;
  std::string own = Lower(request.authority());
  own.insert(0, "://").insert(0, scheme);
  return lists("same") && WithoutDefaultPort(own) == named;
}

}  // namespace catzilla::websocket
