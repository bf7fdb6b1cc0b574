#include "sidecar/runtime/upstream_state.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace catzilla::runtime {
namespace {

// Whether anything is answered by this pool.
bool IsUsed(const config::Snapshot& snapshot, const std::string& pool) {
  return std::any_of(snapshot.routes.begin(), snapshot.routes.end(),
                     [&](const auto& route) { return route->pool == pool; }) ||
         std::any_of(snapshot.mounts.begin(), snapshot.mounts.end(),
                     [&](const auto& mount) { return mount->fallback_pool == pool; });
}

}  // namespace

std::string UnreadyUpstream(const exchange::Plan& plan, const upstream::Registry& upstreams) {
  for (const std::string& name : plan.upstreams) {
    const auto servers = upstreams.Find(name);
    if (servers == nullptr || servers->ever_ready() || !IsUsed(*plan.snapshot, name)) continue;
    return "no server of pool " + name + " has taken a connection yet\n";
  }
  return "";
}

void TargetLog::OnTargetEvent(const upstream::TargetEvent& event) {
  using Kind = upstream::TargetEvent::Kind;
  switch (event.kind) {
    case Kind::kAway:
      spdlog::warn("pool {}: {} is away: {}", event.pool, event.target, event.detail);
      return;
    case Kind::kBack:
      spdlog::info("pool {}: {} is back", event.pool, event.target);
      return;
    case Kind::kUnresolved:
      spdlog::error("pool {}: {} cannot be resolved: {} (correct the name, or look at DNS)",
                    event.pool, event.target, event.detail);
      return;
    case Kind::kResolved:
      spdlog::info("pool {}: {} is resolved", event.pool, event.target);
      return;
  }
}

}  // namespace catzilla::runtime
