// The services that ask the rest of the sidecar. Threads: gRPC's. Internal to this room.
#pragma once

#include <memory>
#include <vector>

#include "sidecar/control/rpc.h"

namespace catzilla::control {

std::unique_ptr<grpc::Service> MakeRouteService(const Guard& guard, schema::ConfigStore& store,
                                                Registrar& registrar);

// Cache, Pool, Stats and Sidecar.
std::vector<std::unique_ptr<grpc::Service>> MakeRuntimeServices(const Guard& guard,
                                                                schema::ConfigStore& store,
                                                                Registrar& registrar,
                                                                Backend& backend);

}  // namespace catzilla::control
