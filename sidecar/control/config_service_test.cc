#include <gtest/gtest.h>
#include <unistd.h>

#include "catzilla/control/v1/config_service.grpc.pb.h"
#include "catzilla/control/v1/mount_service.grpc.pb.h"
#include "catzilla/control/v1/sidecar_service.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "sidecar/control/control_harness.h"

namespace catzilla::control {
namespace {

// Configuration...

TEST_F(Control, GetApplyAndCompareAndSwap) {
  Start("server_name: file\n");
  auto stub = v1::ConfigService::NewStub(channel_);
  const auto apply = [&](const v1::ApplyRequest& request, v1::ApplyResponse* response) {
    grpc::ClientContext context;
    return stub->Apply(&context, request, response);
  };
  v1::ApplyRequest request;
  v1::ApplyResponse response;
  request.mutable_config()->set_server_name("api");
  request.set_if_version(1);
  ASSERT_TRUE(apply(request, &response).ok());
  EXPECT_TRUE(response.changed());
  EXPECT_EQ(response.version(), 2u);
  EXPECT_NE(response.diff().find("-   server_name: file\n+   server_name: api"), std::string::npos)
      << response.diff();

  const grpc::Status conflict = apply(request, &response);
  EXPECT_EQ(conflict.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(
      conflict.error_message(),
      "if_version is 1, and the current version is 2 (get it again, and apply your change to it)");

  grpc::ClientContext context;
  v1::ConfigServiceGetResponse got;
  ASSERT_TRUE(stub->Get(&context, {}, &got).ok());
  EXPECT_EQ(got.config().server_name(), "api");
  EXPECT_EQ(got.config().limits().max_headers(), 100u) << "defaults are filled in";
  bool found = false;
  for (const auto& info : got.resources()) {
    if (info.path() == "server_name") found = info.layer() == v1::LAYER_API;
  }
  EXPECT_TRUE(found);

  v1::ApplyRequest merge;
  merge.set_text("limits: {idle_timeout: 5s}\n");
  merge.set_merge(true);
  ASSERT_TRUE(apply(merge, &response).ok());
  EXPECT_EQ(store_->Current()->snapshot->server_name, "api") << "what was there stays";
  EXPECT_EQ(store_->Current()->snapshot->limits->idle_timeout_us, 5'000'000);
}

TEST_F(Control, ApplyAnswersWhenEveryLoopServesItOrSaysThatOneDoesNot) {
  Start();
  auto stub = v1::ConfigService::NewStub(channel_);
  const auto apply = [&](const std::string& name, bool dry_run) {
    v1::ApplyRequest request;
    v1::ApplyResponse response;
    request.mutable_config()->set_server_name(name);
    request.set_dry_run(dry_run);
    grpc::ClientContext context;
    EXPECT_TRUE(stub->Apply(&context, request, &response).ok());
    return response;
  };
  apply("dry", true);
  EXPECT_FALSE(backend_.Logged("await 2"));
  EXPECT_EQ(apply("one", false).diagnostics_size(), 0);
  EXPECT_TRUE(backend_.Logged("await 2"));
  apply("one", false);
  EXPECT_FALSE(backend_.Logged("await 3")) << "nothing has changed";
  backend_.loop_stands = true;
  const v1::ApplyResponse response = apply("two", false);
  ASSERT_EQ(response.diagnostics_size(), 1);
  EXPECT_EQ(response.diagnostics(0).code(), "CZ1404");
  EXPECT_EQ(response.diagnostics(0).severity(), v1::SEVERITY_WARNING);

  auto mounts = v1::MountService::NewStub(channel_);
  v1::MountServiceCreateRequest create;
  create.mutable_mount()->set_prefix("/www");
  create.mutable_mount()->set_root(dir_ + "/www");
  grpc::ClientContext context;
  v1::MountServiceCreateResponse created;
  ASSERT_TRUE(mounts->Create(&context, create, &created).ok());
  ASSERT_EQ(created.diagnostics_size(), 1);
  EXPECT_EQ(created.diagnostics(0).code(), "CZ1404");
}

TEST_F(Control, ARefusalCarriesEveryFindingTyped) {
  Start();
  auto stub = v1::ConfigService::NewStub(channel_);
  v1::ApplyRequest request;
  request.set_text(
      "limits:\n  idle_timeout: 5\nmounts:\n  - {name: a, prefix: /a, root: /no/such, typo: 1}\n");
  request.set_file("my.yaml");
  grpc::ClientContext context;
  v1::ApplyResponse response;
  const grpc::Status status = stub->Apply(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  std::vector<std::string> codes;
  google::rpc::BadRequest bad;
  for (const auto& any : details.details()) {
    v1::Diagnostic diagnostic;
    if (any.UnpackTo(&diagnostic))
      codes.push_back(diagnostic.code() + "@" + std::to_string(diagnostic.line()));
    if (any.Is<google::rpc::BadRequest>()) any.UnpackTo(&bad);
  }
  EXPECT_EQ(codes, (std::vector<std::string>{"CZ1002@4", "CZ1101@2", "CZ1203@4"}));
  ASSERT_EQ(bad.field_violations_size(), 3);
  EXPECT_EQ(bad.field_violations(2).field(), "mounts[a].root");
  EXPECT_EQ(bad.field_violations(2).description(),
            "my.yaml:4: error CZ1203: mounts[a].root: /no/such: No such file or directory (create "
            "it, or correct the path)");

  grpc::ClientContext again;
  v1::StatusResponse sidecar;
  ASSERT_TRUE(v1::SidecarService::NewStub(channel_)->Status(&again, {}, &sidecar).ok());
  EXPECT_EQ(sidecar.state(), v1::SIDECAR_STATE_DEGRADED);
  EXPECT_EQ(sidecar.last_rejected().diagnostics_size(), 3);
}

TEST_F(Control, ValidateAnswersWithoutChanging) {
  Start();
  auto stub = v1::ConfigService::NewStub(channel_);
  v1::ValidateRequest request;
  request.set_text(
      "mounts: [{name: a, prefix: /a, root: ./www}]\nlisteners: [{name: x, port: 99}]\n");
  request.set_folder(dir_);
  grpc::ClientContext context;
  v1::ValidateResponse response;
  ASSERT_TRUE(stub->Validate(&context, request, &response).ok());
  EXPECT_TRUE(response.valid()) << response.DebugString();
  EXPECT_EQ(store_->Current()->number, 1u);
}

TEST_F(Control, WatchSendsVersionsAndRefusals) {
  Start();
  auto stub = v1::ConfigService::NewStub(channel_);
  grpc::ClientContext context;
  auto watch = stub->Watch(&context, {});
  v1::ConfigServiceWatchResponse event;
  ASSERT_TRUE(watch->Read(&event));
  EXPECT_EQ(event.version().version(), 1u);
  const auto edit = [&](const char* text) {
    store_->ChangeApi(
        [&](const schema::Version&, schema::ApiLayer* layer) {
          layer->config = schema::ReadDocument(text).config;
          return schema::Diagnostics();
        },
        {});
  };
  edit("server_name: a\n");
  ASSERT_TRUE(watch->Read(&event));
  EXPECT_EQ(event.version().version(), 2u);
  edit("limits: {idle_timeout: 5}\n");
  ASSERT_TRUE(watch->Read(&event));
  EXPECT_EQ(event.rejection().diagnostics(0).code(), "CZ1101");
  context.TryCancel();
  watch->Finish();
}

TEST_F(Control, MountsComeAndGo) {
  Start("mounts: [{name: site, prefix: /, root: " + dir_ + "/www}]\n");
  auto stub = v1::MountService::NewStub(channel_);
  v1::MountServiceCreateRequest create;
  create.mutable_mount()->set_prefix("/static/img");
  create.mutable_mount()->set_root(dir_ + "/www");
  v1::MountServiceCreateResponse created;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(stub->Create(&context, create, &created).ok());
    EXPECT_EQ(created.mount().mount().name(), "static-img");
    EXPECT_EQ(created.mount().info().origin(), "uid " + std::to_string(geteuid()));
    EXPECT_EQ(created.version(), 2u);
  }
  {
    grpc::ClientContext context;
    EXPECT_EQ(stub->Create(&context, create, &created).error_code(),
              grpc::StatusCode::ALREADY_EXISTS);
  }
  {
    grpc::ClientContext context;
    create.mutable_mount()->set_name("gone");
    create.mutable_mount()->set_prefix("/gone");
    create.mutable_mount()->set_root("/no/such");
    const grpc::Status status = stub->Create(&context, create, &created);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_NE(status.error_message().find("CZ1203"), std::string::npos) << status.error_message();
  }
  {
    grpc::ClientContext context;
    v1::MountServiceListResponse list;
    ASSERT_TRUE(stub->List(&context, {}, &list).ok());
    ASSERT_EQ(list.mounts_size(), 2);
    EXPECT_EQ(list.mounts(0).info().layer(), v1::LAYER_FILE);
    EXPECT_EQ(list.mounts(0).info().origin(), "f.yaml:1");
  }
  const auto remove = [&](const char* name) {
    grpc::ClientContext context;
    v1::MountServiceDeleteRequest request;
    v1::MountServiceDeleteResponse response;
    request.set_name(name);
    return stub->Delete(&context, request, &response);
  };
  EXPECT_TRUE(remove("site").ok()) << "of the file: a tombstone";
  EXPECT_TRUE(store_->Current()->layers.api->tombstones.contains("mounts[site]"));
  const grpc::Status missing = remove("static-im");
  EXPECT_EQ(missing.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(missing.error_message(), "no mount is named \"static-im\" (did you mean static-img?)");
  EXPECT_TRUE(remove("static-img").ok());
  EXPECT_TRUE(store_->Current()->snapshot->mounts.empty());
}

}  // namespace
}  // namespace catzilla::control
