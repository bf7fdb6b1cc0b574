// What is said to a caller whose message is no protobuf of the method's type.
//
// gRPC itself says UNIMPLEMENTED then, which sends people looking for another version; it is
// INVALID_ARGUMENT, with a sentence.
//
// Threads: gRPC's. Owns: nothing.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>

namespace catzilla::control {

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeMalformedAnswers();

}  // namespace catzilla::control
