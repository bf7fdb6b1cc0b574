#include "sidecar/worker/frame.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "sidecar/worker/request_frame.h"

namespace catzilla::worker {
namespace {

TEST(FrameReader, LargestFrameFitsAndOneByteMoreIsRefusedByItsHeader) {
  const FrameLimits limits;
  for (FrameType type : {FrameType::kResponse, FrameType::kResponseData, FrameType::kTrailers,
                         FrameType::kHello, FrameType::kLog}) {
    const size_t most = limits.PayloadMax(type);
    char bytes[kFrameHeaderBytes];
    EncodeHeader({static_cast<uint32_t>(most), type, 0, 0, 0}, bytes);
    EXPECT_TRUE(DecodeHeader(bytes, limits).ok());
    EncodeHeader({static_cast<uint32_t>(most + 1), type, 0, 0, 0}, bytes);
    EXPECT_FALSE(DecodeHeader(bytes, limits).ok());
  }
}

TEST(FrameReader, UnknownFramesAreSkippedOnlyIfTheyMayBe) {
  std::string bytes;
  AppendFrame({0, static_cast<FrameType>(0x7F), kFlagIgnorable, 9, 0}, "later", &bytes);
  AppendFrame({0, FrameType::kPing, 0, 0, 0}, "12345678", &bytes);
  AppendFrame({0, static_cast<FrameType>(0x7F), 0, 9, 0}, "later", &bytes);
  FrameReader reader{FrameLimits{}};
  size_t room = 0;
  std::memcpy(reader.Space(&room), bytes.data(), bytes.size());
  reader.Commit(bytes.size());
  FrameView frame;
  ASSERT_EQ(reader.Next(&frame), FrameReader::Step::kFrame);
  EXPECT_EQ(frame.header.type, FrameType::kPing);
  ASSERT_EQ(reader.Next(&frame), FrameReader::Step::kError);
  EXPECT_EQ(reader.error().code, GoawayCode::kUnknownType);
}

TEST(RequestFrame, SlotsThatDoNotFitAreLeftOutAndSaySo) {
  const std::string long_value(70'000, 'v');
  const SlotValue slots[] = {{SlotValue::Kind::kValue, long_value, {}},
                             {SlotValue::Kind::kValue, "x", {}}};
  RequestSpec spec;
  spec.slots = slots;
  std::string frame;
  EncodeRequest(spec, &frame);
  RequestView view;
  ASSERT_EQ(DecodeRequest(std::string_view(frame).substr(kFrameHeaderBytes), &view), nullptr);
  EXPECT_TRUE(view.flags & kSlotsOverflow);
  ASSERT_EQ(view.slot_count, 2);
  EXPECT_FALSE(view.SlotAt(0).present);
  EXPECT_FALSE(view.SlotAt(1).present);
}

}  // namespace
}  // namespace catzilla::worker
