// An answer from memory costs no allocation, from the first byte of its request to the log:
// counted, not believed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "sidecar/exchange/visitor_test.h"

namespace {
thread_local uint64_t t_allocations = 0;

void* CountedAllocation(size_t bytes) {
  ++t_allocations;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  std::abort();
}
}  // namespace

void* operator new(size_t bytes) { return CountedAllocation(bytes); }
void* operator new[](size_t bytes) { return CountedAllocation(bytes); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return CountedAllocation(bytes);
}
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
  return CountedAllocation(bytes);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace catzilla::exchange {
namespace {

// Takes its memory from the loop's pools, as a connection does, and has none of its own.
class ThriftyClient final : private Client {
 public:
  ThriftyClient(Context& context, const char* peer, const config::Listener& listener)
      : context_(context) {
    facts_.peer.is_ip = true;
    facts_.peer_text = peer;
    facts_.server_text = "192.0.2.99";
    facts_.server_port = 80;
    facts_.listener = &listener;
  }
  // REQUIRES: the answer is there at once, and short.
  void Ask(std::string_view request) {
    context_.loop.EnterTurn();
    output_ = context_.outputs.Take();
    std::unique_ptr<http::HeadBuffer> head = context_.heads.Take();
    http::RequestParser parser;
    parser.Begin(head.get(), {});
    const http::RequestParser::Step step = parser.Next(request);
    CATZILLA_CHECK(step.event == http::RequestParser::Event::kHead, "a test's request");
    Exchange* exchange = context_.exchanges.Take();
    exchange->Begin(context_, *this, head->head(), false);
    CATZILLA_CHECK(exchange->Run() == Next::kDone, "a test's answer is not hot");
    CATZILLA_CHECK(!exchange->is_long_answer(), "a test's answer is long");
    exchange->Finish();
    context_.exchanges.Give(exchange);
    context_.heads.Give(std::move(head));
    context_.outputs.Give(std::move(output_));
    context_.loop.RunOnce(false);
  }

 private:
  http::OutputQueue& output() override { return *output_; }
  const ClientFacts& facts() const override { return facts_; }
  void WakeExchange() override { CATZILLA_CHECK(false, "a hot answer wakes nobody"); }
  void SetBodyReading(bool) override {}

  Context& context_;
  ClientFacts facts_;
  std::unique_ptr<http::OutputQueue> output_;
};

class Allocations : public testing::Test {
 protected:
  Allocations() {
    stage.house.Write("a.txt", std::string(1024, 'a'));
    stage.Attach();
  }
  static std::string Get(const std::string& path, const std::string& host,
                         const std::string& more = "") {
    return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + more + "\r\n";
  }
  // Opens the file, or fills the cache.
  void Warm(const std::string& request) {
    Visitor visitor(stage.desk.context);
    visitor.Say(request);
    stage.house.Settle();
    if (const uint32_t stream = stage.TakeRequest(); stream != 0) {
      stage.BeginAnswer(stream, {{"content-length", "1024"}, {"etag", "\"1\""}},
                        std::string(1024, 'c'));
      stage.EndAnswer(stream);
    }
    stage.Pump();
    EXPECT_EQ(visitor.outcome, "keep-alive");
  }
  // Of one request, when as many have been answered as it takes to have all memory.
  double CountOf(const std::string& request, const char* peer) {
    ThriftyClient client(stage.desk.context, peer, listener);
    for (int i = 0; i < 100; ++i) client.Ask(request);
    const uint64_t before = t_allocations;
    for (int i = 0; i < 500; ++i) client.Ask(request);
    return static_cast<double>(t_allocations - before) / 500;
  }
  void ExpectNone(const std::string& path, const std::string& host, const char* peer,
                  const std::string& more = "") {
    const std::string request = Get(path, host, more);
    Warm(Get(path, host));
    stats::AccessLog* log = stage.log.get();
    stage.desk.context.access_log = nullptr;
    EXPECT_EQ(CountOf(request, peer), 0) << "without a log: " << peer << "\n" << request;
    stage.desk.context.access_log = log;
    EXPECT_EQ(CountOf(request, peer), 0) << "with a log: " << peer << "\n" << request;
    EXPECT_EQ(stage.desk.stats.access_dropped.value(), 0u);
  }

  static constexpr char kIpv4[] = "192.0.2.1";
  static constexpr char kIpv6[] = "2001:db8:1234:5678:9abc:def0:1234:5678";
  const std::string kLongHost = "a-rather-long-name.of-a-service.example.org:8080";
  Stage stage;
  config::Listener listener;
};

TEST_F(Allocations, AreNoneForAFile) { ExpectNone("/files/a.txt", "a", kIpv4); }

TEST_F(Allocations, AreNoneForAFileUnderALongName) { ExpectNone("/files/a.txt", kLongHost, kIpv4); }

TEST_F(Allocations, AreNoneForAFileThatHasNotChanged) {
  ExpectNone("/files/a.txt", "a", kIpv4, "If-None-Match: *\r\n");
}

TEST_F(Allocations, AreNoneForAPieceOfAFile) {
  ExpectNone("/files/a.txt", "a", kIpv4, "Range: bytes=0-9\r\n");
}

TEST_F(Allocations, AreNoneForAFileWithARequestId) {
  ExpectNone("/files/a.txt", "a", kIpv4, "X-Request-Id: 0123456789abcdef0123456789abcdef\r\n");
}

TEST_F(Allocations, AreNoneForAStoredAnswer) { ExpectNone("/kept", "a", kIpv4); }

TEST_F(Allocations, AreNoneForAStoredAnswerThatHasNotChanged) {
  ExpectNone("/kept", "a", kIpv4, "If-None-Match: \"1\"\r\n");
}

TEST_F(Allocations, AreNoneForAFileToAnIpv6Client) { ExpectNone("/files/a.txt", "a", kIpv6); }

TEST_F(Allocations, AreNoneForAStoredAnswerToAnIpv6Client) { ExpectNone("/kept", "a", kIpv6); }

TEST_F(Allocations, AreNoneForAStoredAnswerUnderALongName) {
  ExpectNone("/kept", kLongHost, kIpv4);
}

TEST_F(Allocations, AreNoneForAStoredAnswerUnderAPort) {
  ExpectNone("/kept", "service.example.org:8080", kIpv4);
}

TEST_F(Allocations, AreNoneForAPieceOfAStoredAnswer) {
  ExpectNone("/kept", "a", kIpv4, "Range: bytes=0-9\r\n");
}

// Trusted proxies name the client: any peer is one here.
TEST_F(Allocations, AreNoneBehindAProxy) {
  listener.trusted_proxies.push_back({{}, 0});
  const std::string named = std::string("X-Forwarded-For: ") + kIpv6 + "\r\n";
  ExpectNone("/files/a.txt", "a", kIpv4, named);
  ExpectNone("/kept", "a", kIpv4, named);
}

}  // namespace
}  // namespace catzilla::exchange
