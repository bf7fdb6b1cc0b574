// What the process as a whole says of upstream pools: readiness, and the log.
//
// Threads: any. Owns: nothing.
#pragma once

#include <string>

#include "sidecar/exchange/plan.h"
#include "sidecar/upstream/registry.h"

namespace catzilla::runtime {

// Why a plan is not ready to get traffic: a pool that it uses and that no server has ever taken a
// connection of. Empty: it is.
std::string UnreadyUpstream(const exchange::Plan& plan, const upstream::Registry& upstreams);

class TargetLog final : public upstream::EventSink {
 public:
  void OnTargetEvent(const upstream::TargetEvent& event) override;
};

}  // namespace catzilla::runtime
