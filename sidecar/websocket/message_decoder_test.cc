// Every row is read whole, cut at every byte, and byte by byte: what bytes mean does not depend on
// how they arrive.
#include "sidecar/websocket/message_decoder.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>
#include <vector>

#include "sidecar/websocket/testing.h"

namespace catzilla::websocket {
namespace {

using Event = MessageDecoder::Event;
constexpr auto kClient = MessageDecoder::Sender::kClient;
constexpr auto kServer = MessageDecoder::Sender::kServer;
using std::string_literals::operator""s;

std::string Hex(std::string_view text) {
  std::string bytes;
  int half = -1;
  for (char c : text) {
    if (c == ' ') continue;
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (half < 0) {
      half = digit;
    } else {
      bytes += static_cast<char>(half * 16 + digit);
      half = -1;
    }
  }
  return bytes;
}

// What a decoder tells, one word a thing: "text:Hello", "ping:x", "close 1000:bye", "error 1002".
class Reader {
 public:
  Reader(uint64_t most, bool inflates, size_t room, MessageDecoder::Sender sender = kClient)
      : decoder(most, sender), out_(room) {
    if (inflates) decoder.Inflate(std::make_unique<Inflater>(15, true));
  }
  void Feed(std::string_view input) {
    while (!failed_) {
      const MessageDecoder::Step step = decoder.Next(input, out_);
      input.remove_prefix(step.consumed);
      Note(step);
      if (step.event == Event::kNothing && input.empty()) return;
    }
  }
  std::string told;
  MessageDecoder decoder;

