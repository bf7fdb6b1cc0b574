// SENDFILE: a descriptor comes with its frame, or the lane says why not.
#include <fcntl.h>
#include <sys/resource.h>

#include <cstdlib>

#include "sidecar/worker/rig_test.h"

namespace catzilla::worker {
namespace {

std::string FileFrame(uint32_t stream, uint64_t offset, uint64_t length, uint8_t flags = kFlagEnd) {
  char payload[16];
  Store64(payload, offset);
  Store64(payload + 8, length);
  std::string frame;
  AppendFrame({0, FrameType::kSendfile, flags, stream, 0}, {payload, sizeof payload}, &frame);
  return frame;
}

class Sendfile : public ::testing::Test {
 protected:
  Sendfile()
      : limit(LowerLimit()), hello(rig.Begin()), worker(rig.Attach(hello)), lane(*worker.lane) {
    char path[] = "/tmp/catzilla-sendfile-XXXXXX";
    fd = base::UniqueFd(::mkstemp(path));
    EXPECT_EQ(::write(fd.get(), "0123456789", 10), 10);
    fd = base::UniqueFd(::open(path, O_RDONLY | O_CLOEXEC));
    ::unlink(path);
  }
  bool LaneIsLost() {
    rig.Pump();
    return lane.closed() && rig.dispatcher.lanes() == 0;
  }
  static size_t OpenDescriptors() {
    size_t count = 0;
    for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return count;
  }

  // So that they can be used up.
  static rlimit LowerLimit() {
    rlimit before{};
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit low{std::min<rlim_t>(512, before.rlim_cur), before.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
    return before;
  }
  ~Sendfile() override { ::setrlimit(RLIMIT_NOFILE, &limit); }

  const rlimit limit;
  Notes notes;
  Rig rig;
  HelloText hello;
  Rig::FakeWorker worker;
  FakeConnection& lane;
  base::UniqueFd fd;
};

TEST_F(Sendfile, TheRestOfABodyIsAPieceOfAFile) {
  const uint32_t stream = rig.StartOn(lane, notes);
  lane.Respond(stream, "head ", 0);
  lane.SendWithFile(FileFrame(stream, 2, 3), fd.get());
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"response 200", "file 2+3", "end"}));
  EXPECT_EQ(notes.body.substr(0, 8), "head 234");
  EXPECT_EQ(rig.in_flight(), 0u);
}

// However the bytes are cut: the descriptor waits for its frame.
TEST_F(Sendfile, ComesBeforeTheFrameIsWhole) {
  const uint32_t stream = rig.StartOn(lane, notes);
  lane.Respond(stream, "", 0);
  const std::string frame = FileFrame(stream, 0, 10);
  lane.SendWithFile(frame.substr(0, 1), fd.get());
  rig.Pump();
  EXPECT_EQ(notes.notes, Lines{"response 200"});
  lane.SendRaw(frame.substr(1));
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"response 200", "file 0+10", "end"}));
}

TEST_F(Sendfile, SeveralAreTakenInOrder) {
  Notes second;
  const uint32_t a = rig.StartOn(lane, notes);
  const uint32_t b = rig.StartOn(lane, second);
  lane.Respond(a, "", 0);
  lane.Respond(b, "", 0);
  lane.SendWithFile(FileFrame(a, 0, 2), fd.get());
  lane.SendWithFile(FileFrame(b, 8, 2), fd.get());
  rig.Pump();
  EXPECT_EQ(notes.notes.back(), "end");
  EXPECT_EQ(second.body.substr(0, 2), "89");
}

TEST_F(Sendfile, OfACancelledStreamIsClosed) {
  Call* call = nullptr;
  const uint32_t stream = rig.StartOn(lane, notes, &call);
  lane.Respond(stream, "", 0);
  rig.Pump();
  const size_t before = OpenDescriptors();
  call->Cancel(origin::CancelCode::kClientGone);
  lane.SendWithFile(FileFrame(stream, 0, 10), fd.get());
  rig.Pump();
  EXPECT_EQ(notes.notes, Lines{"response 200"});
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_EQ(rig.in_flight(), 0u);
}

TEST_F(Sendfile, WithoutADescriptorEndsTheLane) {
  const uint32_t stream = rig.StartOn(lane, notes);
  lane.Respond(stream, "", 0);
  lane.SendRaw(FileFrame(stream, 0, 10));
  EXPECT_TRUE(LaneIsLost());
}

TEST_F(Sendfile, BeforeItsAnswerEndsTheLane) {
  const uint32_t stream = rig.StartOn(lane, notes);
  lane.SendWithFile(FileFrame(stream, 0, 10), fd.get());
  EXPECT_TRUE(LaneIsLost());
}

TEST_F(Sendfile, WithoutEndEndsTheLane) {
  const uint32_t stream = rig.StartOn(lane, notes);
  lane.Respond(stream, "", 0);
  lane.SendWithFile(FileFrame(stream, 0, 10, 0), fd.get());
  EXPECT_TRUE(LaneIsLost());
}

TEST_F(Sendfile, DescriptorsThatNoFrameTakesEndTheLaneAndAreClosed) {
  const size_t before = OpenDescriptors();
  std::string ping;
  AppendFrame({0, FrameType::kPing, 0, 0, 0}, "12345678", &ping);
  for (int i = 0; i < 17; ++i) {
    lane.SendWithFile(ping, fd.get());
    rig.Pump();
  }
  EXPECT_TRUE(LaneIsLost());
  EXPECT_LE(OpenDescriptors(), before);  // The lane's own is gone too.
}

// This process has none to spare: the one answer is lost, and the next file is not taken for it.
TEST_F(Sendfile, ThatIsLostIsItsAnswersFailure) {
  Notes second;
  const uint32_t a = rig.StartOn(lane, notes);
  const uint32_t b = rig.StartOn(lane, second);
  lane.Respond(a, "", 0);
  lane.Respond(b, "", 0);
  rig.Pump();
  const std::string frame = FileFrame(a, 0, 2);
  lane.SendWithFile(frame.substr(0, 20), fd.get());
  std::vector<base::UniqueFd> all;
  for (int taken; (taken = ::dup(fd.get())) >= 0;) all.emplace_back(taken);
  rig.Pump();
  all.clear();
  lane.SendRaw(frame.substr(20));
  lane.SendWithFile(FileFrame(b, 8, 2), fd.get());
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"response 200", "failure bad_answer"}));
  EXPECT_EQ(second.notes, (Lines{"response 200", "file 8+2", "end"}));
  EXPECT_EQ(rig.dispatcher.lanes(), 1u);
}

TEST_F(Sendfile, WhereBytesWereAskedForIsTheAppsFailure) {
  const uint32_t stream = rig.StartOn(lane, notes, nullptr,
                                      [](RequestSpec& spec) { spec.flags |= origin::kBytesOnly; });
  lane.Respond(stream, "", 0);
  lane.SendWithFile(FileFrame(stream, 0, 10), fd.get());
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"response 200", "failure bad_answer"}));
  EXPECT_EQ(rig.dispatcher.lanes(), 1u);
}

}  // namespace
}  // namespace catzilla::worker
