// What an exchange may ask of the connection it answers on.
//
// Threads: the loop's. None of these calls back into the exchange before it returns.
#pragma once

#include <cstdint>
#include <string_view>

#include "sidecar/config/snapshot.h"
#include "sidecar/http/output_queue.h"
#include "sidecar/loop/socket.h"

namespace catzilla::exchange {

// Constant for the life of a connection.
struct ClientFacts {
  loop::PeerAddress peer;        // The TCP peer, or whom the PROXY header names.
  std::string_view peer_text;    // The same as text, without port.
  std::string_view server_text;  // The address the client connected to.
  uint16_t server_port = 0;
  const config::Listener* listener = nullptr;
};

class Client {
 public:
  // Where the answer goes. Flushed after Run(), or at the end of the turn after WakeExchange().
  virtual http::OutputQueue& output() = 0;
  virtual const ClientFacts& facts() const = 0;
  // Run the exchange again, soon, in this turn: something that it waited for has happened.
  virtual void WakeExchange() = 0;
  // Whether the request's body may be read on; false pushes back on the client.
  virtual void SetBodyReading(bool wanted) = 0;

 protected:
  ~Client() = default;
};

// Past this many bytes waiting to be written, an exchange stops adding to them; below half of it,
// the connection runs it again.
inline constexpr uint64_t kOutputMark = 256 * 1024;

}  // namespace catzilla::exchange
