// The control plane from outside: a real server on a real socket, with a backend that remembers.
#include <grp.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>

#include "catzilla/control/v1/cache_service.grpc.pb.h"
#include "catzilla/control/v1/config_service.grpc.pb.h"
#include "catzilla/control/v1/mount_service.grpc.pb.h"
#include "catzilla/control/v1/pool_service.grpc.pb.h"
#include "catzilla/control/v1/route_service.grpc.pb.h"
#include "catzilla/control/v1/sidecar_service.grpc.pb.h"
#include "catzilla/control/v1/stats_service.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "sidecar/control/access.h"
#include "sidecar/control/server.h"
#include "sidecar/control/socket.h"

namespace catzilla::control {
namespace {

class FakeBackend final : public Backend {
 public:
  void Status(v1::StatusResponse* out) override {
    out->set_state(v1::SIDECAR_STATE_SERVING);
    out->set_version("1.2.3");
  }
  Answer Explain(const v1::ExplainRequest& request, v1::ExplainResponse* out) override {
    if (request.url().empty()) return {Answer::Kind::kInvalid, "no url"};
    out->set_mount("site");
    return {};
  }
  void Memory(v1::MemoryResponse* out) override { out->set_rss_bytes(7); }
  uint64_t Drain(const std::string& reason) override {
    std::lock_guard<std::mutex> lock(mutex);
    drained = reason;
    return 3;
  }
  Answer Purge(const v1::PurgeRequest& request, v1::PurgeResponse* out) override {
    if (request.cache() == "none") return {Answer::Kind::kNotFound, "no cache is named \"none\""};
    out->set_objects(5);
    return {};
  }
  Answer Lookup(const v1::LookupRequest&, v1::LookupResponse*) override { return {}; }
  Answer CacheStats(const v1::CacheServiceStatsRequest&, v1::CacheServiceStatsResponse*) override { return {}; }
  void Stats(v1::Stats* out) override { out->set_connections(++stats); }
  void Pools(v1::PoolServiceListResponse* out) override {
    auto* pool = out->add_pools();
    pool->set_name("shop");
    auto* worker = pool->add_workers();
    worker->set_pid(100);
    worker->set_state(v1::WORKER_STATE_READY);
  }
  base::Result<Ticket, std::string> BeginGeneration(const std::string& pool, const std::string& hash,
                                                    uint32_t) override {
    std::lock_guard<std::mutex> lock(mutex);
    if (hash == "bad") return base::Fail(std::string("the table hash needs 32 bytes"));
    log.push_back("begin " + pool);
    live.insert(++generation);
    return Ticket{{9, generation}, std::string(16, static_cast<char>('a' + generation)), "/run/worker.sock"};
  }
  bool Orphan(const std::string& pool, const GenerationId& id) override {
    std::lock_guard<std::mutex> lock(mutex);
    log.push_back("orphan " + pool + " " + std::to_string(id.number));
    return true;
  }
  bool Resume(const std::string&, const GenerationId& id) override {
    std::lock_guard<std::mutex> lock(mutex);
    return live.contains(id.number);
  }
  bool Logged(const std::string& line) {
    std::lock_guard<std::mutex> lock(mutex);
    return std::find(log.begin(), log.end(), line) != log.end();
  }

