// The one place where it is decided which origin a route's requests are given to.
//
// Threads: the loop's. Owns: nothing. Fails: as the origin's Start(): null, and `failure` says why.
#pragma once

#include "sidecar/exchange/context.h"
#include "sidecar/exchange/plan.h"
#include "sidecar/origin/call.h"
#include "sidecar/origin/request.h"
#include "sidecar/origin/socket.h"
#include "sidecar/upstream/agent.h"

namespace catzilla::exchange {

// REQUIRES: the route has workers or an upstream.
[[nodiscard]] inline origin::Call* StartCall(Context& context, const RouteTarget& route,
                                             const origin::RequestSpec& spec,
                                             origin::Observer& observer, origin::Failure* failure) {
  if (route.upstream != nullptr) {
    return context.upstreams->Start(spec, route.upstream, observer, failure);
  }
  return context.dispatcher.Start(spec, route.generation, observer, failure);
}

// The same for a WebSocket.
[[nodiscard]] inline origin::Socket* StartSocket(Context& context, const RouteTarget& route,
                                                 const origin::RequestSpec& spec,
                                                 origin::SocketObserver& observer,
                                                 origin::Failure* failure) {
  if (route.upstream != nullptr) {
    return context.upstreams->StartSocket(spec, route.upstream, observer, failure);
  }
  return context.dispatcher.StartSocket(spec, route.generation, observer, failure);
}

}  // namespace catzilla::exchange
