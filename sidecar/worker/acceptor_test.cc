// Who may attach, and what the others are told; control connections; the socket file.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstdlib>

#include "sidecar/worker/rig_test.h"

namespace catzilla::worker {
namespace {

using Frame = FakeConnection::Frame;

struct Intruder {
  const char* name;
  std::function<void(HelloText&)> change;
  GoawayCode code;
  const char* says;  // Part of the sentence.
};

TEST(AcceptorTest, WhoIsNotTakenHearsWhyAndWhatToDo) {
  const Intruder kIntruders[] = {
      {"newer worker", [](HelloText& h) { h.version_min = 3, h.version_max = 4; },
       GoawayCode::kVersion,
       "speaks link version 3-4, this sidecar (0.1.0) 1: upgrade the sidecar"},
      {"wrong token", [](HelloText& h) { h.ticket.token[15] ^= 1; }, GoawayCode::kToken, "token"},
      {"unknown pool", [](HelloText& h) { h.pool = "other"; }, GoawayCode::kGeneration,
       "no pool named other"},
      {"unknown generation", [](HelloText& h) { h.ticket.generation.number = 9; },
       GoawayCode::kGeneration, "register again"},
      {"before the sidecar's restart", [](HelloText& h) { h.ticket.generation.epoch = 9; },
       GoawayCode::kGeneration, "the sidecar has restarted"},
      {"other code", [](HelloText& h) { h.table_hash[0] = 'x'; }, GoawayCode::kTable,
       "route table differs"},
      {"small frames", [](HelloText& h) { h.head_bytes_max = 30'000; }, GoawayCode::kLimits,
       "upgrade the Python package"},
      {"control twice", [](HelloText&) {}, GoawayCode::kProtocol, "already"},
  };
  for (const Intruder& intruder : kIntruders) {
    SCOPED_TRACE(intruder.name);
    Rig rig;
    HelloText hello = rig.Begin();
    Rig::FakeWorker good = rig.Attach(hello);
    intruder.change(hello);
    auto connection = rig.Connect(hello.Frame(Purpose::kControl, 0));
    Frame frame;
    ASSERT_TRUE(connection->Take(FrameType::kGoaway, &frame));
    EXPECT_EQ(frame.header.aux, static_cast<uint32_t>(intruder.code));
    EXPECT_NE(frame.payload.find(intruder.says), std::string::npos) << frame.payload;
    EXPECT_TRUE(connection->closed());
    EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kRefused), 1);
    EXPECT_EQ(rig.events.LastDetail(), frame.payload);
    EXPECT_EQ(rig.pool->Status().workers.size(), 1u) << "the good one is untouched";
  }
}

TEST(AcceptorTest, LanesNeedTheirControlConnectionFirstAndALoopThatExists) {
  Rig rig;
  const HelloText hello = rig.Begin();
  auto early = rig.Connect(hello.Frame(Purpose::kLane, 0));
  Frame frame;
  ASSERT_TRUE(early->Take(FrameType::kGoaway, &frame));
  EXPECT_NE(frame.payload.find("control connection before"), std::string::npos);
  auto control = rig.Connect(hello.Frame(Purpose::kControl, 0));
  ASSERT_TRUE(control->Take(FrameType::kHelloAck, &frame));
  HelloAck ack;
  ASSERT_EQ(DecodeHelloAck(frame.payload, &ack), nullptr);
  EXPECT_EQ(ack.loop_count, 1);
  EXPECT_EQ(ack.credits, 1000u);
  auto far = rig.Connect(hello.Frame(Purpose::kLane, 1));
  ASSERT_TRUE(far->Take(FrameType::kGoaway, &frame));
  EXPECT_NE(frame.payload.find("no loop 1"), std::string::npos);
  auto any = rig.Connect(hello.Frame(Purpose::kLane, kAnyLoop));
  EXPECT_TRUE(any->Take(FrameType::kHelloAck, &frame));
}

TEST(AcceptorTest, FirstFrameMustBeHelloAndNothingMayFollowIt) {
  Rig rig;
  const HelloText hello = rig.Begin();
  std::string ping, twice = hello.Frame(Purpose::kControl, 0);
  AppendFrame({0, FrameType::kPing, 0, 0, 0}, "12345678", &ping);
  twice += ping;
  for (const std::string& bytes : {ping, twice, std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n")}) {
    auto connection = rig.Connect(bytes);
    Frame frame;
    EXPECT_TRUE(connection->Take(FrameType::kGoaway, &frame));
    EXPECT_TRUE(connection->closed());
  }
  EXPECT_EQ(rig.acceptor.connections(), 0u);
  EXPECT_TRUE(rig.pool->Status().workers.empty());
}

TEST(AcceptorTest, ConnectionThatSaysNothingIsLetGo) {
  Rig rig;
  auto silent = rig.Connect("");
  auto slow = rig.Connect(rig.Begin().Frame(Purpose::kControl, 0).substr(0, 50));
  ASSERT_TRUE(rig.Until([&] { return silent->closed() && slow->closed(); }));
  Frame frame;
  ASSERT_TRUE(slow->Take(FrameType::kGoaway, &frame));
  EXPECT_EQ(frame.header.aux, static_cast<uint32_t>(GoawayCode::kHelloLate));
}

TEST(AcceptorTest, O15SilentConnectionsNeverKeepAWorkerOut) {
  Rig rig;
  std::vector<std::unique_ptr<FakeConnection>> silent;
  for (int i = 0; i < 300; ++i) silent.push_back(rig.Connect(""));
  EXPECT_LE(rig.acceptor.connections(), 65u)
      << "and each of the others has given its descriptor back";
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  EXPECT_EQ(rig.pool->Status().workers.size(), 1u);
  silent.front()->Receive();
  EXPECT_TRUE(silent.front()->closed()) << "the longest silent one has gone";
  silent.back()->Receive();
  EXPECT_FALSE(silent.back()->closed());
  ASSERT_TRUE(rig.Until([&] { return silent.back()->closed(); })) << "its time is over as well";
}

// Whose HELLO has come, but was not read yet, is not silent.
TEST(AcceptorTest, O15WhoHasSpokenIsHeardAlthoughManyCameAfter) {
  Rig rig;
  auto control = rig.Connect(rig.Begin().Frame(Purpose::kControl, 0), false);
  std::vector<std::unique_ptr<FakeConnection>> silent;
  for (int i = 0; i < 80; ++i) silent.push_back(rig.Connect("", false));
  Frame frame;
  EXPECT_TRUE(control->Take(FrameType::kHelloAck, &frame));
}

TEST(AcceptorTest, AnotherUserIsNotTakenWhateverItsToken) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  char folder[] = "/tmp/catzilla-acceptor-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  ASSERT_EQ(::chmod(folder, 0755), 0);
  const std::string path = std::string(folder) + "/worker.sock";
  loop::Loop loop;
  Registry registry{RegistryOptions{}};
  loop::Wheel wheel(loop);
  Dispatcher dispatcher(loop, wheel, registry);
  config::Pool config;
  auto pool = registry.Configure(config);
  HelloText hello;
  hello.ticket = *registry.BeginGeneration("app", hello.table_hash, 1);
  Acceptor acceptor(loop, registry, {path, 0666, {4242}});
  ASSERT_TRUE(acceptor.Open().ok());
  bool confined = false;
  for (const auto& [uid, taken] : {std::pair<uid_t, bool>{65534, false}, {4242, true}}) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      if (::setuid(uid) != 0) ::_exit(90);
      const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      path.copy(address.sun_path, sizeof address.sun_path - 1);
      if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) ::_exit(91);
      const std::string frame = hello.Frame(Purpose::kControl, 0);
      (void)!::send(fd, frame.data(), frame.size(), MSG_NOSIGNAL);  // Perhaps refused already.
      char answer[kFrameHeaderBytes];
      if (::recv(fd, answer, sizeof answer, MSG_WAITALL) != sizeof answer) ::_exit(93);
      ::_exit(answer[4]);  // The type of the first frame.
    }
    int status = 0;
    pid_t ended = 0;
    while ((ended = ::waitpid(child, &status, WNOHANG)) == 0) loop.RunOnce(true);
    ASSERT_EQ(ended, child);
    confined = WEXITSTATUS(status) == 90;
    if (confined) break;
    EXPECT_EQ(WEXITSTATUS(status),
              static_cast<int>(taken ? FrameType::kHelloAck : FrameType::kGoaway));
  }
  acceptor.Close();
  dispatcher.Close();
  wheel.Close();
  loop.DrainHandles();
  ::rmdir(folder);
  if (confined) GTEST_SKIP() << "this root may not become somebody else (a sandbox)";
}

