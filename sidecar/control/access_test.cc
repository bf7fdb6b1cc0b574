#include "sidecar/control/access.h"

#include <grp.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>

#include "catzilla/control/v1/sidecar_service.grpc.pb.h"
#include "sidecar/control/control_harness.h"

namespace catzilla::control {
namespace {

// The socket...

TEST_F(Control, ASecondDaemonIsToldWhoIsThere) {
  Start();
  auto second = Make();
  const auto started = second->Start();
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error(),
            settings_.socket + ": another catzilla-sidecar, process " + std::to_string(getpid()) +
                " already serves this control socket (stop it, or start this one with another "
                "--runtime-dir)");
  second.reset();
  v1::StatusResponse response;
  grpc::ClientContext context;
  EXPECT_TRUE(v1::SidecarService::NewStub(channel_)->Status(&context, {}, &response).ok())
      << "the first still serves";
}

TEST_F(Control, AStaleSocketIsReplacedAndAForeignFileIsNot) {
  const int stale = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, settings_.socket.c_str());
  ASSERT_EQ(bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(stale);
  Start();
  struct stat status{};
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
      {0, 0, {}, config::v1::ROLE_ADMIN},          {1000, 9, {}, config::v1::ROLE_ADMIN},
      {1001, 9, {}, config::v1::ROLE_UNSPECIFIED}, {1001, 50, {}, config::v1::ROLE_REGISTER},
      {1001, 9, {50}, config::v1::ROLE_REGISTER},  {2000, 9, {}, config::v1::ROLE_PURGE},
      {2000, 60, {}, config::v1::ROLE_OPERATE},    {3000, 9, {}, config::v1::ROLE_UNSPECIFIED},
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
  EXPECT_NE(ReadSecret("${env:CATZILLA_TEST_TOKEN}").error().find("fewer than 16"),
            std::string::npos);
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
      unsetenv("TEST_PREMATURE_EXIT_FILE");  // Bazel's, which that user may not write.
      execl("/proc/self/exe", "control_test", "--gtest_filter=Helper.AsksForStatus",
            "--gtest_brief=1", nullptr);
      _exit(98);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), want == 0 ? 40 : 40 + want) << "gid " << gid;
  }
}

// Not a test of its own: what the one above starts as another user. Exits with 40 + the status
// code.
TEST(Helper, AsksForStatus) {
  const char* path = std::getenv("CATZILLA_ASK");
  if (path == nullptr) GTEST_SKIP() << "started by another test";
  auto channel =
      grpc::CreateChannel(std::string("unix:") + path, grpc::InsecureChannelCredentials());
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
  auto stub = v1::SidecarService::NewStub(grpc::CreateChannel(
      "127.0.0.1:" + std::to_string(server_->tcp_port()), grpc::InsecureChannelCredentials()));
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
  EXPECT_NE(status.error_message().find("has the role read, and this needs operate"),
            std::string::npos);
}

TEST_F(Control, TcpIsNeverOpen) {
  settings_.tcp_address = "127.0.0.1:0";
  ASSERT_TRUE(store_->SetFile({}, {}, "").ok());
  auto server = Make();
  EXPECT_FALSE(server->Start().ok());
  EXPECT_NE(access(settings_.socket.c_str(), F_OK), 0) << "nothing is left behind";
}

}  // namespace
}  // namespace catzilla::control
