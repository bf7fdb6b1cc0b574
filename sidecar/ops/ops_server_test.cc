#include "sidecar/ops/ops_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace catzilla::ops {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class FakeHealth final : public HealthSource {
 public:
  Health Live() override { return {}; }
  Health Ready() override { return ready ? Health{} : Health{false, "draining\n"}; }
  Health Started() override { return {}; }
  std::atomic<bool> ready{true};
};

class FakeMetrics final : public MetricsSource {
 public:
  void Collect(Exposition& out) override {
    out.Family({"things", MetricType::kCounter, std::string_view(help)});
    out.Sample({}, uint64_t{++scrapes});
  }
  std::string help = "Things.";
  std::atomic<uint64_t> scrapes{0};
};

// A blocking client; what it waits for always comes, or the test's own time runs out.
class Client {
 public:
  explicit Client(uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) {
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Send(std::string_view bytes) { ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // Everything until the server closes. A reset counts as an answer that is lost.
  std::string ReadAll() {
    while (Fill()) {
    }
    return std::move(read_);
  }
  // One answer with its Content-Length.
  std::string ReadAnswer(bool head_only = false) {
    size_t end = 0;
    while ((end = read_.find("\r\n\r\n")) == std::string::npos) {
      if (!Fill()) return std::move(read_);
    }
    size_t length = end + 4;
    const size_t field = read_.find("Content-Length: ");
    if (!head_only) length += std::stoul(read_.substr(field + 16));
    while (read_.size() < length && Fill()) {
    }
    const std::string answer = read_.substr(0, length);
    read_.erase(0, length);
    return answer;
  }
  std::string Get(std::string_view path, std::string_view fields = "") {
    Send("GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(fields) + "\r\n");
    return ReadAnswer();
  }
  bool reset() const { return reset_; }

 private:
  bool Fill() {
    char buffer[65536];
    const ssize_t bytes = ::recv(fd_, buffer, sizeof(buffer), 0);
    if (bytes < 0) reset_ = true;
    if (bytes <= 0) return false;
    read_.append(buffer, static_cast<size_t>(bytes));
    return true;
  }

  int fd_;
  std::string read_;
  bool reset_ = false;
};

class OpsServerTest : public ::testing::Test {
 protected:
  void Start(OpsLimits limits = {}) {
    HealthSource& health = health_;
    server_ = std::make_unique<OpsServer>(health, std::vector<MetricsSource*>{&metrics_}, limits);
    const auto started = server_->Start({"127.0.0.1", 0});
    ASSERT_TRUE(started.ok()) << started.error();
  }
  uint16_t port() const { return server_->port(); }

  FakeHealth health_;
  FakeMetrics metrics_;
  std::unique_ptr<OpsServer> server_;
};

TEST_F(OpsServerTest, AnswersByPathAndMethod) {
  Start();
  const struct {
    std::string request, status, field, body;
  } kCases[] = {
      {"GET /livez HTTP/1.1\r\nHost: x", "200 OK", "Content-Length: 3", "ok\n"},
      {"GET /readyz?verbose HTTP/1.1\r\nHost: x", "200 OK", "Cache-Control: no-store", "ok\n"},
      {"GET /startupz HTTP/1.1\r\nHost: x", "200 OK", "Content-Type: text/plain", "ok\n"},
      {"GET / HTTP/1.1\r\nHost: x", "404 ", "", "is /metrics, /livez, /readyz and /startupz\n"},
      {"POST /elsewhere HTTP/1.1\r\nHost: x", "404 ", "", "/startupz\n"},
      {"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0", "405 ", "Allow: GET, HEAD",
       "only GET and HEAD are answered here\n"},
      {"GET /livez HTTP/1.1", "400 ", "Connection: close", "answered\n"},  // No Host.
      {"GET /li\tvez HTTP/1.1\r\nHost: x", "400 ", "Connection: close", "answered\n"},
      {"BREW /livez HTTP/1.1\r\nHost: x", "405 ", "Allow: GET, HEAD", "answered here\n"},
      {"CONNECT /livez HTTP/1.1\r\nHost: x", "501 ", "Connection: close", "answered\n"},
      {"GET /livez HTTP/1.0", "200 OK", "Connection: close", "ok\n"},
  };
  for (const auto& one : kCases) {
    Client client(port());
    client.Send(one.request + "\r\n\r\n");
    const std::string answer = client.ReadAnswer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + one.status)) << one.request;
    EXPECT_THAT(answer, HasSubstr(one.field)) << one.request;
    EXPECT_THAT(answer, EndsWith(one.body)) << one.request;
  }
}

TEST_F(OpsServerTest, ReadinessIsAskedAnewEachTime) {
  Start();
  Client client(port());
  EXPECT_THAT(client.Get("/readyz"), StartsWith("HTTP/1.1 200 "));
  health_.ready = false;
  const std::string answer = client.Get("/readyz");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, EndsWith("\r\n\r\ndraining\n"));
  EXPECT_THAT(client.Get("/livez"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(OpsServerTest, ScrapesInTheFormatThatIsPreferred) {
  Start();
  Client client(port());
  const std::string text = client.Get("/metrics");
  EXPECT_THAT(text, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE things_total counter\nthings_total 1\n"));
  const std::string open = client.Get("/metrics", "Accept: application/openmetrics-text\r\n");
  EXPECT_THAT(open, HasSubstr("Content-Type: application/openmetrics-text; version=1.0.0"));
  EXPECT_THAT(open, HasSubstr("Vary: Accept\r\n"));
  EXPECT_THAT(open, EndsWith("# TYPE things counter\nthings_total 2\n# EOF\n"));
}

TEST_F(OpsServerTest, HeadHasTheLengthAndNoBody) {
  Start();
  Client client(port());
  client.Send("HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.ReadAnswer(true), HasSubstr("Content-Length: 3\r\n"));
  EXPECT_THAT(client.Get("/livez"), StartsWith("HTTP/1.1 200 OK\r\n"));  // Nothing was left over.
}

TEST_F(OpsServerTest, AnswersPipelinedRequestsInOrder) {
  Start();
  Client client(port());
  std::string requests;
  for (int i = 0; i < 300; ++i) requests += "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
  client.Send(requests);
  for (int i = 1; i <= 300; ++i) {
    ASSERT_THAT(client.ReadAnswer(), EndsWith("things_total " + std::to_string(i) + "\n"));
  }
  EXPECT_THAT(client.Get("/livez", "Connection: close\r\n"), HasSubstr("Connection: close\r\n"));
  EXPECT_EQ(client.ReadAll(), "");
}

TEST_F(OpsServerTest, TakesAHeadByteByByte) {
  Start();
  Client client(port());
  for (const char c : std::string("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")) {
    client.Send(std::string_view(&c, 1));
  }
  EXPECT_THAT(client.ReadAnswer(), EndsWith("ok\n"));
}

TEST_F(OpsServerTest, ABodyEndsTheConnectionAndLosesNoAnswer) {
  Start();
  Client client(port());
  client.Send("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
  client.Send(std::string(100'000, 'x'));
  const std::string answer = client.ReadAll();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_FALSE(client.reset());
}

TEST_F(OpsServerTest, ClosesAClientThatDoesNotFinishItsHead) {
  Start({64, 200'000});
  Client silent(port());
  Client slow(port());
  slow.Send("GET /livez HTTP/1.1\r\n");
  EXPECT_EQ(slow.ReadAll(), "");
  EXPECT_EQ(silent.ReadAll(), "");
}

TEST_F(OpsServerTest, TricklingBytesDoNotKeepAConnection) {
  Start({64, 200'000});
  Client slow(port());
  slow.Send("GET /livez HTTP/1.1\r\nX: ");
  std::atomic<bool> closed{false};
  std::thread trickle([&] {
    while (!closed) {
      slow.Send("x");
      std::this_thread::yield();
    }
  });
  const std::string answer = slow.ReadAll();  // Comes back: closed, or 431 for such a field.
  closed = true;
  trickle.join();
  EXPECT_THAT(answer, Not(HasSubstr("200 OK")));
}

TEST_F(OpsServerTest, ClosesAClientThatDoesNotTakeItsAnswer) {
  metrics_.help.assign(8u << 20, 'x');
  Start({64, 300'000});
  Client slow(port(), 4096);
  slow.Send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  // It reads nothing; the next one's deadline is after its, and passes too.
  Client later(port());
  EXPECT_EQ(later.ReadAll(), "");
  EXPECT_LT(slow.ReadAll().size(), metrics_.help.size());
}

TEST_F(OpsServerTest, WritesLargeScrapesWhole) {
  metrics_.help.assign(8u << 20, 'x');
  Start();
  Client client(port(), 4096);
  EXPECT_THAT(client.Get("/metrics"), EndsWith("things_total 1\n"));
  EXPECT_THAT(client.Get("/livez"), EndsWith("ok\n"));
}

TEST_F(OpsServerTest, OneMoreConnectionClosesTheOneThatIsSilentLongest) {
  Start({4, 30'000'000});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<Client>(port()));
    EXPECT_THAT(clients.back()->Get("/livez"), EndsWith("ok\n"));
  }
  EXPECT_THAT(clients[0]->Get("/livez"), EndsWith("ok\n"));
  Client probe(port());
  EXPECT_THAT(probe.Get("/livez"), EndsWith("ok\n"));
  EXPECT_EQ(clients[1]->ReadAll(), "");
  for (const int kept : {0, 2, 3}) EXPECT_THAT(clients[kept]->Get("/livez"), EndsWith("ok\n"));
}

TEST_F(OpsServerTest, StopsWithConnectionsOpen) {
  Start();
  Client idle(port());
  Client half(port());
  half.Send("GET /liv");
  EXPECT_THAT(idle.Get("/livez"), EndsWith("ok\n"));
  server_->Stop();
  server_->Stop();
  server_.reset();
  EXPECT_EQ(idle.ReadAll(), "");
}

TEST_F(OpsServerTest, ATakenPortIsASentence) {
  Start();
  HealthSource& health = health_;
  OpsServer second(health, {});
  const auto started = second.Start({"127.0.0.1", port()});
  ASSERT_FALSE(started.ok());
  EXPECT_THAT(started.error(), StartsWith("ops: listen 127.0.0.1:"));
}

}  // namespace
}  // namespace catzilla::ops