TEST(AcceptorTest, HelloMayComeByteByByte) {
  Rig rig;
  const std::string hello = rig.Begin().Frame(Purpose::kControl, 0);
  auto connection = rig.Connect("");
  for (char byte : hello) {
    connection->SendRaw({&byte, 1});
    rig.loop.RunOnce(false);
  }
  rig.Pump();
  Frame frame;
  EXPECT_TRUE(connection->Take(FrameType::kHelloAck, &frame));
}

TEST(AcceptorTest, ControlConnectionCarriesPingsStatsLogsAndFarewell) {
  RegistryOptions options;
  options.ping_interval_us = 1'000;
  Rig rig({}, options);
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  Frame frame;
  worker.control->Send(FrameType::kPing, 0, "abcdefgh");
  rig.Pump();
  ASSERT_TRUE(worker.control->Take(FrameType::kPong, &frame));
  EXPECT_EQ(frame.payload, "abcdefgh");

  WorkerStats stats;
  stats.rss_bytes = 123;
  stats.loop_lag_us = 45;
  std::string payload;
  EncodeStats(stats, &payload);
  worker.control->Send(FrameType::kStats, 0, payload);
  worker.control->Send(FrameType::kLog, 0, "ready", 0, 2);
  rig.Pump();
  EXPECT_EQ(rig.pool->Status().workers.at(0).rss_bytes, 123u);
  EXPECT_EQ(rig.pool->Status().workers.at(0).loop_lag_us, 45u);
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kLog), 1);
  EXPECT_EQ(rig.events.LastDetail(), "ready");

  // PINGs come, and one that is not answered is counted and kills nobody.
  ASSERT_TRUE(rig.Until([&] { return rig.pool->Status().workers.at(0).pings_missed > 0; }));
  EXPECT_TRUE(worker.control->Take(FrameType::kPing, &frame));
  EXPECT_FALSE(worker.control->closed());

  worker.control->Send(FrameType::kGoaway, 0, "bye");
  rig.Pump();
  EXPECT_EQ(rig.pool->Status().workers.at(0).state, WorkerStatus::State::kDraining);
  worker.Kill();
  rig.Pump();
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kLeft), 1);
}

