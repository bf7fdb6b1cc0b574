#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "sidecar/base/arena.h"
#include "sidecar/base/cgroup.h"
#include "sidecar/base/closest.h"
#include "sidecar/base/intrusive_list.h"
#include "sidecar/base/random.h"
#include "sidecar/base/ref.h"
#include "sidecar/base/result.h"
#include "sidecar/base/secret.h"
#include "sidecar/base/sip_hash.h"

namespace catzilla::base {
namespace {

TEST(Result, HoldsEitherAValueOrAnError) {
  const auto halve = [](int n) -> Result<int, std::string> {
    if (n % 2 != 0) return Fail(std::string("odd"));
    return n / 2;
  };
  EXPECT_EQ(halve(4).value(), 2);
  EXPECT_EQ(halve(3).error(), "odd");
  EXPECT_DEATH((void)halve(3).value(), "other alternative");
}

TEST(Random, FillsAllOfItAnewEachTime) {
  std::string first(64, '\0'), second(64, '\0');
  FillRandom(first.data(), first.size());
  FillRandom(second.data(), second.size());
  EXPECT_NE(first, second);
  EXPECT_NE(first.substr(48), std::string(16, '\0'));
  FillRandom(nullptr, 0);
}

// The published vectors: key 00 01 … 0f, input 00 01 … of the row's length.
TEST(SipHash, IsThePublishedOne) {
  const SipKey key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::string input;
  for (int i = 0; i < 16; ++i) input.push_back(static_cast<char>(i));
  const std::string_view all(input);
  EXPECT_EQ((SipHash<2, 4>(all.substr(0, 0), key)), 0x726fdb47dd0e0e31u);
  EXPECT_EQ((SipHash<2, 4>(all.substr(0, 1), key)), 0x74f839c593dc67fdu);
  EXPECT_EQ((SipHash<2, 4>(all.substr(0, 15), key)), 0xa129ca6149be45e5u);
  EXPECT_EQ((SipHash<1, 3>(all.substr(0, 0), key)), 0xabac0158050fc4dcu);
  EXPECT_EQ((SipHash<1, 3>(all.substr(0, 1), key)), 0xc9f49bf37d57ca93u);
  EXPECT_EQ((SipHash128<2, 4>(all.substr(0, 0), key)).low, 0xe6a825ba047f81a3u);
}

TEST(Secret, OnlyTheWholeOfItIsRight) {
  EXPECT_TRUE(IsSecret("0123456789abcdef", "0123456789abcdef"));
  for (const char* wrong : {"", "0", "0123456789abcdeg", "1123456789abcdef", "0123456789abcde",
                            "0123456789abcdef0", "0123456789abcdef0123456789abcdef"}) {
    EXPECT_FALSE(IsSecret(wrong, "0123456789abcdef")) << wrong;
  }
  EXPECT_FALSE(IsSecret("", ""));  // What was never set lets nobody in.
  EXPECT_FALSE(IsSecret("x", ""));
}

TEST(Closest, O7IsWhatSomebodyMeant) {
  const std::vector<std::string_view> words = {"purge", "lookup", "stats", "max_body_size"};
  EXPECT_EQ(Closest("pruge", words), "purge") << "two letters swapped are one mistake";
  EXPECT_EQ(Closest("purg", words), "purge");
  EXPECT_EQ(Closest("statss", words), "stats");
  EXPECT_EQ(Closest("loookup", words), "lookup");
  EXPECT_EQ(Closest("max_body", words), "max_body_size");
  EXPECT_EQ(Closest("bogus", words), "");
  EXPECT_EQ(Closest("", words), "");
}

struct Counted : RefCounted<Counted> {
  explicit Counted(int* count) : alive(count) { ++*alive; }
  ~Counted() { --*alive; }
  int* alive;
};

TEST(Ref, TheLastOneDestroys) {
  int alive = 0;
  {
    auto first = Ref<Counted>::Make(&alive);
    Ref<Counted> second = first;
    first = nullptr;
    EXPECT_EQ(alive, 1);
    EXPECT_TRUE(second->TryRef());
    second->Unref();
  }
  EXPECT_EQ(alive, 0);
}

struct ByOrder;
struct Item : ListNode<ByOrder> {
  int value = 0;
};

TEST(List, MembersUnlinkThemselves) {
  List<Item, ByOrder> list;
  Item first;
  first.value = 1;
  list.PushBack(first);
  {
    Item second;
    second.value = 2;
    list.PushBack(second);
    EXPECT_EQ(list.back()->value, 2);
  }
  EXPECT_EQ(list.PopFront(), &first);
  EXPECT_TRUE(list.empty());
}

TEST(Arenas, CountWhatTheyGive) {
  const uint64_t before = Arenas::Usage(ArenaId::kFiles).allocated_bytes;
  void* memory = Arenas::Allocate(ArenaId::kFiles, 1 << 20);
  ASSERT_NE(memory, nullptr);
  EXPECT_GE(Arenas::Usage(ArenaId::kFiles).allocated_bytes, before + (1 << 20));
  Arenas::Free(ArenaId::kFiles, memory, 1 << 20);
  EXPECT_LT(Arenas::Usage(ArenaId::kFiles).allocated_bytes, before + (1 << 20));
}

class CgroupTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/catzilla-cgroup-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::filesystem::path root_;
};

TEST_F(CgroupTest, V2TightestParentWins) {
  Write("proc/self/cgroup", "0::/pod/app\n");
  Write("sys/fs/cgroup/pod/app/memory.max", "max\n");
  Write("sys/fs/cgroup/pod/memory.max", "268435456\n");
  Write("sys/fs/cgroup/pod/app/cpu.max", "250000 100000\n");
  const CgroupLimits limits = ReadCgroupLimits(root_.string());
  EXPECT_EQ(limits.memory_bytes, 268435456u);
  EXPECT_DOUBLE_EQ(limits.cpus, 2.5);
  EXPECT_EQ(LoopCount(limits, 16), 2);
}

TEST_F(CgroupTest, V1) {
  Write("proc/self/cgroup", "4:memory:/a\n3:cpu,cpuacct:/a\n");
  Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1048576\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n");
  Write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  const CgroupLimits limits = ReadCgroupLimits(root_.string());
  EXPECT_EQ(limits.memory_bytes, 1048576u);
  EXPECT_DOUBLE_EQ(limits.cpus, 0.5);
  EXPECT_EQ(LoopCount(limits, 16), 1);
}

TEST_F(CgroupTest, NothingReadableIsUnlimited) {
  const CgroupLimits limits = ReadCgroupLimits(root_.string());
  EXPECT_EQ(limits.memory_bytes, 0u);
  EXPECT_EQ(LoopCount(limits, 16), 4);
  EXPECT_EQ(LoopCount(limits, 2), 2);
}

}  // namespace
}  // namespace catzilla::base
