#include "sidecar/websocket/extensions.h"

#include <algorithm>
#include <cstdio>

#include "sidecar/http/text.h"

namespace catzilla::websocket {
namespace {

// Cuts at `separator` outside of quotes; `rest` becomes what follows.
std::string_view Cut(std::string_view* rest, char separator) {
  bool quoted = false;
  size_t at = 0;
  for (; at < rest->size(); ++at) {
    const char c = (*rest)[at];
    if (c == '"') quoted = !quoted;
    if (c == '\\' && quoted) {
      ++at;
    } else if (c == separator && !quoted) {
      break;
    }
  }
  const std::string_view part = rest->substr(0, at);
  rest->remove_prefix(std::min(at + 1, rest->size()));
  return http::Trim(part);
}

// "15" or 15, from 8 to 15; 0: something else.
int WindowBits(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    value = value.substr(1, value.size() - 2);
  }
  if (value == "8" || value == "9") return value[0] - '0';
  if (value.size() != 2 || value[0] != '1' || value[1] < '0' || value[1] > '5') return 0;
  return 10 + (value[1] - '0');
}

bool TakeParameter(std::string_view parameter, unsigned* seen, DeflateTerms* terms) {
  static constexpr std::string_view kNames[] = {"server_no_context_takeover",
                                                "client_no_context_takeover",
                                                "server_max_window_bits", "client_max_window_bits"};
  const bool has_value = parameter.find('=') != std::string_view::npos;
  std::string_view value = parameter;
  const std::string_view name = Cut(&value, '=');
  value = http::Trim(value);
  for (unsigned i = 0; i < 4; ++i) {
    if (!http::EqualsIgnoringCase(name, kNames[i])) continue;
    if ((*seen & 1u << i) != 0) return false;
    *seen |= 1u << i;
    if (i < 2) return !has_value;
    if (i == 3) return !has_value || WindowBits(value) != 0;
    // zlib cannot write for a window of 256 bytes.
    terms->window_bits = WindowBits(value);
    terms->says_bits = true;
    return terms->window_bits >= 9;
  }
  return false;
}

}  // namespace

DeflateTerms NegotiateDeflate(std::string_view offers) {
  while (!offers.empty()) {
    std::string_view offer = Cut(&offers, ',');
    if (!http::EqualsIgnoringCase(Cut(&offer, ';'), "permessage-deflate")) continue;
    DeflateTerms terms;
    terms.agreed = true;
    unsigned seen = 0;
    while (!offer.empty() && terms.agreed) {
      terms.agreed = TakeParameter(Cut(&offer, ';'), &seen, &terms);
    }
    if (terms.agreed) return terms;
  }
  return {};
}

DeflateTerms NegotiateDeflate(const http::RequestHead& request) {
  DeflateTerms terms;
  request.ForEach(http::HeaderId::kSecWebsocketExtensions, [&](std::string_view offers) {
    if (!terms.agreed) terms = NegotiateDeflate(offers);
  });
  return terms;
}

std::string_view DescribeTerms(const DeflateTerms& terms, char (&out)[128]) {
  constexpr std::string_view kAlways =
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
  if (!terms.says_bits) return kAlways;
  const int bytes =
      std::snprintf(out, sizeof out, "%.*s; server_max_window_bits=%d",
                    static_cast<int>(kAlways.size()), kAlways.data(), terms.window_bits);
  return {out, static_cast<size_t>(bytes)};
}

}  // namespace catzilla::websocket