TEST(AcceptorTest, SocketFileHasItsModeReplacesALeftoverAndGoesWithUs) {
  char folder[] = "/tmp/catzilla-acceptor-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/worker.sock";
  loop::Loop loop;
  Registry registry{RegistryOptions{}};
  loop::Wheel wheel(loop);
  Dispatcher dispatcher(loop, wheel, registry);
  {
    // A leftover: bound once, its listener is dead.
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
  }
  Acceptor acceptor(loop, registry, {path, 0600, {}});
  const auto opened = acceptor.Open();
  ASSERT_TRUE(opened.ok());
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  Acceptor second(loop, registry, {path, 0600, {}});
  const auto refused = second.Open();
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().find(path), std::string::npos);
  second.Close();
  ASSERT_EQ(::stat(path.c_str(), &status), 0)
      << "the second one must not take the first one's file";
  acceptor.Close();
  dispatcher.Close();
  wheel.Close();
  loop.DrainHandles();
  EXPECT_NE(::stat(path.c_str(), &status), 0);
  ::rmdir(folder);
}

TEST(RegistryTest, SaysWhatIsWrongWithARegistration) {
  Rig rig;
  EXPECT_FALSE(rig.registry.BeginGeneration("nobody", std::string(32, 'h'), 1).ok());
  EXPECT_FALSE(rig.registry.BeginGeneration("app", "short", 1).ok());
  const auto a = rig.registry.BeginGeneration("app", std::string(32, 'h'), 1);
  const auto b = rig.registry.BeginGeneration("app", std::string(32, 'h'), 1);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NE(a->token, b->token);
  EXPECT_EQ(a->token.size(), kTokenBytes);
  EXPECT_EQ(b->generation.number, a->generation.number + 1);
  EXPECT_FALSE(rig.registry.Orphan("app", a->generation)) << "it has been pushed aside";
  EXPECT_TRUE(rig.registry.Orphan("app", b->generation));
  EXPECT_EQ(rig.registry.List().size(), 1u);
  config::Pool config;
  for (size_t i = 1; i < Registry::kPoolsHeldMax; ++i) {
    config.name = "p" + std::to_string(i);
    EXPECT_NE(rig.registry.Configure(config), nullptr);
  }
  config.name = "one too many";
  EXPECT_EQ(rig.registry.Configure(config), nullptr);
}

}  // namespace
}  // namespace catzilla::worker
