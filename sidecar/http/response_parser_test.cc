// The table of hostile answers, each cut into reads in every possible way, and what heads say.
#include "sidecar/http/response_parser.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "sidecar/base/check.h"
#include "sidecar/http/malformed_table.h"

namespace catzilla::http {
namespace {

using Event = ResponseParser::Event;

constexpr char kTable[] = "tests/conformance/responses.txt";

struct Case {
  std::string outcome;
  std::string name;
  std::string bytes;
};

void PrintTo(const Case& tested, std::ostream* out) { *out << tested.name; }

std::vector<Case> ReadTable() {
  std::ifstream file(kTable);
  CATZILLA_CHECK(file.good(), "run the test from the top of the tree");
  std::vector<Case> cases;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream words(line);
    Case entry;
    words >> entry.outcome >> entry.name >> std::ws;
    std::string bytes;
    std::getline(words, bytes);
    CATZILLA_CHECK(!bytes.empty(), "a line of the table is not complete");
    entry.bytes = Unescape(bytes);
    cases.push_back(std::move(entry));
  }
  return cases;
}

// A connection as the upstream room drives it: one request, then whatever comes.
class Reader {
 public:
  explicit Reader(bool head_request) { parser_.Begin(head_request, ResponseLimits()); }

  void Feed(std::string_view bytes) {
    while (outcome_.empty()) {
      if (bytes.empty() && !parser_.at_end()) return;
      // A block of exact size, so that the sanitizer sees any look past its end.
      const std::vector<char> read(bytes.begin(), bytes.end());
      const ResponseParser::Step step = parser_.Next({read.data(), read.size()});
      Take(step);
      bytes.remove_prefix(step.consumed);
      if (step.event == Event::kNeedMore) {
        EXPECT_TRUE(bytes.empty());
      }
    }
  }
  void Close() {
    while (outcome_.empty() && !ended_) Take(parser_.Close());
    if (outcome_.empty()) outcome_ = "ok";
  }
  std::string Trace() const { return trace_ + outcome_; }
  const std::string& outcome() const { return outcome_; }

 private:
  void Take(const ResponseParser::Step& step) {
    switch (step.event) {
      case Event::kNeedMore:
        return;
      case Event::kInformational:
      case Event::kHead:
        trace_ += std::to_string(parser_.head().status) + "|";
        for (const Field& field : parser_.head().fields) {
          trace_.append(field.name).append("=").append(field.value).append("|");
        }
        return;
      case Event::kBody:
        trace_ += step.body;
        return;
      case Event::kEnd:
        EXPECT_FALSE(ended_);
        ended_ = true;
        trace_ += parser_.reusable() ? "<stays>" : "<ends>";
        return;
      case Event::kError:
        outcome_ = NameOf(step.error);
        EXPECT_FALSE(parser_.reusable());
        return;
    }
  }

