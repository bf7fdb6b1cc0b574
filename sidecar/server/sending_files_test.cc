// Files that are sent by the kernel: rewritten meanwhile, and at a rate.
#include "sidecar/server/client_test.h"

namespace catzilla::server {
namespace {

class SendingFiles : public Serving {
 protected:
  void Ask(Peer& peer, const std::string& path) {
    peer.Send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n");
    Pump();
    house.Settle();
    Pump();
  }
};

// No byte of the new file may follow the head of the old.
TEST_F(SendingFiles, FileIsRewrittenInPlaceMeanwhile) {
  Peer peer(hall.Connect(listener, 4096));
  Ask(peer, "/files/big");
  EXPECT_EQ(hall.desk.context.exchanges.in_use(), 1u);
  house.Write("big", std::string(kBig, 'N'));
  ASSERT_TRUE(ReadToEnd(peer));
  EXPECT_LT(peer.read.size(), kBig);
  EXPECT_EQ(peer.read.find("NN"), std::string::npos);
  peer.Leave();
  Pump();
  EXPECT_EQ(closed(CloseReason::kTruncated), 1u);
  ExpectNothingLeft();
}

TEST_F(SendingFiles, FileBecomesShorterMeanwhile) {
  Peer peer(hall.Connect(listener, 4096));
  Ask(peer, "/files/big");
  house.Write("big", "short");
  ASSERT_TRUE(ReadToEnd(peer));
  EXPECT_LT(peer.read.size(), kBig);
  peer.Leave();
  Pump();
  EXPECT_EQ(closed(CloseReason::kTruncated), 1u);
  ExpectNothingLeft();
}

class SlowMount : public SendingFiles {
 protected:
  static constexpr size_t kBytes = 250'000;
  SlowMount() {
    house.Write("mid", std::string(kBytes, 'm'));
    config::Mount mount = house.MountAt("/slow");
    mount.rate_bytes_per_s = 100'000;
    snapshot.mounts.push_back(std::make_shared<config::Mount>(mount));
    hall.desk.context.plan = house.MakePlan(snapshot, rig.pool, rig.serving, &hall.desk);
  }
};

// A second's worth at once, then what time brings; the next answer has its own.
TEST_F(SlowMount, KeepsItsRate) {
  const int64_t begin_us = base::ReadClock().monotonic_us;
  Peer peer(hall.Connect(listener));
  Ask(peer, "/slow/mid");
  ASSERT_TRUE(Until([&] {
    peer.Read();
    return Statuses(peer.read) == "200";  // All of it.
  }));
  EXPECT_GT(base::ReadClock().monotonic_us - begin_us, 1'400'000);
  EXPECT_FALSE(peer.ended);
  peer.Leave();
  ExpectNothingLeft();
}

TEST_F(SlowMount, ClientLeavesMeanwhile) {
  Peer peer(hall.Connect(listener));
  Ask(peer, "/slow/mid");
  ReadAll(peer);
  EXPECT_GE(peer.read.size(), 100'000u);
  EXPECT_LT(peer.read.size(), kBytes);
  peer.Leave();
  ASSERT_TRUE(Until([&] { return hall.open() == 0; }))
      << "noticed with the next bytes at the latest";
  ExpectNothingLeft();
}

TEST_F(SlowMount, DrainLetsItArrive) {
  Peer peer(hall.Connect(listener));
  Ask(peer, "/slow/mid");
  hall.Drain();
  ASSERT_TRUE(ReadToEnd(peer));
  EXPECT_EQ(Statuses(peer.read), "200");
  ExpectNothingLeft();
}

}  // namespace
}  // namespace catzilla::server
