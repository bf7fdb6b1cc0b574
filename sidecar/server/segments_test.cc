// Requests that come in pieces, and clients that end their side early: at every byte of a few
// scripts. What is answered must not depend on how the kernel cut it.
#include "sidecar/server/client_test.h"

namespace catzilla::server {
namespace {

// One request of a script, and what an independent reader of it would expect.
struct Message {
  std::string head;
  std::string body;
  int status = 0;
  bool is_head = false;
  // Answered when its head is there, whether or not its body comes.
  bool is_early = false;
};
struct Script {
  const char* name;
  std::vector<Message> messages;
};

const std::vector<Script>& Scripts() {
  static const std::vector<Script> scripts = {
      {"two files",
       {{"GET /files/a HTTP/1.1\r\nHost: a\r\n\r\n", "", 200},
        {"GET /files/b HTTP/1.1\r\nHost: a\r\n\r\n", "", 200}}},
      {"empty lines, a head and a listing of methods",
       {{"\r\nHEAD /files/a HTTP/1.1\r\nHost: a\r\n\r\n", "", 200, true},
        {"OPTIONS /files/a HTTP/1.1\r\nHost: a\r\n\r\n", "", 204},
        {"GET /files/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "", 200}}},
      {"bodies that are skipped",
       {{"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "some body", 404, false,
         true},
        {"GET /files/a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", "body", 200, false, true},
        {"GET /files/none HTTP/1.1\r\nHost: a\r\n\r\n", "", 404}}},
      {"chunks with an extension and a trailer",
       {{"PUT /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
         "3;x=y\r\nabc\r\n0a\r\n0123456789\r\n0\r\nT: v\r\n\r\n", 404, false, true},
        {"GET /files/a HTTP/1.1\r\nHost: a\r\n\r\n", "", 200}}},
      {"not a method of files, and ranges",
       {{"DELETE /files/a HTTP/1.1\r\nHost: a\r\n\r\n", "", 405},
        {"GET /files/a HTTP/1.1\r\nHost: a\r\nRange: bytes=1-3\r\n\r\n", "", 206},
        {"GET /files/a HTTP/1.1\r\nHost: a\r\nRange: bytes=9-\r\n\r\n", "", 416}}},
  };
  return scripts;
}

std::string TextOf(const Script& script) {
  std::string text;
  for (const Message& message : script.messages) text += message.head + message.body;
  return text;
}

// What must be answered of the first `bytes` of the script when no more come.
std::string ExpectedOf(const Script& script, size_t bytes) {
  std::string statuses;
  for (const Message& message : script.messages) {
    const size_t whole = message.head.size() + message.body.size();
    const bool answered = bytes >= whole || (message.is_early && bytes >= message.head.size());
    if (answered) statuses += (statuses.empty() ? "" : " ") + std::to_string(message.status);
    if (bytes < whole) break;
    bytes -= whole;
  }
  return statuses;
}

std::vector<bool> HeadsOf(const Script& script) {
  std::vector<bool> heads;
  for (const Message& message : script.messages) heads.push_back(message.is_head);
  return heads;
}

class Segments : public Serving {
 protected:
  // What is answered to the parts, sent one after the other.
  std::string Ask(const std::vector<std::string_view>& parts) {
    auto peer = Connect();
    for (const std::string_view part : parts) {
      EXPECT_EQ(peer->Send(part), part.size());
      Pump();
    }
    ReadAll(*peer);
    EXPECT_FALSE(peer->ended);
    EXPECT_EQ(hall.desk.context.exchanges.in_use(), 0u);
    return WithoutDates(peer->read);
  }
};

TEST_F(Segments, AtEveryByte) {
  for (const Script& script : Scripts()) {
    const std::string text = TextOf(script);
    const std::string_view all = text;
    const std::string whole = Ask({all});
    ASSERT_EQ(Statuses(whole, HeadsOf(script)), ExpectedOf(script, all.size())) << script.name;
    for (size_t cut = 1; cut < all.size(); ++cut) {
      ASSERT_EQ(Ask({all.substr(0, cut), all.substr(cut)}), whole) << script.name << ": " << cut;
    }
  }
}

TEST_F(Segments, OfOneByteEach) {
  for (const Script& script : Scripts()) {
    const std::string text = TextOf(script);
    std::vector<std::string_view> bytes;
    for (size_t i = 0; i < text.size(); ++i) bytes.push_back(std::string_view(text).substr(i, 1));
    EXPECT_EQ(Ask(bytes), Ask({text})) << script.name;
  }
}

// What was asked for in full is answered in full; then the connection is over.
TEST_F(Segments, EndedByTheClientAtEveryByte) {
  for (const Script& script : Scripts()) {
    const std::string text = TextOf(script);
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      Peer peer(hall.Connect(listener));
      peer.Send(std::string_view(text).substr(0, cut));
      peer.EndSide();
      ReadAll(peer);
      ASSERT_TRUE(peer.ended) << script.name << ": " << cut;
      ASSERT_EQ(Statuses(peer.read, HeadsOf(script)), ExpectedOf(script, cut))
          << script.name << ": " << cut;
      ASSERT_EQ(hall.open(), 0u) << script.name << ": " << cut;
    }
  }
  ExpectNothingLeft();
}

// The same, told a turn after the bytes.
TEST_F(Segments, EndedByTheClientLaterAtEveryByte) {
  for (const Script& script : Scripts()) {
    const std::string text = TextOf(script);
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      Peer peer(hall.Connect(listener));
      peer.Send(std::string_view(text).substr(0, cut));
      Pump();
      peer.EndSide();
      ReadAll(peer);
      ASSERT_TRUE(peer.ended) << script.name << ": " << cut;
      ASSERT_EQ(Statuses(peer.read, HeadsOf(script)), ExpectedOf(script, cut))
          << script.name << ": " << cut;
    }
  }
  ExpectNothingLeft();
}

TEST_F(Segments, GoneAtEveryByte) {
  for (const Script& script : Scripts()) {
    const std::string text = TextOf(script);
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      Peer peer(hall.Connect(listener));
      peer.Send(std::string_view(text).substr(0, cut));
      if (cut % 2 == 0) Pump();
      peer.Leave();
      Pump();
      ASSERT_EQ(hall.open(), 0u) << script.name << ": " << cut;
    }
  }
  ExpectNothingLeft();
}

// Refused as soon as it is known to be wrong, with one answer and the end.
TEST_F(Segments, MalformedAtEveryByte) {
  const std::pair<std::string, std::string> kRows[] = {
      {"GET /files/a HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nbad name: x\r\n\r\n", "200 400"},
      {"GET / HTTP/1.1\r\n\r\n", "400"},
      {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505"},
      {"POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "404"},
      {"POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", "400"},
      {"\x16\x03\x01\x02", "400"},
  };
  for (const auto& [text, statuses] : kRows) {
    for (size_t cut = 0; cut < text.size(); ++cut) {
      Peer peer(hall.Connect(listener));
      peer.Send(std::string_view(text).substr(0, cut));
      Pump();
      peer.Send(std::string_view(text).substr(cut));
      ReadAll(peer);
      ASSERT_EQ(Statuses(peer.read), statuses) << text << ": " << cut;
      ASSERT_TRUE(peer.ended) << text << ": " << cut;
      peer.EndSide();
      Pump();
      ASSERT_EQ(hall.open(), 0u);
    }
  }
  ExpectNothingLeft();
}

}  // namespace
}  // namespace catzilla::server