  ResponseParser parser_;
  bool ended_ = false;
  std::string trace_;
  std::string outcome_;
};

std::string TraceOf(const Case& tested, size_t piece) {
  Reader reader(tested.name.starts_with("head-"));
  for (size_t at = 0; at < tested.bytes.size(); at += piece) {
    reader.Feed(std::string_view(tested.bytes).substr(at, piece));
  }
  reader.Close();
  return reader.Trace();
}

class Hostile : public testing::TestWithParam<Case> {};

TEST_P(Hostile, HasItsOutcome) {
  Reader reader(GetParam().name.starts_with("head-"));
  reader.Feed(GetParam().bytes);
  reader.Close();
  EXPECT_EQ(reader.outcome(), GetParam().outcome);
}

TEST_P(Hostile, IsTheSameByteByByte) {
  EXPECT_EQ(TraceOf(GetParam(), 1), TraceOf(GetParam(), GetParam().bytes.size()));
}

TEST_P(Hostile, IsTheSameHoweverItIsCutInTwo) {
  const std::string& bytes = GetParam().bytes;
  if (bytes.size() > 4096) GTEST_SKIP() << "too many cuts";
  const std::string whole = TraceOf(GetParam(), bytes.size());
  for (size_t cut = 1; cut < bytes.size(); ++cut) {
    Reader reader(GetParam().name.starts_with("head-"));
    reader.Feed(std::string_view(bytes).substr(0, cut));
    reader.Feed(std::string_view(bytes).substr(cut));
    reader.Close();
    EXPECT_EQ(reader.Trace(), whole) << "cut at " << cut;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Hostile, testing::ValuesIn(ReadTable()),
                         [](const testing::TestParamInfo<Case>& tested) {
                           std::string name = tested.param.name;
                           for (char& c : name) {
                             if (c == '-' || c == '.') c = '_';
                           }
                           return name;
                         });

TEST(ResponseTable, HasAtLeastSixtyRefusals) {
  size_t refused = 0;
  for (const Case& entry : ReadTable()) refused += entry.outcome != "ok";
  EXPECT_GE(refused, 60u);
}

// What a head says...

struct Connection {
  const char* head;
  bool reusable;
};

TEST(ResponseParser, KnowsWhetherTheConnectionStays) {
  for (const Connection& tested : {
           Connection{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true},
           Connection{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false},
           Connection{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n",
                      false},
           Connection{"HTTP/1.1 200 OK\r\n\r\n", false},
           Connection{"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false},
           Connection{"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
                      true},
           Connection{"HTTP/1.1 204 No\r\n\r\n", true},
       }) {
    ResponseParser parser;
    parser.Begin(false, ResponseLimits());
    EXPECT_EQ(parser.Next(tested.head).event, Event::kHead) << tested.head;
    EXPECT_EQ(parser.reusable(), tested.reusable) << tested.head;
  }
}

TEST(ResponseParser, ShowsA101OnlyToWhoAskedToSwitch) {
  const std::string head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n";
  ResponseParser parser;
  parser.Begin(false, ResponseLimits(), true);
  const std::string sound = "HTTP/1.1 103 Early Hints\r\n\r\n" + head + "\r\nnot HTTP";
  std::string_view rest = sound;
  ResponseParser::Step step = parser.Next(rest);
  EXPECT_EQ(step.event, Event::kInformational);
  rest.remove_prefix(step.consumed);
  step = parser.Next(rest);
  EXPECT_EQ(step.event, Event::kHead);
  EXPECT_EQ(parser.head().status, 101);
  ASSERT_EQ(parser.head().fields.size(), 1u);
  EXPECT_EQ(rest.substr(step.consumed), "not HTTP");
  EXPECT_FALSE(parser.reusable());
  for (const std::string& wrong :
       {head + "Content-Length: 2\r\n\r\n", head + "Transfer-Encoding: chunked\r\n\r\n",
        std::string("HTTP/1.0 101 Switching Protocols\r\n\r\n")}) {
    ResponseParser strict;
    strict.Begin(false, ResponseLimits(), true);
    EXPECT_EQ(strict.Next(wrong).event, Event::kError) << wrong;
  }
}

TEST(ResponseParser, ServesManyAnswersOneAfterTheOther) {
  ResponseParser parser;
  for (int i = 0; i < 3; ++i) {
    parser.Begin(i == 1, ResponseLimits());
    EXPECT_TRUE(parser.untouched());
    const std::string_view head = "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\n";
    ASSERT_EQ(parser.Next(head).event, Event::kHead);
    EXPECT_FALSE(parser.untouched());
    ASSERT_EQ(parser.head().fields.size(), 2u);
    EXPECT_EQ(parser.head().fields[0].name, "x-a");
    if (i != 1) {
      EXPECT_EQ(parser.Next("hi").body, "hi");
    }
    ASSERT_TRUE(parser.at_end());
    EXPECT_EQ(parser.Next({}).event, Event::kEnd);
    EXPECT_TRUE(parser.idle());
    EXPECT_TRUE(parser.reusable());
  }
  EXPECT_EQ(parser.Next("x").error, ResponseError::kExcess);
}

TEST(ResponseParser, TakesNoMoreThanItsLimits) {
  ResponseLimits limits;
  limits.head_bytes_max = 40;
  ResponseParser parser;
  parser.Begin(false, limits);
  EXPECT_EQ(parser.Next("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").event, Event::kHead);
  ResponseParser tight;
  limits.head_bytes_max = 37;
  tight.Begin(false, limits);
  EXPECT_EQ(tight.Next("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").error,
            ResponseError::kHeadTooLarge);
}

}  // namespace
}  // namespace catzilla::http
