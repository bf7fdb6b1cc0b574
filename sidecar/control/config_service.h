// ConfigService and MountService, over the ConfigStore. Threads: gRPC's. Internal to this room.
#pragma once

#include <memory>

#include "sidecar/control/rpc.h"

namespace catzilla::control {

std::unique_ptr<grpc::Service> MakeConfigService(const Guard& guard, schema::ConfigStore& store,
                                                 Backend& backend);
std::unique_ptr<grpc::Service> MakeMountService(const Guard& guard, schema::ConfigStore& store,
                                                Backend& backend);

}  // namespace catzilla::control
