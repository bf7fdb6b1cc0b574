#include <gtest/gtest.h>

#include "catzilla/control/v1/pool_service.grpc.pb.h"
#include "catzilla/control/v1/route_service.grpc.pb.h"
#include "sidecar/control/control_harness.h"

namespace catzilla::control {
namespace {

// Leases...

using Stream = grpc::ClientReaderWriter<v1::RegisterRequest, v1::RegisterResponse>;

v1::RegisterRequest RegistrationOf(const std::string& instance, const std::string& code,
                                   const std::vector<std::string>& templates = {"/items/{id}"}) {
  v1::RegisterRequest request;
  auto* registration = request.mutable_registration();
  registration->set_app("shop");
  registration->set_instance_id(instance);
  registration->set_code_hash(code);
  registration->set_workers_expected(2);
  registration->mutable_table()->set_hash(code);
  uint32_t id = 0;
  for (const std::string& text : templates) {
    auto* route = registration->mutable_table()->add_routes();
    route->set_id(++id);
    route->set_declaration_index(id);
    route->add_methods("GET");
    route->set_template_(text);
    route->set_lane(v1::LANE_SLOW);
  }
  return request;
}

// What the pool and the loops tell of a generation that takes over.
void TakeOver(ControlServer& server, uint64_t generation) {
  for (const auto kind : {PoolEvent::Kind::kPrepared, PoolEvent::Kind::kSwitched}) {
    server.OnPoolEvent({kind, "shop", {9, generation}, 0, 1, false, ""});
  }
}

TEST_F(Control, TheStreamIsTheLease) {
  Start();
  auto stub = v1::RouteService::NewStub(channel_);
  v1::RegisterResponse event;
  {
    grpc::ClientContext context;
    auto stream = stub->Register(&context);
    ASSERT_TRUE(stream->Write(RegistrationOf("i1", "code1")));
    ASSERT_TRUE(stream->Read(&event));
    EXPECT_EQ(event.registered().pool(), "shop");
    EXPECT_EQ(event.registered().generation().number(), 1u);
    EXPECT_EQ(event.registered().attach_token().size(), 16u);
    EXPECT_EQ(event.registered().worker_socket(), "/run/worker.sock");
    EXPECT_FALSE(event.registered().resumed());
    EXPECT_EQ(store_->Current()->snapshot->routes.size(), 0u) << "nobody would answer yet";

    TakeOver(*server_, 1);
    ASSERT_TRUE(stream->Read(&event));
    EXPECT_TRUE(event.workers_ready().switched());
    EXPECT_EQ(store_->Current()->snapshot->routes.size(), 1u);
    EXPECT_EQ(store_->Current()->snapshot->pools[0]->generation, 1u);
    server_->OnPoolEvent({PoolEvent::Kind::kRecycle, "shop", {9, 1}, 77, 0, true, "hard timeout"});
    ASSERT_TRUE(stream->Read(&event));
    EXPECT_EQ(event.recycle().pid(), 77u);
    EXPECT_TRUE(event.recycle().hard());
    // The stream breaks, as when the app is killed.
    context.TryCancel();
    stream->Finish();
  }
  ASSERT_TRUE(Eventually([&] { return backend_.Logged("orphan shop 1"); }));
  EXPECT_EQ(store_->Current()->snapshot->routes.size(), 1u) << "orphaned, not gone";
  grpc::ClientContext list_context;
  v1::RouteServiceListResponse list;
  ASSERT_TRUE(stub->List(&list_context, {}, &list).ok());
  ASSERT_EQ(list.registrations_size(), 1);
  EXPECT_TRUE(list.registrations(0).has_orphaned_at());
  EXPECT_EQ(list.routes(0).lane(), v1::LANE_SLOW);

  // The same instance and code go on with their generation.
  grpc::ClientContext context;
  auto stream = stub->Register(&context);
  ASSERT_TRUE(stream->Write(RegistrationOf("i1", "code1")));
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_TRUE(event.registered().resumed());
  EXPECT_EQ(event.registered().generation().number(), 1u);
  ASSERT_TRUE(stream->Read(&event)) << "the switch is said again: its news may have been lost";
  EXPECT_TRUE(event.workers_ready().switched());
  EXPECT_EQ(event.workers_ready().generation().number(), 1u);
  ASSERT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok()) << "closing one's side ends the lease in peace";
}

TEST_F(Control, NewCodeIsANewGenerationAndItsTableWaitsForTheSwitch) {
  Start();
  auto stub = v1::RouteService::NewStub(channel_);
  grpc::ClientContext context;
  auto stream = stub->Register(&context);
  v1::RegisterResponse event;
  ASSERT_TRUE(stream->Write(RegistrationOf("i1", "code1", {"/old"})));
  ASSERT_TRUE(stream->Read(&event));
  TakeOver(*server_, 1);
  ASSERT_TRUE(stream->Read(&event));
  ASSERT_TRUE(stream->Write(RegistrationOf("i1", "code2", {"/new"})));
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.registered().generation().number(), 2u);
  EXPECT_EQ(store_->Current()->snapshot->routes[0]->path, "/old");
  server_->OnPoolEvent({PoolEvent::Kind::kReady, "shop", {9, 1}, 5, 1, false, ""});
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(store_->Current()->snapshot->routes[0]->path, "/old");
  TakeOver(*server_, 2);
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_TRUE(event.workers_ready().switched());
  EXPECT_EQ(store_->Current()->snapshot->routes[0]->path, "/new");
  context.TryCancel();
  stream->Finish();
}

