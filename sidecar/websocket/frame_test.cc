#include "sidecar/websocket/frame.h"

#include <gtest/gtest.h>

#include <string>

#include "sidecar/websocket/close_code.h"
#include "sidecar/websocket/utf8_stream.h"

namespace catzilla::websocket {
namespace {

std::string Head(Opcode opcode, bool last, bool compressed, uint64_t length) {
  char out[kFrameHeadBytesMax];
  return {out, WriteFrameHead(opcode, last, compressed, length, out)};
}

TEST(Frame, LengthsAreWrittenAsShortlyAsTheyCan) {
  using std::string_literals::operator""s;
  EXPECT_EQ(Head(Opcode::kText, true, false, 5), "\x81\x05"s);
  EXPECT_EQ(Head(Opcode::kText, false, true, 125), "\x41\x7d"s);
  EXPECT_EQ(Head(Opcode::kBinary, true, false, 126), "\x82\x7e\x00\x7e"s);
  EXPECT_EQ(Head(Opcode::kContinuation, true, false, 65535), "\x80\x7e\xff\xff"s);
  EXPECT_EQ(Head(Opcode::kPong, true, false, 65536), "\x8a\x7f\x00\x00\x00\x00\x00\x01\x00\x00"s);
}

TEST(Frame, AReasonIsCutBetweenCharacters) {
  char out[kControlBytesMax];
  EXPECT_EQ(std::string(out, WriteClosePayload(1001, "bye", out)),
            "\x03\xe9"
            "bye");
  std::string reason(122, 'r');
  reason += "\xe2\x82\xac";
  EXPECT_EQ(WriteClosePayload(1000, reason, out), 124u);
}

TEST(Frame, MaskingGoesOnWhereItStopped) {
  const char key[4] = {'\x01', '\x02', '\x03', '\x04'};
  const std::string plain = "The quick brown fox jumps over the lazy dog";
  std::string whole(plain.size(), '\0');
  Mask(key, 0, plain, whole.data());
  for (size_t cut = 0; cut <= plain.size(); ++cut) {
    std::string parts = plain;
    Mask(key, 0, std::string_view(parts).substr(0, cut), parts.data());
    Mask(key, cut, std::string_view(parts).substr(cut), parts.data() + cut);
    EXPECT_EQ(parts, whole) << cut;
  }
}

TEST(CloseCode, SomeAreNeverSent) {
  EXPECT_TRUE(IsCloseCode(1000) && IsCloseCode(1012) && IsCloseCode(3000) && IsCloseCode(4999));
  EXPECT_FALSE(IsCloseCode(1005) || IsCloseCode(1006) || IsCloseCode(1015) || IsCloseCode(2999));
}

TEST(Utf8Stream, FailsAtTheFirstByteThatCannotBe) {
  Utf8Stream text;
  EXPECT_TRUE(text.Add("12345678\xf4"));
  EXPECT_FALSE(text.complete());
  EXPECT_FALSE(text.Add("\x90"));
}

}  // namespace
}  // namespace catzilla::websocket