  std::mutex mutex;
  std::vector<std::string> log;
  std::set<uint64_t> live;
  uint64_t generation = 0;
  std::string drained;
  std::atomic<uint64_t> stats{0};
};

// Waits without a fixed time for what another thread is about to do.
bool Eventually(const std::function<bool()>& come) {
  for (int i = 0; i < 2000; ++i) {
    if (come()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

class Control : public testing::Test {
 protected:
  Control() {
    char name[] = "/tmp/catzilla-control-XXXXXX";
    dir_ = mkdtemp(name);
    mkdir((dir_ + "/www").c_str(), 0755);
    schema::StoreOptions options;
    options.memory_limit_bytes = 1 << 30;
    options.wall_clock_us = [] { return int64_t{1'700'000'000'000'000}; };
    store_ = std::make_unique<schema::ConfigStore>(options);
    settings_.socket = dir_ + "/control.sock";
    settings_.tcp_role = config::v1::ROLE_READ;
  }
  ~Control() override {
    server_.reset();
    if (std::system(("rm -rf '" + dir_ + "'").c_str()) != 0) ADD_FAILURE();
  }

  std::unique_ptr<ControlServer> Make() {
    ServerOptions options;
    options.settings = settings_;
    options.wall_clock_us = [] { return int64_t{1'700'000'000'000'000}; };
    options.monotonic_us = [this] { return now_us_.load(); };
    return std::make_unique<ControlServer>(options, *store_, backend_);
  }

  void Start(const std::string& file = "") {
    schema::Document document = schema::ReadDocument(file, "f.yaml");
    schema::FileLayer layer;
    layer.config = document.config;
    layer.lines = document.lines;
    layer.file = "f.yaml";
    const schema::Outcome outcome = store_->SetFile(layer, document.diagnostics, "f.yaml");
    ASSERT_TRUE(outcome.ok()) << schema::Format(outcome.diagnostics[0]);
    server_ = Make();
    auto started = server_->Start();
    ASSERT_TRUE(started.ok()) << started.error();
    channel_ = Connect();
  }

  std::shared_ptr<grpc::Channel> Connect() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel("unix:" + settings_.socket, grpc::InsecureChannelCredentials(), arguments);
  }

  std::string dir_;
  schema::ControlSettings settings_;
  FakeBackend backend_;
  std::atomic<int64_t> now_us_{0};
  std::unique_ptr<schema::ConfigStore> store_;
  std::unique_ptr<ControlServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

// The socket...

TEST_F(Control, ASecondDaemonIsToldWhoIsThere) {
  Start();
  auto second = Make();
  const auto started = second->Start();
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error(), settings_.socket + ": another catzilla-sidecar, process " + std::to_string(getpid()) +
                                 " already serves this control socket (stop it, or start this one with another "
                                 "--runtime-dir)");
  second.reset();
  v1::StatusResponse response;
  grpc::ClientContext context;
  EXPECT_TRUE(v1::SidecarService::NewStub(channel_)->Status(&context, {}, &response).ok()) << "the first still serves";
}

TEST_F(Control, AStaleSocketIsReplacedAndAForeignFileIsNot) {
  const int stale = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, settings_.socket.c_str());
  ASSERT_EQ(bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(stale);
  Start();
  struct stat status {};
  ASSERT_EQ(stat(settings_.socket.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0660u);
  server_->Stop();
  EXPECT_NE(stat(settings_.socket.c_str(), &status), 0) << "gone after a clean stop";

  std::ofstream(settings_.socket) << "precious";
  auto other = Make();
  const auto started = other->Start();
  ASSERT_FALSE(started.ok());
  EXPECT_NE(started.error().find("is no socket"), std::string::npos) << started.error();
  EXPECT_EQ(stat(settings_.socket.c_str(), &status), 0);
}

TEST_F(Control, BadPlacesNameTheRemedy) {
  settings_.socket = "/tmp/no/such/folder/control.sock";
  auto server = Make();
  EXPECT_NE(server->Start().error().find("control.runtime_dir"), std::string::npos);
  settings_.socket = dir_ + "/" + std::string(120, 'x');
  server = Make();
  EXPECT_NE(server->Start().error().find("longer than the 107 bytes"), std::string::npos);
}

// Roles...

TEST(Access, RolesComeFromUidAndGroups) {
  AccessOptions options;
  options.own_uid = 1000;
  options.socket_group = 50;
  auto add = [&](std::optional<uint32_t> uid, std::optional<uint32_t> gid, Role role) {
    config::v1::RoleBinding binding;
    if (uid) binding.set_uid(*uid);
    if (gid) binding.set_gid(*gid);
    binding.set_role(role);
    options.roles.push_back(binding);
  };
  add(2000, std::nullopt, config::v1::ROLE_PURGE);
  add(std::nullopt, 60, config::v1::ROLE_OPERATE);
  add(3000, 70, config::v1::ROLE_ADMIN);
  Access access(options);
  struct Row {
    uid_t uid;
    gid_t gid;
    std::vector<gid_t> groups;
    Role role;
  };
  const Row kTable[] = {
      {0, 0, {}, config::v1::ROLE_ADMIN},           {1000, 9, {}, config::v1::ROLE_ADMIN},
      {1001, 9, {}, config::v1::ROLE_UNSPECIFIED},  {1001, 50, {}, config::v1::ROLE_REGISTER},
      {1001, 9, {50}, config::v1::ROLE_REGISTER},   {2000, 9, {}, config::v1::ROLE_PURGE},
      {2000, 60, {}, config::v1::ROLE_OPERATE},     {3000, 9, {}, config::v1::ROLE_UNSPECIFIED},
      {3000, 9, {70}, config::v1::ROLE_ADMIN},
  };
  for (const Row& row : kTable) {
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ASSERT_TRUE(access.Add(pair[0], {1, row.uid, row.gid, row.groups}));
    const std::string peer = "fd:" + std::to_string(pair[0]);
    EXPECT_EQ(access.Identify(peer, "").role, row.role) << row.uid << " " << row.gid;
    close(pair[0]);
    EXPECT_EQ(access.Identify(peer, "").role, config::v1::ROLE_UNSPECIFIED) << "closed: nobody";
    close(pair[1]);
  }
  EXPECT_EQ(access.Identify("fd:999", "").role, config::v1::ROLE_UNSPECIFIED);
  EXPECT_EQ(access.Identify("unix:", "").role, config::v1::ROLE_UNSPECIFIED);
}

TEST(Access, ConnectionsAreBoundedAndClosedOnesForgotten) {
  Access access({});
  std::vector<int> fds;
  for (size_t i = 0; i < Access::kConnectionsMax; ++i) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ASSERT_TRUE(access.Add(fd, {}));
    fds.push_back(fd);
  }
  const int one_more = socket(AF_UNIX, SOCK_STREAM, 0);
  EXPECT_FALSE(access.Add(one_more, {}));
  close(fds[7]);
  EXPECT_TRUE(access.Add(one_more, {}));
  for (const int fd : fds) close(fd);
  close(one_more);
}

TEST(Access, SecretsAreReferences) {
  setenv("CATZILLA_TEST_TOKEN", "0123456789abcdef\n", 1);
  EXPECT_EQ(*ReadSecret("${env:CATZILLA_TEST_TOKEN}"), "0123456789abcdef");
  setenv("CATZILLA_TEST_TOKEN", "short", 1);
  EXPECT_NE(ReadSecret("${env:CATZILLA_TEST_TOKEN}").error().find("fewer than 16"), std::string::npos);
  EXPECT_FALSE(ReadSecret("${env:CATZILLA_NO_SUCH}").ok());
  EXPECT_FALSE(ReadSecret("${file:/no/such}").ok());
  EXPECT_FALSE(ReadSecret("plain-text-is-refused").ok());
}

// As root: another user, another role. The child has no gRPC before the fork; it only connects.
TEST_F(Control, AnotherUserSeesTheSocketByItsGroupOnly) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  chmod(dir_.c_str(), 0755);
  settings_.socket_mode = 0666;
  Start();
  for (const auto& [gid, want] : {std::pair<gid_t, int>{0, 0}, std::pair<gid_t, int>{12345, 7}}) {
    // A helper program of our own: this test binary again, asking for status.
    const pid_t child = fork();
    if (child == 0) {
      if (setgroups(0, nullptr) != 0 || setgid(gid) != 0 || setuid(12345) != 0) _exit(99);
      setenv("CATZILLA_ASK", settings_.socket.c_str(), 1);
      execl("/proc/self/exe", "control_test", "--gtest_filter=Helper.AsksForStatus", "--gtest_brief=1", nullptr);
      _exit(98);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), want == 0 ? 40 : 40 + want) << "gid " << gid;
  }
}

// Not a test of its own: what the one above starts as another user. Exits with 40 + the status code.
TEST(Helper, AsksForStatus) {
  const char* path = std::getenv("CATZILLA_ASK");
  if (path == nullptr) GTEST_SKIP() << "started by another test";
  auto channel = grpc::CreateChannel(std::string("unix:") + path, grpc::InsecureChannelCredentials());
  v1::StatusResponse response;
  grpc::ClientContext context;
  const grpc::Status status = v1::SidecarService::NewStub(channel)->Status(&context, {}, &response);
  _exit(40 + status.error_code());
}

TEST_F(Control, TcpNeedsTheToken) {
  setenv("CATZILLA_TEST_TOKEN", "0123456789abcdef", 1);
  settings_.tcp_address = "127.0.0.1:0";
  settings_.token = "${env:CATZILLA_TEST_TOKEN}";
  Start();
  ASSERT_NE(server_->tcp_port(), 0);
  auto stub = v1::SidecarService::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->tcp_port()),
                                                              grpc::InsecureChannelCredentials()));
  const auto ask = [&](const char* authorization) {
    grpc::ClientContext context;
    if (authorization != nullptr) context.AddMetadata("authorization", authorization);
    v1::StatusResponse response;
    return stub->Status(&context, {}, &response).error_code();
  };
  EXPECT_EQ(ask(nullptr), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ask("Bearer 0123456789abcdeX"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ask("Bearer 0123456789abcdef0"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ask("0123456789abcdef"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ask("Bearer 0123456789abcdef"), grpc::StatusCode::OK);
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer 0123456789abcdef");
  v1::DrainResponse drained;
  const grpc::Status status = stub->Drain(&context, {}, &drained);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(status.error_message().find("has the role read, and this needs operate"), std::string::npos);
}

TEST_F(Control, TcpIsNeverOpen) {
  settings_.tcp_address = "127.0.0.1:0";
  ASSERT_TRUE(store_->SetFile({}, {}, "").ok());
  auto server = Make();
  EXPECT_FALSE(server->Start().ok());
  EXPECT_NE(access(settings_.socket.c_str(), F_OK), 0) << "nothing is left behind";
}

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
  EXPECT_NE(response.diff().find("-   server_name: file\n+   server_name: api"), std::string::npos) << response.diff();

  const grpc::Status conflict = apply(request, &response);
  EXPECT_EQ(conflict.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(conflict.error_message(),
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

TEST_F(Control, ARefusalCarriesEveryFindingTyped) {
  Start();
  auto stub = v1::ConfigService::NewStub(channel_);
  v1::ApplyRequest request;
  request.set_text("limits:\n  idle_timeout: 5\nmounts:\n  - {name: a, prefix: /a, root: /no/such, typo: 1}\n");
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
    if (any.UnpackTo(&diagnostic)) codes.push_back(diagnostic.code() + "@" + std::to_string(diagnostic.line()));
    if (any.Is<google::rpc::BadRequest>()) any.UnpackTo(&bad);
  }
  EXPECT_EQ(codes, (std::vector<std::string>{"CZ1002@4", "CZ1101@2", "CZ1203@4"}));
  ASSERT_EQ(bad.field_violations_size(), 3);
  EXPECT_EQ(bad.field_violations(2).field(), "mounts[a].root");
  EXPECT_EQ(bad.field_violations(2).description(),
            "my.yaml:4: error CZ1203: mounts[a].root: /no/such: No such file or directory (create it, or correct the path)");

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
  request.set_text("mounts: [{name: a, prefix: /a, root: ./www}]\nlisteners: [{name: x, port: 99}]\n");
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
    EXPECT_EQ(stub->Create(&context, create, &created).error_code(), grpc::StatusCode::ALREADY_EXISTS);
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
    EXPECT_EQ(store_->Current()->snapshot->routes.size(), 1u);

    server_->OnPoolEvent({PoolEvent::Kind::kSwitched, "shop", {9, 1}, 0, 1, false, ""});
    ASSERT_TRUE(stream->Read(&event));
    EXPECT_TRUE(event.workers_ready().switched());
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
  ASSERT_TRUE(stream->Write(RegistrationOf("i1", "code2", {"/new"})));
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.registered().generation().number(), 2u);
  EXPECT_EQ(store_->Current()->snapshot->routes[0]->path, "/old");
  server_->OnPoolEvent({PoolEvent::Kind::kReady, "shop", {9, 1}, 5, 1, false, ""});
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(store_->Current()->snapshot->routes[0]->path, "/old");
  server_->OnPoolEvent({PoolEvent::Kind::kSwitched, "shop", {9, 2}, 6, 1, false, ""});
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_TRUE(event.workers_ready().switched());
  EXPECT_EQ(store_->Current()->snapshot->routes[0]->path, "/new");
  context.TryCancel();
  stream->Finish();
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
  EXPECT_EQ(refused(RegistrationOf("i", "c", {"/elsewhere"})).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(refused(RegistrationOf("i", "c", {"no-slash"})).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
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
  ASSERT_TRUE(stream->Write(report));
  auto pools = v1::PoolService::NewStub(channel_);
  v1::PoolServiceListResponse list;
  ASSERT_TRUE(Eventually([&] {
    grpc::ClientContext list_context;
    return pools->List(&list_context, {}, &list).ok() && !list.pools(0).last_error().empty();
  }));
  EXPECT_EQ(list.pools(0).last_error(), "ImportError: no module named shop");
  ASSERT_EQ(list.pools(0).workers_size(), 2);
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
    then();
    context.TryCancel();
    stream->Finish();
    EXPECT_TRUE(Eventually([&] { return backend_.Logged(std::string("orphan shop ") + generation); }));
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

// The rest...

TEST_F(Control, TheRuntimeAnswers) {
  Start();
  {
    grpc::ClientContext context;
    v1::ExplainResponse response;
    auto stub = v1::SidecarService::NewStub(channel_);
    EXPECT_EQ(stub->Explain(&context, {}, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
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
    EXPECT_EQ(stub->Purge(&nothing, request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
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

}  // namespace
}  // namespace catzilla::control
