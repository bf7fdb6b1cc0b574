#include "sidecar/control/malformed.h"

#include <grpcpp/grpcpp.h>

#include <string>

namespace catzilla::control {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

class MalformedAnswer final : public grpc::experimental::Interceptor {
 public:
  explicit MalformedAnswer(ServerRpcInfo* info)
      : method_(info->method()),
        // Of a stream of requests, nothing more to read looks the same.
        one_request_(info->type() == ServerRpcInfo::Type::UNARY ||
                     info->type() == ServerRpcInfo::Type::SERVER_STREAMING) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (one_request_ &&
        methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE)) {
      malformed_ = methods->GetRecvMessage() == nullptr;
    }
    if (malformed_ &&
        methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      methods->ModifySendStatus(
          grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                       "the message is no request of " + method_ +
                           " (is it protobuf, made from this version's .proto files?)"));
    }
    methods->Proceed();
  }

 private:
  const std::string method_;
  const bool one_request_;
  bool malformed_ = false;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new MalformedAnswer(info);  // gRPC deletes it.
  }
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeMalformedAnswers() {
  return std::make_unique<Factory>();
}

}  // namespace catzilla::control
