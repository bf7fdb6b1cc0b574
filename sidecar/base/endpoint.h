// Where a stream server listens, as configurations write it: "unix:/run/app.sock",
// "127.0.0.1:9000", "[::1]:9000", "app.internal:9000".
//
// Pure; any thread. Owns: its texts. Limits: kNameBytesMax, kSocketPathBytesMax.
// Fails: with a sentence that says what is wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sidecar/base/result.h"

namespace catzilla::base {

struct Endpoint {
  enum class Kind : uint8_t { kUnix, kAddress, kName };
  static constexpr size_t kNameBytesMax = 253;
  static constexpr size_t kSocketPathBytesMax = 107;

  Kind kind = Kind::kUnix;
  std::string text;  // As it was written; names it in logs and metrics.
  std::string host;  // The socket's path, an IP address without brackets, or a name.
  uint16_t port = 0;

  // What a Host field says of it; "localhost" for a socket.
  std::string Authority() const;
  bool operator==(const Endpoint&) const = default;
};

Result<Endpoint, std::string> ParseEndpoint(std::string_view text);

}  // namespace catzilla::base