// Until its first worker is there an app has a pool, for workers to attach to, and nothing that a
// client could wait at.
TEST_F(Control, TheFirstTableWaitsForItsWorkersToo) {
  Start();
  auto stub = v1::RouteService::NewStub(channel_);
  v1::RegisterResponse event;
  const auto unmatched = [&]() -> std::optional<config::Unmatched> {
    for (const auto& pool : store_->Current()->snapshot->pools) {
      if (pool->name == "shop") return pool->unmatched;
    }
    return std::nullopt;  // There is no such pool.
  };
  const auto lease = [&](const std::string& code, const std::function<void(Stream&)>& then) {
    grpc::ClientContext context;
    auto stream = stub->Register(&context);
    stream->Write(RegistrationOf("i1", code, {"/" + code}));
    ASSERT_TRUE(stream->Read(&event));
    EXPECT_TRUE(store_->Current()->snapshot->routes.empty());
    EXPECT_EQ(unmatched(), config::Unmatched::kSidecar) << "no path goes to absent workers";
    then(*stream);
    context.TryCancel();
    stream->Finish();
  };
  const auto switched = [&](Stream& stream, uint64_t generation) {
    TakeOver(*server_, generation);
    ASSERT_TRUE(stream.Read(&event));
    EXPECT_TRUE(event.workers_ready().switched());
  };
  lease("one", [&](Stream&) { EXPECT_EQ(event.registered().generation().number(), 1u); });
  ASSERT_TRUE(Eventually([&] { return backend_.Logged("orphan shop 1"); }));
  // The stream broke before a worker came: it resumes. Newer code overtakes what never served.
  lease("one", [&](Stream&) { EXPECT_TRUE(event.registered().resumed()); });
  lease("two", [&](Stream& stream) {
    EXPECT_EQ(event.registered().generation().number(), 2u);
    switched(stream, 1);
    EXPECT_TRUE(store_->Current()->snapshot->routes.empty());
    switched(stream, 2);
    ASSERT_EQ(store_->Current()->snapshot->routes.size(), 1u);
    EXPECT_EQ(store_->Current()->snapshot->routes[0]->path, "/two");
    EXPECT_EQ(unmatched(), config::Unmatched::kApp);
  });
}