 private:
  void Add(const std::string& word) { told += (told.empty() ? "" : " ") + word; }
  void Note(const MessageDecoder::Step& step) {
    const std::string payload(step.payload);
    switch (step.event) {
      case Event::kNothing:
        return;
      case Event::kNeedRoom:
        FAIL() << "there was room";
        return;
      case Event::kPiece:
        message_ += payload;
        if (!step.last) return;
        Add((step.kind == Opcode::kText ? "text:" : "binary:") +
            (message_.size() > 40 ? std::to_string(message_.size()) : message_));
        message_.clear();
        return;
      case Event::kPing:
        return Add("ping:" + payload);
      case Event::kPong:
        return Add("pong:" + payload);
      case Event::kClose:
        return Add("close " + std::to_string(step.code) + ":" + payload);
      case Event::kError:
        failed_ = true;
        EXPECT_FALSE(step.cause.empty());
        return Add("error " + std::to_string(step.code));
    }
  }
  std::string message_;
  std::vector<char> out_;
  bool failed_ = false;
};

struct Row {
  const char* name;
  std::string bytes;
  std::string told;
  uint64_t most = 1000;
};

std::string Text(std::string_view text, bool last = true) {
  return ClientFrame(Opcode::kText, text, last);
}
std::string More(std::string_view text, bool last = true) {
  return ClientFrame(Opcode::kContinuation, text, last);
}
std::string Closing(std::string_view payload) { return ClientFrame(Opcode::kClose, payload); }

std::vector<Row> Rows() {
  const std::string ping = ClientFrame(Opcode::kPing, "p");
  std::vector<Row> rows = {
      // RFC 6455 section 5.7, but for what only a server may send.
      {"a masked text", Hex("81 85 37 fa 21 3d 7f 9f 4d 51 58"), "text:Hello"},
      {"an unmasked text", Hex("81 05 48 65 6c 6c 6f"), "error 1002"},
      {"fragments", Text("Hel", false) + More("lo"), "text:Hello"},
      {"a ping", ClientFrame(Opcode::kPing, "Hello"), "ping:Hello"},
      {"a pong", ClientFrame(Opcode::kPong, "Hello"), "pong:Hello"},
      {"256 bytes of binary", ClientFrame(Opcode::kBinary, std::string(256, 'b')), "binary:256"},
      {"64 KiB of binary", ClientFrame(Opcode::kBinary, std::string(65536, 'b')), "binary:65536",
       100'000},
      // Messages.
      {"empty text", Text(""), "text:"},
      {"empty binary", ClientFrame(Opcode::kBinary, ""), "binary:"},
      {"125 bytes", Text(std::string(125, 'a')), "text:125"},
      {"126 bytes", Text(std::string(126, 'a')), "text:126"},
      {"127 bytes", Text(std::string(127, 'a')), "text:127"},
      {"one after the other", Text("a") + Text("b") + ClientFrame(Opcode::kBinary, "c"),
       "text:a text:b binary:c"},
      {"empty fragments around", Text("", false) + More("a", false) + More("", true), "text:a"},
      {"all fragments empty", Text("", false) + More("", false) + More(""), "text:"},
      {"a ping between fragments", Text("a", false) + ping + More("b"), "ping:p text:ab"},
      {"a close between fragments", Text("a", false) + Closing("\x03\xe8"), "close 1000:"},
      {"a continuation of nothing", More("a"), "error 1002"},
      {"a continuation behind a message", Text("a") + More("b"), "text:a error 1002"},
      {"a message within a message", Text("a", false) + Text("b"), "error 1002"},
      {"binary within a text", Text("a", false) + ClientFrame(Opcode::kBinary, "b"), "error 1002"},
      // Reserved things.
      {"RSV1 without an extension", ClientFrame(Opcode::kText, "a", true, true), "error 1002"},
      {"RSV2", Hex("a1 81 00 00 00 00 61"), "error 1002"},
      {"RSV3", Hex("91 81 00 00 00 00 61"), "error 1002"},
      {"RSV3 of a ping", Hex("99 80 00 00 00 00"), "error 1002"},
      // Lengths.
      {"126 in eight bytes", Hex("82 ff 00 00 00 00 00 00 00 7e 00 00 00 00"), "error 1002"},
      {"125 in two bytes", Hex("82 fe 00 7d 00 00 00 00"), "error 1002"},
      {"65535 in eight bytes", Hex("82 ff 00 00 00 00 00 00 ff ff 00 00 00 00"), "error 1002",
       100'000},
      {"the highest bit of a length", Hex("82 ff 80 00 00 00 00 00 00 00 00 00 00 00"),
       "error 1002"},
      {"nine exabytes", Hex("82 ff 7f ff ff ff ff ff ff ff 00 00 00 00"), "error 1009"},
      {"at the limit", Text(std::string(1000, 'a')), "text:1000"},
      {"past the limit", Text(std::string(1001, 'a')), "error 1009"},
      {"fragments at the limit", Text(std::string(600, 'a'), false) + More(std::string(400, 'a')),
       "text:1000"},
      {"fragments past the limit", Text(std::string(600, 'a'), false) + More(std::string(401, 'a')),
       "error 1009"},
      // Control frames.
      {"an empty ping", ClientFrame(Opcode::kPing, ""), "ping:"},
      {"a ping of 125 bytes", ClientFrame(Opcode::kPing, std::string(125, 'p')),
       "ping:" + std::string(125, 'p')},
      {"a ping of 126 bytes", ClientFrame(Opcode::kPing, std::string(126, 'p')), "error 1002"},
      {"a fragmented ping", ClientFrame(Opcode::kPing, "p", false), "error 1002"},
      {"a fragmented close", ClientFrame(Opcode::kClose, "", false), "error 1002"},
      {"a compressed ping", ClientFrame(Opcode::kPing, "p", true, true), "error 1002"},
      // Close.
      {"an empty close", Closing(""), "close 1005:"},
      {"half a code", Closing("\x03"), "error 1002"},
      {"a reason",
       Closing("\x03\xe8"
               "bye"),
       "close 1000:bye"},
      {"the longest reason", Closing("\x03\xe8" + std::string(123, 'r')),
       "close 1000:" + std::string(123, 'r')},
      {"a reason that is no UTF-8", Closing("\x03\xe8\xff"), "error 1007"},
      {"a reason cut within a character", Closing("\x03\xe8\xe2\x82"), "error 1007"},
      {"nothing behind a close", Closing("\x03\xe9") + Text("late"), "close 1001:"},
      // Text.
      {"all widths", Text("\x24\xc2\xa3\xe2\x82\xac\xf0\x90\x8d\x88"),
       "text:\x24\xc2\xa3\xe2\x82\xac\xf0\x90\x8d\x88"},
      {"a character over two fragments", Text("\xe2\x82", false) + More("\xac"),
       "text:\xe2\x82\xac"},
      {"a character over four, with a ping",
       Text("\xf0", false) + More("\x90", false) + ping + More("\x8d", false) + More("\x88"),
       "ping:p text:\xf0\x90\x8d\x88"},
      {"text that ends within a character", Text("\xe2\x82"), "error 1007"},
      {"an overlong slash", Text("\xc0\xaf"), "error 1007"},
      {"an overlong of three", Text("\xe0\x80\xaf"), "error 1007"},
      {"a surrogate", Text("\xed\xa0\x80"), "error 1007"},
      {"past U+10FFFF", Text("\xf4\x90\x80\x80"), "error 1007"},
      {"a lone continuation", Text("\x80"), "error 1007"},
      {"0xfe", Text("abcdefgh\xfe"), "error 1007"},
      {"wrong before its end", Text("\xce\xba\xed\xa0\x80", false), "error 1007"},
      {"any bytes as binary", ClientFrame(Opcode::kBinary, "\xff\xfe\x80"), "binary:\xff\xfe\x80"},
  };
  for (const int opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15}) {
    rows.push_back(
        {"a reserved opcode", ClientFrame(static_cast<Opcode>(opcode), ""), "error 1002"});
  }
  for (const int code : {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) {
    const std::string said = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
    rows.push_back({"a reserved close code", Closing(said), "error 1002"});
  }
  for (const int code : {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
                         3000, 3999, 4000, 4999}) {
    const std::string said = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
    rows.push_back({"a close code", Closing(said), "close " + std::to_string(code) + ":"});
  }
  return rows;
}

TEST(MessageDecoder, ReadsEveryRowHoweverItIsCut) {
  for (const Row& row : Rows()) {
    SCOPED_TRACE(row.name);
    Reader whole(row.most, false, 4096);
    whole.Feed(row.bytes);
    EXPECT_EQ(whole.told, row.told);
    Reader drip(row.most, false, 1);
    for (char c : row.bytes) drip.Feed({&c, 1});
    EXPECT_EQ(drip.told, row.told);
    if (row.bytes.size() > 2000) continue;
    for (size_t cut = 1; cut < row.bytes.size(); ++cut) {
      Reader parts(row.most, false, 7);
      parts.Feed(std::string_view(row.bytes).substr(0, cut));
      parts.Feed(std::string_view(row.bytes).substr(cut));
      EXPECT_EQ(parts.told, row.told) << "cut at " << cut;
    }
  }
}

TEST(MessageDecoder, TakesNothingWithoutRoom) {
  MessageDecoder decoder(1000);
  const std::string frame = Text("Hello");
  const MessageDecoder::Step step = decoder.Next(frame, {});
  EXPECT_EQ(step.event, Event::kNeedRoom);
  EXPECT_EQ(step.consumed, 6u);  // The head.
  EXPECT_TRUE(decoder.in_message());
}

TEST(MessageDecoder, ALengthIsRefusedBeforeItsPayloadComes) {
  Reader reader(1000, false, 16);
  reader.Feed(Hex("82 fe 03 e9 00 00 00 00"));
  EXPECT_EQ(reader.told, "error 1009");
}

TEST(MessageDecoder, EmptyFragmentsAreCounted) {
  Reader reader(1000, false, 16);
  reader.Feed(Text("", false));
  for (uint32_t i = 1; i < MessageDecoder::kEmptyFragmentsMax; ++i) reader.Feed(More("", false));
  EXPECT_EQ(reader.told, "");
  reader.Feed(More("", false));
  EXPECT_EQ(reader.told, "error 1008");
}

// permessage-deflate...

std::string Deflate(std::string_view text, int flush = Z_SYNC_FLUSH) {
  z_stream z{};
  deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, text.size()) + 16, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, flush);
  out.resize(out.size() - z.avail_out);
  deflateEnd(&z);
  if (flush == Z_SYNC_FLUSH) out.resize(out.size() - 4);
  return out;
}

TEST(MessageDecoder, InflatesHoweverItIsCut) {
  const std::string deflated = Deflate("Hello Hello Hello");
  const std::vector<Row> rows = {
      // RFC 7692 section 7.2.3.
      {"one block", Hex("c1 87 00 00 00 00 f2 48 cd c9 c9 07 00"), "text:Hello"},
      {"shared window",
       Hex("c1 87 00 00 00 00 f2 48 cd c9 c9 07 00 c1 85 00 00 00 00 f2 00 11 00 00"),
       "text:Hello text:Hello"},
      {"no compression", Hex("c1 8b 00 00 00 00 00 05 00 fa ff 48 65 6c 6c 6f 00"), "text:Hello"},
      {"a last block", Hex("c1 88 00 00 00 00 f3 48 cd c9 c9 07 00 00"), "text:Hello"},
      {"two blocks", Hex("c1 8d 00 00 00 00 f2 48 05 00 00 00 ff ff ca c9 c9 07 00"), "text:Hello"},
      {"fragments",
       ClientFrame(Opcode::kText, deflated.substr(0, 3), false, true) +
           ClientFrame(Opcode::kPing, "p") + More(deflated.substr(3)),
       "ping:p text:Hello Hello Hello"},
      {"an empty message", ClientFrame(Opcode::kText, Hex("00"), true, true), "text:"},
      {"an uncompressed message beside",
       Text("a") + ClientFrame(Opcode::kText, deflated, true, true),
       "text:a text:Hello Hello Hello"},
      {"a bomb", ClientFrame(Opcode::kBinary, Deflate(std::string(1'000'000, 'x')), true, true),
       "error 1009"},
      {"not deflated", ClientFrame(Opcode::kText, "\xff\xff\xff\xff", true, true), "error 1007"},
      {"text that is none", ClientFrame(Opcode::kText, Deflate("\xff"), true, true), "error 1007"},
      {"a compressed continuation",
       Text("a", false) + ClientFrame(Opcode::kContinuation, "b", true, true), "error 1002"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    for (size_t cut = 0; cut < row.bytes.size(); ++cut) {
      for (const size_t room : {1, 3, 4096}) {
        Reader parts(row.most, true, room);
        parts.Feed(std::string_view(row.bytes).substr(0, cut));
        parts.Feed(std::string_view(row.bytes).substr(cut));
        EXPECT_EQ(parts.told, row.told) << "cut at " << cut << ", room " << room;
      }
    }
  }
}

TEST(MessageDecoder, AFragmentIsToldWholeBeforeTheFrameBehindIt) {
  const std::string deflated = Deflate(std::string(1000, 'x'));
  const std::string input = ClientFrame(Opcode::kText, deflated, false, true) +
                            ClientFrame(Opcode::kPing, "p") + More("");
  for (const size_t room : {1, 7, 500, 1000, 4096}) {
    SCOPED_TRACE(room);
    MessageDecoder decoder(1000);
    decoder.Inflate(std::make_unique<Inflater>(15, true));
    std::vector<char> out(room);
    std::string_view rest = input;
    size_t given = 0;
    for (bool pinged = false; !pinged;) {
      const MessageDecoder::Step step = decoder.Next(rest, out);
      rest.remove_prefix(step.consumed);
      ASSERT_NE(step.event, Event::kError);
      if (step.event == Event::kPiece) given += step.payload.size();
      pinged = step.event == Event::kPing;
    }
    EXPECT_EQ(given, 1000u);
  }
}

std::string ServerFrame(Opcode opcode, std::string_view payload, bool last = true) {
  char head[kFrameHeadBytesMax];
  const size_t bytes = WriteFrameHead(opcode, last, false, payload.size(), head);
  return std::string(head, bytes).append(payload);
}

TEST(MessageDecoder, AServersFramesAreNotMasked) {
  const std::string euro = "\xe2\x82\xac";
  const Row rows[] = {
      {"a text", ServerFrame(Opcode::kText, "Hello"), "text:Hello"},
      {"a masked text", ClientFrame(Opcode::kText, "Hello"), "error 1002"},
      {"an empty text", ServerFrame(Opcode::kText, ""), "text:"},
      {"126 bytes", ServerFrame(Opcode::kBinary, std::string(126, 'b')), "binary:126"},
      {"64 KiB", ServerFrame(Opcode::kBinary, std::string(65536, 'b')), "binary:65536", 100'000},
      {"too many", ServerFrame(Opcode::kBinary, std::string(126, 'b')), "error 1009", 125},
      {"fragments and a ping",
       ServerFrame(Opcode::kText, "a", false) + ServerFrame(Opcode::kPing, "p") +
           ServerFrame(Opcode::kContinuation, "b"),
       "ping:p text:ab"},
      {"UTF-8 over fragments",
       ServerFrame(Opcode::kText, euro.substr(0, 1), false) +
           ServerFrame(Opcode::kContinuation, euro.substr(1)),
       "text:" + euro},
      {"no UTF-8", ServerFrame(Opcode::kText, "\xff"), "error 1007"},
      {"126 in eight bytes", Hex("82 7f 00 00 00 00 00 00 00 7e"), "error 1002"},
      {"the highest bit of a length", Hex("82 7f 80 00 00 00 00 00 00 00"), "error 1002"},
      {"a long ping", ServerFrame(Opcode::kPing, std::string(126, 'p')), "error 1002"},
      {"a close", ServerFrame(Opcode::kClose, "\x03\xe8" + std::string("bye")), "close 1000:bye"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Reader whole(row.most, false, 0, kServer);
    whole.Feed(row.bytes);
    EXPECT_EQ(whole.told, row.told);
    Reader slow(row.most, false, 0, kServer);
    for (const char byte : row.bytes) slow.Feed({&byte, 1});
    EXPECT_EQ(slow.told, row.told);
  }
}

TEST(MessageDecoder, WhatIsLeftInTheWindowComesWhenThereIsRoom) {
  MessageDecoder decoder(1'000'000);
  decoder.Inflate(std::make_unique<Inflater>(15, false));
  std::string frame = ClientFrame(Opcode::kBinary, Deflate(std::string(100'000, 'x')), true, true);
  std::string_view input = frame;
  std::vector<char> out(1000);
  size_t given = 0;
  for (int steps = 0; steps < 1000; ++steps) {
    const MessageDecoder::Step step = decoder.Next(input, out);
    input.remove_prefix(step.consumed);
    ASSERT_NE(step.event, Event::kError);
    given += step.payload.size();
    if (step.last) break;
    EXPECT_TRUE(!input.empty() || decoder.has_more());
  }
  EXPECT_EQ(given, 100'000u);
}

}  // namespace
}  // namespace catzilla::websocket
