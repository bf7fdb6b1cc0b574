// The table of malformed and ambiguous requests, each cut into reads in every possible way.

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "sidecar/base/check.h"
#include "sidecar/http/malformed_table.h"
#include "sidecar/http/request_parser.h"

namespace catzilla::http {
namespace {

constexpr char kTable[] = "tests/conformance/malformed.txt";
constexpr std::string_view kGood = "GET /first?x HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";

struct Outcome {
  int requests = 0;     // Completed.
  uint16_t status = 0;  // Of the refusal, if any.
  ParseError error = ParseError::kNone;
  size_t left = 0;       // Bytes not consumed.
  bool between = false;  // No request under way.
  std::string trace;     // What was seen, for comparison: methods, targets, fields, bodies.

  bool operator==(const Outcome&) const = default;
};

// A connection as the server drives it; what is not consumed stays for the next read.
class Feeder {
 public:
  void Feed(std::string_view bytes) {
    pending_ += bytes;
    size_t at = 0;
    while (outcome_.status == 0) {
      if (parser_.between_requests() && fresh_) {
        parser_.Begin(&buffer_, HeadLimits());
        fresh_ = false;
      }
      if (at == pending_.size() && !parser_.at_end()) break;
      // A copy of exact size, so that the sanitizer sees any look past its end.
      const std::vector<char> read(pending_.begin() + static_cast<std::ptrdiff_t>(at),
                                   pending_.end());
      const RequestParser::Step step = parser_.Next({read.data(), read.size()});
      at += step.consumed;
      Take(step);
      if (step.event == RequestParser::Event::kNeedMore) {
        EXPECT_EQ(step.consumed, read.size());
        break;
      }
    }
    pending_.erase(0, at);
  }

  Outcome Finish() {
    outcome_.left = outcome_.status == 0 ? pending_.size() : 0;
    outcome_.between = parser_.between_requests();
    return outcome_;
  }

 private:
  void Take(const RequestParser::Step& step) {
    switch (step.event) {
      case RequestParser::Event::kNeedMore:
        return;
      case RequestParser::Event::kHead: {
        const RequestHead& head = buffer_.head();
        outcome_.trace.append(head.method_text()).append(" ").append(head.target());
        outcome_.trace.append(" @").append(head.host());
        for (size_t i = 0; i < head.field_count(); ++i) {
          outcome_.trace.append("\n").append(head.name(i)).append("=").append(head.value(i));
        }
        outcome_.trace += "\n\n";
        if (!head.has_body()) Complete();
        return;
      }
      case RequestParser::Event::kBody:
        outcome_.trace += step.body;
        return;
      case RequestParser::Event::kEnd:
        Complete();
        return;
      case RequestParser::Event::kError:
        outcome_.status = step.status;
        outcome_.error = step.error;
        return;
    }
  }
  void Complete() {
    ++outcome_.requests;
    outcome_.trace += "\n--\n";
    fresh_ = true;
  }