TEST_F(Control, AnotherLiveInstanceIsRefusedUnlessItTakesOver) {
  Start();
  auto stub = v1::RouteService::NewStub(channel_);
  v1::RegisterResponse event;
  grpc::ClientContext first_context;
  auto first = stub->Register(&first_context);
  ASSERT_TRUE(first->Write(RegistrationOf("i1", "code1")));
  ASSERT_TRUE(first->Read(&event));
  {
    grpc::ClientContext context;
    auto second = stub->Register(&context);
    ASSERT_TRUE(second->Write(RegistrationOf("i2", "code1")));
    EXPECT_FALSE(second->Read(&event));
    const grpc::Status status = second->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
    EXPECT_NE(status.error_message().find("(i1, pid 0) holds the app shop"), std::string::npos);
  }
  grpc::ClientContext context;
  auto second = stub->Register(&context);
  v1::RegisterRequest takeover = RegistrationOf("i2", "code1");
  takeover.mutable_registration()->set_takeover(true);
  ASSERT_TRUE(second->Write(takeover));
  ASSERT_TRUE(second->Read(&event));
  EXPECT_EQ(event.registered().generation().number(), 2u);
  ASSERT_TRUE(first->Read(&event));
  EXPECT_EQ(event.superseded().by_instance_id(), "i2");
  EXPECT_FALSE(first->Read(&event));
  EXPECT_EQ(first->Finish().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_FALSE(backend_.Logged("orphan shop 2")) << "the old stream's end is not the new one's";
  context.TryCancel();
  second->Finish();
}

TEST_F(Control, ARefusedTableLeavesWhatIsServed) {
  Start("app: {prefixes: [/api]}\n");
  auto stub = v1::RouteService::NewStub(channel_);
  const auto refused = [&](const v1::RegisterRequest& request) {
    grpc::ClientContext context;
    auto stream = stub->Register(&context);
    stream->Write(request);
    v1::RegisterResponse event;
    EXPECT_FALSE(stream->Read(&event));
    return stream->Finish();
  };
  EXPECT_EQ(refused(RegistrationOf("i", "c", {"/elsewhere"})).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(refused(RegistrationOf("i", "c", {"no-slash"})).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  const grpc::Status bad = refused(RegistrationOf("i", "bad", {"/api/x"}));
  EXPECT_EQ(bad.error_message(), "the table hash needs 32 bytes");
  v1::RegisterRequest report;
  report.mutable_report();
  EXPECT_EQ(refused(report).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(store_->Current()->snapshot->routes.empty());
}

TEST_F(Control, AnAppThatCannotBeImportedShowsItsError) {
  Start();
  auto stub = v1::RouteService::NewStub(channel_);
  grpc::ClientContext context;
  auto stream = stub->Register(&context);
  v1::RegisterRequest request = RegistrationOf("i1", "");
  request.mutable_registration()->clear_table();
  ASSERT_TRUE(stream->Write(request));
  v1::RegisterResponse event;
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_TRUE(event.registered().attach_token().empty());
  v1::RegisterRequest report;
  report.mutable_report()->set_last_error("ImportError: no module named shop");
  auto* process = report.mutable_report()->add_workers();
  process->set_pid(100);
  process->set_restarts(3);
  auto* failed = report.mutable_report()->add_workers();
  failed->set_pid(101);
  failed->set_state(v1::WORKER_STATE_FAILED);
  failed->set_last_error("exit code 1");
  failed->set_last_traceback(std::string(20'000, 'x'));
  report.mutable_report()->set_last_traceback("Traceback: shop");
  report.mutable_report()->mutable_lanes()->set_fast(7);
  for (int i = 0; i < 2; ++i) report.mutable_report()->add_workers()->set_last_error("not yet");
  ASSERT_TRUE(stream->Write(report));
  auto pools = v1::PoolService::NewStub(channel_);
  v1::PoolServiceListResponse list;
  ASSERT_TRUE(Eventually([&] {
    grpc::ClientContext list_context;
    return pools->List(&list_context, {}, &list).ok() && !list.pools(0).last_error().empty();
  }));
  EXPECT_EQ(list.pools(0).last_error(), "ImportError: no module named shop");
  ASSERT_EQ(list.pools(0).workers_size(), 4) << "who has no pid yet is nobody else";
  EXPECT_EQ(list.pools(0).last_traceback(), "Traceback: shop");
  EXPECT_EQ(list.pools(0).lanes().fast(), 7u);
  EXPECT_EQ(list.pools(0).workers(1).last_traceback().size(), 16u * 1024) << "bounded";
  EXPECT_EQ(list.pools(0).workers(0).restarts(), 3u);
  EXPECT_EQ(list.pools(0).workers(1).state(), v1::WORKER_STATE_FAILED);
  context.TryCancel();
  stream->Finish();
  // Nothing of it was ever served: nothing stays.
  EXPECT_TRUE(Eventually([&] {
    grpc::ClientContext list_context;
    v1::RouteServiceListResponse routes;
    return stub->List(&list_context, {}, &routes).ok() && routes.registrations().empty();
  }));
}

TEST_F(Control, ARestartIsToldToTheSupervisorWhoForks) {
  Start();
  auto pools = v1::PoolService::NewStub(channel_);
  const auto restart = [&](const char* pool, uint32_t pid, v1::RestartResponse* response) {
    grpc::ClientContext context;
    v1::RestartRequest request;
    request.set_pool(pool);
    request.set_pid(pid);
    return pools->Restart(&context, request, response);
  };
  v1::RestartResponse response;
  EXPECT_EQ(restart("shop", 0, &response).error_code(), grpc::StatusCode::FAILED_PRECONDITION)
      << "nobody has registered it";
  EXPECT_EQ(restart("other", 0, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(restart("", 77, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(response.pools().empty());
  auto stub = v1::RouteService::NewStub(channel_);
  grpc::ClientContext context;
  auto stream = stub->Register(&context);
  ASSERT_TRUE(stream->Write(RegistrationOf("i1", "code1")));
  v1::RegisterResponse event;
  ASSERT_TRUE(stream->Read(&event));
  for (const uint32_t pid : {0u, 100u}) {
    ASSERT_TRUE(restart("", pid, &response).ok());
    ASSERT_EQ(response.pools_size(), 1);
    EXPECT_EQ(response.pools(0).name(), "shop");
    ASSERT_EQ(response.pools(0).workers_size(), 1);
    EXPECT_EQ(response.pools(0).workers(0).pid(), 100u);
    ASSERT_TRUE(stream->Read(&event));
    EXPECT_EQ(event.recycle().pid(), pid);
    EXPECT_FALSE(event.recycle().hard());
    EXPECT_EQ(event.recycle().reason(), "asked for by uid " + std::to_string(geteuid()));
  }
  context.TryCancel();
  stream->Finish();
}

TEST_F(Control, ADumpIsAnsweredWithinItsTime) {
  Start();
  auto pools = v1::PoolService::NewStub(channel_);
  const auto dump = [&](const char* pool, uint32_t pid, uint32_t timeout_ms) {
    grpc::ClientContext context;
    v1::DumpRequest request;
    request.set_pool(pool);
    request.set_pid(pid);
    request.set_timeout_ms(timeout_ms);
    v1::DumpResponse response;
    return pools->Dump(&context, request, &response).error_code();
  };
  EXPECT_EQ(dump("shop", 0, 0), grpc::StatusCode::OK);
  EXPECT_EQ(dump("shop", 0, 5001), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(dump("shop", 0, 77), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(dump("none", 0, 0), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(dump("", 9, 0), grpc::StatusCode::NOT_FOUND);
}

TEST_F(Control, AnOrphanLingersOrIsRemoved) {
  Start("app: {linger: 10s}\n");
  auto stub = v1::RouteService::NewStub(channel_);
  const auto remove = [&] {
    grpc::ClientContext context;
    v1::RemoveRequest request;
    request.set_app("shop");
    v1::RemoveResponse response;
    return stub->Remove(&context, request, &response).error_code();
  };
  const auto register_and = [&](const char* generation, const std::function<void()>& then) {
    grpc::ClientContext context;
    auto stream = stub->Register(&context);
    stream->Write(RegistrationOf("i1", "code1"));
    v1::RegisterResponse event;
    EXPECT_TRUE(stream->Read(&event));
    const uint64_t number = event.registered().generation().number();
    TakeOver(*server_, number);
    EXPECT_TRUE(stream->Read(&event));
    then();
    context.TryCancel();
    stream->Finish();
    EXPECT_TRUE(
        Eventually([&] { return backend_.Logged(std::string("orphan shop ") + generation); }));
  };
  EXPECT_EQ(remove(), grpc::StatusCode::NOT_FOUND);
  register_and("1", [&] { EXPECT_EQ(remove(), grpc::StatusCode::FAILED_PRECONDITION); });
  EXPECT_EQ(remove(), grpc::StatusCode::OK);
  EXPECT_TRUE(store_->Current()->snapshot->routes.empty());
  register_and("2", [] {});
  EXPECT_EQ(store_->Current()->snapshot->routes.size(), 1u);
  now_us_ = 11'000'000;
  EXPECT_TRUE(Eventually([&] { return store_->Current()->snapshot->routes.empty(); }));
}

TEST_F(Control, DrainIsAnnouncedToAppsAndHealth) {
  Start();
  auto stub = v1::RouteService::NewStub(channel_);
  grpc::ClientContext context;
  auto stream = stub->Register(&context);
  stream->Write(RegistrationOf("i1", "code1"));
  v1::RegisterResponse event;
  ASSERT_TRUE(stream->Read(&event));
  server_->AnnounceDrain("SIGTERM", 30'000'000);
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.drain().timeout_ms(), 30'000u);
  // A server that stops ends the streams that are still open.
  server_->Stop();
  EXPECT_FALSE(stream->Read(&event));
  stream->Finish();
}

}  // namespace
}  // namespace catzilla::control
