#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "catzilla/control/v1/cache_service.grpc.pb.h"
#include "catzilla/control/v1/sidecar_service.grpc.pb.h"
#include "catzilla/control/v1/stats_service.grpc.pb.h"
#include "sidecar/control/control_harness.h"

namespace catzilla::control {
namespace {

// The rest...

TEST_F(Control, TheRuntimeAnswers) {
  Start();
  {
    grpc::ClientContext context;
    v1::ExplainResponse response;
    auto stub = v1::SidecarService::NewStub(channel_);
    EXPECT_EQ(stub->Explain(&context, {}, &response).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
    grpc::ClientContext drain_context;
    v1::DrainResponse drained;
    ASSERT_TRUE(stub->Drain(&drain_context, {}, &drained).ok());
    EXPECT_EQ(drained.requests_active(), 3u);
    EXPECT_EQ(backend_.drained, "asked for by uid " + std::to_string(geteuid()));
  }
  {
    auto stub = v1::CacheService::NewStub(channel_);
    v1::PurgeRequest request;
    v1::PurgeResponse response;
    grpc::ClientContext nothing;
    EXPECT_EQ(stub->Purge(&nothing, request, &response).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
    request.set_tag("t");
    grpc::ClientContext tag;
    ASSERT_TRUE(stub->Purge(&tag, request, &response).ok());
    EXPECT_EQ(response.objects(), 5u);
    request.set_cache("none");
    grpc::ClientContext none;
    EXPECT_EQ(stub->Purge(&none, request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  }
  {
    auto stub = v1::StatsService::NewStub(channel_);
    grpc::ClientContext context;
    v1::StatsServiceWatchRequest request;
    request.mutable_interval()->set_nanos(100'000'000);
    auto watch = stub->Watch(&context, request);
    v1::StatsServiceWatchResponse response;
    for (uint64_t i = 1; i <= 3; ++i) {
      ASSERT_TRUE(watch->Read(&response));
      EXPECT_EQ(response.stats().connections(), i);
    }
    context.TryCancel();
    watch->Finish();
    grpc::ClientContext too_fast;
    request.mutable_interval()->set_nanos(1);
    auto refused = stub->Watch(&too_fast, request);
    EXPECT_FALSE(refused->Read(&response));
    EXPECT_EQ(refused->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

// The status of a unary call, or of a stream's end, whose request is these bytes.
grpc::Status CallWith(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                      const std::string& bytes) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue.Next(&tag, &ok));
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  return status;
}

TEST_F(Control, O13AMessageThatIsNoProtobufIsAnInvalidArgument) {
  Start();
  const std::string kNonsense = "\xff\xff\xff\xff";
  for (const char* method :
       {"/catzilla.control.v1.SidecarService/Explain", "/catzilla.control.v1.ConfigService/Apply",
        "/catzilla.control.v1.CacheService/Purge", "/catzilla.control.v1.StatsService/Watch"}) {
    const grpc::Status status = CallWith(channel_, method, kNonsense);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
    EXPECT_NE(status.error_message().find(method), std::string::npos) << status.error_message();
  }
  EXPECT_TRUE(CallWith(channel_, "/catzilla.control.v1.SidecarService/Status", "").ok());
  EXPECT_EQ(CallWith(channel_, "/catzilla.control.v1.SidecarService/Nothing", "").error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace catzilla::control