  RequestParser parser_;
  HeadBuffer buffer_;
  bool fresh_ = true;
  std::string pending_;
  Outcome outcome_;
};

Outcome FeedWhole(std::string_view bytes) {
  Feeder feeder;
  feeder.Feed(bytes);
  return feeder.Finish();
}

std::string Describe(const Outcome& outcome) {
  return "status " + std::to_string(outcome.status) + " (" + std::string(NameOf(outcome.error)) +
         "), " + std::to_string(outcome.requests) + " requests, " + std::to_string(outcome.left) +
         " bytes left";
}

class Malformed : public testing::TestWithParam<MalformedCase> {};

TEST_P(Malformed, WholeInOneRead) {
  const Outcome outcome = FeedWhole(GetParam().bytes);
  EXPECT_EQ(outcome.status, GetParam().status) << Describe(outcome);
  if (GetParam().status != 0) return;
  EXPECT_EQ(outcome.requests, GetParam().requests) << Describe(outcome);
  EXPECT_EQ(outcome.left, 0u);
  EXPECT_TRUE(outcome.between);
}

TEST_P(Malformed, CutAnywhereTheAnswerIsTheSame) {
  const std::string& bytes = GetParam().bytes;
  const Outcome whole = FeedWhole(bytes);
  // The long ones are long runs of one letter: every boundary near their ends is enough.
  for (size_t cut = 1; cut < bytes.size(); ++cut) {
    if (cut > 300 && cut + 300 < bytes.size() && cut % 97 != 0) continue;
    Feeder feeder;
    feeder.Feed(std::string_view(bytes).substr(0, cut));
    feeder.Feed(std::string_view(bytes).substr(cut));
    const Outcome outcome = feeder.Finish();
    ASSERT_EQ(outcome, whole) << "cut at " << cut << ": " << Describe(outcome);
  }
}

TEST_P(Malformed, ByteByByteTheAnswerIsTheSame) {
  Feeder feeder;
  for (const char c : GetParam().bytes) feeder.Feed({&c, 1});
  const Outcome outcome = feeder.Finish();
  EXPECT_EQ(outcome, FeedWhole(GetParam().bytes)) << Describe(outcome);
}

TEST_P(Malformed, BehindAGoodRequestThatOneIsStillAnswered) {
  const Outcome alone = FeedWhole(GetParam().bytes);
  const Outcome outcome = FeedWhole(std::string(kGood) + GetParam().bytes);
  EXPECT_EQ(outcome.status, alone.status) << Describe(outcome);
  EXPECT_EQ(outcome.requests, alone.requests + 1) << Describe(outcome);
}

INSTANTIATE_TEST_SUITE_P(Table, Malformed, testing::ValuesIn(ReadMalformedTable(kTable)),
                         [](const testing::TestParamInfo<MalformedCase>& tested) {
                           std::string name = tested.param.name;
                           for (char& c : name) {
                             if (c == '-' || c == '.') c = '_';
                           }
                           return name;
                         });

TEST(MalformedTable, HasAtLeastSixtyRefusals) {
  size_t refused = 0;
  for (const MalformedCase& entry : ReadMalformedTable(kTable)) refused += entry.status != 0;
  EXPECT_GE(refused, 60u);
}

}  // namespace

// Reading the table...

std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') {
      const size_t star = text.find('*', i);
      const size_t end = text.find('}', i);
      const int count = std::stoi(std::string(text.substr(i + 1, star - i - 1)));
      const std::string piece = Unescape(text.substr(star + 1, end - star - 1));
      for (int k = 0; k < count; ++k) out += piece;
      i = end;
      continue;
    }
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const char kind = text[++i];
    if (kind == 'x') {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      constexpr std::string_view kFrom = "rnts0\\";
      constexpr std::string_view kTo("\r\n\t \0\\", 6);
      const size_t at = kFrom.find(kind);
      CATZILLA_CHECK(at != std::string_view::npos, "the table has an unknown escape");
      out += kTo[at];
    }
  }
  return out;
}

std::vector<MalformedCase> ReadMalformedTable(const std::string& path) {
  std::ifstream file(path);
  CATZILLA_CHECK(file.good(), "run the test from the top of the tree");
  std::vector<MalformedCase> cases;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream words(line);
    std::string answer;
    MalformedCase entry;
    words >> answer >> entry.name >> std::ws;
    std::string bytes;
    std::getline(words, bytes);
    CATZILLA_CHECK(!bytes.empty(), "a line of the table is not complete");
    entry.bytes = Unescape(bytes);
    if (answer.substr(0, 2) == "ok") {
      entry.requests = answer.size() > 2 ? std::stoi(answer.substr(2)) : 1;
    } else {
      entry.status = static_cast<uint16_t>(std::stoi(answer));
    }
    cases.push_back(std::move(entry));
  }
  return cases;
}

}  // namespace catzilla::http
