// Clients, a worker and the configuration do whatever they may, in an order that a number decides.
// Nothing is checked of the answers: only that all is given back, and that nobody touches what is
// gone (AddressSanitizer watches).
#include <array>
#include <map>
#include <random>

#include "sidecar/exchange/visitor_test.h"

namespace catzilla::exchange {
namespace {

using worker::EndCode;
using worker::FrameType;

class Chaos {
 public:
  explicit Chaos(uint32_t seed) : random_(seed), stage_(Scarce(), SmallCache()) {
    stage_.house.Write("a", "hello");
    stage_.house.Write("b", std::string(100'000, 'b'));
    stage_.house.Write("big", std::string(2u << 20, 'B'));
    stage_.Attach();
    for (Person& person : people_) {
      person.visitor = std::make_unique<Visitor>(stage_.desk.context);
    }
  }
  void Run(int steps) {
    for (int i = 0; i < steps; ++i) {
      Step();
      if (Below(3) == 0) Hear();
    }
    for (Person& person : people_) person.visitor->Leave();
    // Fills go on without their clients: the worker ends all it has.
    for (int i = 0; i < 3; ++i) {
      Hear();
      for (const auto& [stream, answer] : std::map(answers_)) End(stream, EndCode::kFailed);
    }
    stage_.house.Settle();
    stage_.ExpectAllGivenBack();
  }

 private:
  struct Person {
    std::unique_ptr<Visitor> visitor;
    std::string rest;  // Of the body that is to come.
  };
  struct Answer {
    bool begun = false;
    size_t bytes = 0;
  };

  static config::Pool Scarce() {
    config::Pool pool;
    pool.credits_per_worker = 3;
    pool.queue_max = 2;
    return pool;
  }
  static config::Cache SmallCache() {
    config::Cache cache;
    cache.memory_bytes_max = 4u << 20;
    return cache;
  }
  uint32_t Below(uint32_t bound) { return random_() % bound; }

  void Step() {
    Person& person = people_[Below(people_.size())];
    Visitor& visitor = *person.visitor;
    switch (Below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return Speak(person);
      case 4:
        return visitor.Leave();
      case 5:
        if (visitor.over() || visitor.leaving() || visitor.exchange().request_complete()) return;
        return visitor.FailBody(Below(2) == 0 ? 408 : 400);
      case 6:
        return visitor.SetReading(false);
      case 7:
        return visitor.SetReading(true);
      case 8:
        if (visitor.leaving()) visitor.Truncate();
        return;
      case 9:
        return stage_.house.Settle();
      case 10:
        return Upheaval();
      default:
        return Work();
    }
  }

  void Speak(Person& person) {
    static const std::vector<std::pair<std::string, std::string>> kRequests = {
        {"GET /kept HTTP/1.1\r\nHost: a\r\n\r\n", ""},
        {"GET /kept HTTP/1.1\r\nHost: a\r\nAccept-Language: de\r\n\r\n", ""},
        {"GET /kept HTTP/1.1\r\nHost: a\r\nCache-Control: no-cache\r\n\r\n", ""},
        {"GET /kept HTTP/1.1\r\nHost: a\r\nRange: bytes=1-9\r\n\r\n", ""},
        {"GET /kept HTTP/1.0\r\n\r\n", ""},
        {"HEAD /kept HTTP/1.1\r\nHost: a\r\n\r\n", ""},
        {"GET /app HTTP/1.1\r\nHost: a\r\n\r\n", ""},
        {"POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "some body"},
        {"POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n",
         std::string(90'000, 'x')},
        {"POST /app HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
         "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"},
        {"POST /app HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabcd"},
        {"POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
         "body"},
        {"GET /files/a HTTP/1.1\r\nHost: a\r\n\r\n", ""},
        {"GET /files/b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", "body"},
        {"GET /files/big HTTP/1.1\r\nHost: a\r\n\r\n", ""},
        {"GET /files/none HTTP/1.1\r\nHost: a\r\n\r\n", ""},
        {"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", "body"},
    };
    Visitor& visitor = *person.visitor;
    if (visitor.over()) {
      const auto& [head, body] = kRequests[Below(static_cast<uint32_t>(kRequests.size()))];
      // A new connection: what the last one was still to send is nobody's.
      person.visitor = std::make_unique<Visitor>(stage_.desk.context);
      person.visitor->SetReading(Below(4) != 0);
      person.rest = body;
      person.visitor->Say(head);
      return;
    }
    if (person.rest.empty() || visitor.exchange().request_complete()) return;
    const size_t bytes = 1 + Below(static_cast<uint32_t>(person.rest.size()));
    const std::string said = person.rest.substr(0, bytes);
    person.rest.erase(0, bytes);
    visitor.Say(said);
  }

  void Upheaval() {
    switch (Below(5)) {
      case 0:
        answers_.clear();
        stage_.worker.Kill();
        stage_.Pump();
        stage_.Attach();
        return;
      case 1:
        return stage_.ReplacePlan();
      case 2:
        return stage_.Apply();
      case 3:
        for (const auto& [name, store] : stage_.house.caches) {
          store->Purge(cache::PurgeKind::kAll, "", {});
        }
        return;
      default:
        stage_.house.Write("b", std::string(1 + Below(100'000), 'c'));
    }
  }

  // What the worker has been told.
  void Hear() {
    stage_.Pump();
    worker::FakeConnection::Frame frame;
    while (stage_.lane().TakeAny(&frame)) {
      const uint32_t stream = frame.header.stream;
      if (frame.header.type == FrameType::kRequest) answers_[stream] = {};
      if (frame.header.type == FrameType::kCancel && answers_.count(stream) != 0) {
        End(stream, EndCode::kCancelled);
      }
    }
    stage_.Pump();
  }
  void End(uint32_t stream, EndCode code) {
    answers_.erase(stream);
    stage_.EndAnswer(stream, code);
  }

  // One frame of the worker, by the rules.
  void Work() {
    static const std::vector<std::vector<worker::Field>> kHeads = {
        {},
        {{"content-length", "50"}},
        {{"cache-control", "private"}},
        {{"cache-control", "no-cache"}, {"etag", "\"1\""}},
        {{"vary", "accept-language"}, {"content-length", "50"}},
        {{"content-length", "9000000"}},
        {{"bad name", "x"}},
    };
    if (answers_.empty()) return;
    const auto at = std::next(answers_.begin(), Below(static_cast<uint32_t>(answers_.size())));
    const uint32_t stream = at->first;
    Answer& answer = at->second;
    const uint32_t choice = Below(8);
    if (!answer.begun && choice == 0) {
      std::string payload;
      worker::EncodeHead({103, {}}, &payload);
      stage_.lane().Send(FrameType::kInformational, stream, payload);
    } else if (!answer.begun && choice == 1) {
      stage_.lane().Respond(stream);
      answers_.erase(stream);
    } else if (!answer.begun && choice < 7) {
      answer.begun = true;
      static constexpr uint16_t kStatuses[] = {200, 200, 200, 304, 404, 503};
      stage_.BeginAnswer(stream, kHeads[Below(static_cast<uint32_t>(kHeads.size()))],
                         std::string(Below(60), 'i'), kStatuses[Below(6)]);
    } else if (answer.begun && choice < 5 && answer.bytes < 120'000) {
      const size_t bytes = 1 + Below(60'000);
      answer.bytes += bytes;
      stage_.AnswerData(stream, std::string(bytes, 'd'));
    } else {
      static constexpr EndCode kCodes[] = {EndCode::kComplete, EndCode::kComplete, EndCode::kFailed,
                                           EndCode::kRefused};
      End(stream, kCodes[Below(4)]);
    }
  }

  std::mt19937 random_;
  Stage stage_;
  std::array<Person, 6> people_;
  std::map<uint32_t, Answer> answers_;  // Streams that the worker has not ended.
};

TEST(Exchanges, GiveEverythingBackWhateverHappens) {
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Chaos(seed).Run(150);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace catzilla::exchange
