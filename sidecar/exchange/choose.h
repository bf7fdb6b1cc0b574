// By what a request is answered: a pure function of the plan and of what was asked. Exchanges go
// the way that it names, Explain tells it.
//
// Threads: any. Owns: nothing; a Choice borrows from the plan and from `storage`: for a turn, or
// for as long as somebody holds Choice::Owner().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/exchange/plan.h"
#include "sidecar/route/router.h"

namespace catzilla::exchange {

struct Asked {
  std::string_view host;  // Lower case, without port.
  std::string_view method;
  std::string_view path;    // Decoded once.
  uint8_t path_flags = 0;   // http::DecodedPath::flags
  bool for_socket = false;  // It is the handshake of a WebSocket.
};

struct Choice {
  enum class Kind : uint8_t { kRefusal, kMount, kRoute };
  Kind kind = Kind::kRefusal;
  bool matched = false;     // kRoute: the trie has decided; else the app's own router will.
  bool is_socket = false;   // kRoute: the route takes WebSockets, and this asks for one.
  bool as_fastapi = false;  // Errors in FastAPI's own words.
  uint16_t status = 0;      // kRefusal
  std::string_view cause;   // kRefusal; a literal.
  const MountTarget* mount = nullptr;  // Also of a refusal of the mount's.
  const RouteTarget* route = nullptr;  // Also of a refusal of the route's.
  stats::RouteStats* stats = nullptr;  // Never null: who it is counted for.
  std::string_view path;               // For a mount without its dot segments.
  route::Verdict verdict;

  // Keeps what the choice borrows from the plan alive, `path` excepted.
  std::shared_ptr<const void> Owner() const;
};

// `storage` takes a path that had to be rewritten. `choice` is written in place.
void Choose(const Plan& plan, const Asked& asked, std::string& storage, Choice* choice);

// From a mount, where no file answers, to its fallback.
void ChooseFallback(const RouteTarget& fallback, Choice* choice);

}  // namespace catzilla::exchange
