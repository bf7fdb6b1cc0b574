// permessage-deflate as it is agreed on (RFC 7692 section 7.1), the server's side.
//
// We never keep a context from message to message, and ask the client not to either: an open socket
// costs no window of zlib's, and what is shared of a secret and what an attacker sends never meet
// in one.
//
// Pure; any thread.
#pragma once

#include <string_view>

#include "sidecar/http/request_head.h"

namespace catzilla::websocket {

struct DeflateTerms {
  bool agreed = false;
  int window_bits = 15;    // Of what we send: 9 to 15.
  bool says_bits = false;  // The offer has named them, and so does the answer.
};

// Takes the first offer that we can keep; one with parameters that nobody knows is passed over.
DeflateTerms NegotiateDeflate(const http::RequestHead& request);
// The same for one field's value.
DeflateTerms NegotiateDeflate(std::string_view offers);

// The value of the answer's Sec-WebSocket-Extensions. REQUIRES: terms.agreed.
std::string_view DescribeTerms(const DeflateTerms& terms, char (&out)[128]);

}  // namespace catzilla::websocket
