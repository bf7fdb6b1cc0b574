#include "sidecar/ops/ops_server.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "sidecar/http/request_parser.h"
#include "sidecar/http/response_head.h"

namespace catzilla::ops {
namespace {

constexpr size_t kReadBytes = 8192;
constexpr int64_t kLingerUs = 1'000'000;

}  // namespace

// One scraper or prober: questions one at a time, each answer from one string.
//
//   kServing --answer that ends it--> kLingering --client has read it, or kLingerUs--> closed
class OpsConnection final : private loop::Poll::Handler, private loop::Deadline {
 public:
  OpsConnection(OpsServer& server, loop::Loop& loop)
      : server_(server), loop_(loop), poll_(loop, *this) {}
  ~OpsConnection() override = default;

  bool Open(int fd) {
    if (!poll_.Open(fd)) return false;
    Wait(server_.limits_.wait_us);
    poll_.Watch(loop::kReadable);
    return true;
  }
  void Close() { poll_.Close(); }
  bool open() const { return poll_.open(); }
  int64_t silent_since_us() const { return due_us(); }

 private:
  enum class State : uint8_t { kServing, kLingering };

  void OnReady(unsigned) override {
    if (state_ == State::kLingering) {
      Discard();
      return;
    }
    if (!output_.empty() && !Flush()) return;
    if (output_.empty() && input_.empty() && !Read()) return;
    if (output_.empty()) Ask();
    if (output_.empty() || Flush()) WatchForNext();
  }
  void OnClosed() override { server_.OnConnectionClosed(*this); }
  void OnDeadline() override { Close(); }
  // Bytes that trickle in do not move it: only a whole head, or a whole answer taken, does.
  void Wait(int64_t us) { server_.wheel_.Arm(*this, loop_.now().monotonic_us + us); }

  // False: closed, or there is nothing.
  bool Read() {
    char buffer[kReadBytes];
    const ssize_t bytes = ::recv(poll_.fd(), buffer, sizeof(buffer), 0);
    if (bytes > 0) {
      input_.assign(buffer, static_cast<size_t>(bytes));
      return true;
    }
    if (bytes == 0 || (errno != EAGAIN && errno != EINTR)) {
      Close();
    } else {
      poll_.Watch(loop::kReadable);
    }
    return false;
  }

  // Answers the first request in `input_`, if all of its head is there.
  void Ask() {
    while (!input_.empty() && output_.empty()) {
      if (parser_.between_requests()) parser_.Begin(&head_, {});
      const http::RequestParser::Step step = parser_.Next(input_);
      if (step.event == http::RequestParser::Event::kHead) {
        Answer(Question(head_.head()));
      } else if (step.event == http::RequestParser::Event::kError) {
        OpsServer::Question question;
        question.refused = step.status;
        question.close = true;
        Answer(question);
      }
      input_.erase(0, step.consumed);
    }
  }

  static OpsServer::Question Question(const http::RequestHead& request) {
    OpsServer::Question question;
    question.method = request.method_text();
    question.path = request.path();
    const auto accept = request.Find(http::HeaderId::kAccept);
    question.open_metrics = accept.has_value() && Exposition::PrefersOpenMetrics(*accept);
    question.close = !request.keep_alive() || request.has_body();
    question.minor_version = request.minor_version();
    return question;
  }

  void Answer(const OpsServer::Question& question) {
    output_ = server_.Answer(question);
    written_ = 0;
    last_ = question.close;
    Wait(server_.limits_.wait_us);
  }

  // True: all of it is written. False: the rest waits for the client, or the connection has gone.
  bool Flush() {
    while (written_ < output_.size()) {
      const ssize_t bytes =
          ::send(poll_.fd(), output_.data() + written_, output_.size() - written_, MSG_NOSIGNAL);
      if (bytes > 0) {
        written_ += static_cast<size_t>(bytes);
      } else if (bytes < 0 && errno == EAGAIN) {
        poll_.Watch(loop::kWritable);
        return false;
      } else if (bytes == 0 || errno != EINTR) {
        Close();
        return false;
      }
    }
    output_ = std::string();  // An idle connection keeps no memory of a scrape.
    Wait(server_.limits_.wait_us);
    if (!last_) return true;
    // Closing with unread bytes would reset the connection, and the client might lose its answer.
    state_ = State::kLingering;
    ::shutdown(poll_.fd(), SHUT_WR);
    Wait(kLingerUs);
    poll_.Watch(loop::kReadable);
    return false;
  }

  // What is here already is asked in the next turn: one client with many requests holds up nobody.
  void WatchForNext() { poll_.Watch(input_.empty() ? loop::kReadable : loop::kWritable); }

  void Discard() {
    char buffer[kReadBytes];
    const ssize_t bytes = ::recv(poll_.fd(), buffer, sizeof(buffer), 0);
    if (bytes == 0 || (bytes < 0 && errno != EAGAIN && errno != EINTR)) Close();
  }

  OpsServer& server_;
  loop::Loop& loop_;
  loop::Poll poll_;
  http::HeadBuffer head_;
  http::RequestParser parser_;
  State state_ = State::kServing;
  bool last_ = false;   // The connection ends with this answer.
  std::string input_;   // Read and not yet asked; at most kReadBytes.
  std::string output_;  // The answer that is being written...
  size_t written_ = 0;  // ...and how much of it is.
};

OpsServer::OpsServer(HealthSource& health, std::vector<MetricsSource*> sources, OpsLimits limits)
    : health_(health),
      sources_(std::move(sources)),
      limits_(limits),
      wheel_(loop_),
      stop_(loop_, *this),
      listener_(loop_, *this) {}

OpsServer::~OpsServer() {
  Stop();
  if (!stopped_) OnWakeup();
  loop_.DrainHandles();
}

base::Result<base::Unit, std::string> OpsServer::Start(const loop::TcpAddress& address) {
  auto sockets = loop::ListenTcp(address, 128, 1);
  if (!sockets.ok()) return base::Fail("ops: " + sockets.error().message);
  port_ = loop::LocalPort((*sockets)[0]);
  if (!listener_.Open((*sockets)[0])) {
    return base::Fail(std::string("ops: the listening socket cannot be watched"));
  }
  thread_ = std::thread([this] { loop_.Run(); });
  pthread_setname_np(thread_.native_handle(), "ops");
  return base::Unit{};
}

void OpsServer::Stop() {
  if (!thread_.joinable()) return;
  stop_.Signal();
  thread_.join();
}

void OpsServer::OnWakeup() {
  stopped_ = true;
  listener_.Close();
  for (const auto& connection : connections_) connection->Close();
  wheel_.Close();
  stop_.Close();
  loop_.Stop();
}

void OpsServer::OnAccept(int fd, const sockaddr_storage&) {
  MakeRoom();
  connections_.push_back(std::make_unique<OpsConnection>(*this, loop_));
  if (!connections_.back()->Open(fd)) connections_.pop_back();
}

// Closed ones stay in the list until the loop has told them.
void OpsServer::MakeRoom() {
  size_t open = 0;
  OpsConnection* silent = nullptr;
  for (const auto& connection : connections_) {
    if (!connection->open()) continue;
    ++open;
    if (silent == nullptr || connection->silent_since_us() < silent->silent_since_us()) {
      silent = connection.get();
    }
  }
  if (open >= limits_.connections_max && silent != nullptr) silent->Close();
}

void OpsServer::OnConnectionClosed(OpsConnection& connection) {
  std::erase_if(connections_, [&](const auto& owned) { return owned.get() == &connection; });
}

std::string OpsServer::Scrape(bool open_metrics) {
  Exposition out(open_metrics);
  for (MetricsSource* source : sources_) source->Collect(out);
  return std::move(out).Finish();
}

uint16_t OpsServer::StatusAndBody(const Question& question, std::string* body) {
  const auto probe = [&](Health health) -> uint16_t {
    *body = std::move(health.text);
    return health.good ? 200 : 503;
  };
  if (question.refused != 0) {
    *body = "this is not a request that can be answered\n";
    return question.refused;
  }
  const bool metrics = question.path == "/metrics";
  if (!metrics && question.path != "/livez" && question.path != "/readyz" &&
      question.path != "/startupz") {
    *body = "there is /metrics, /livez, /readyz and /startupz\n";
    return 404;
  }
  if (question.method != "GET" && question.method != "HEAD") {
    *body = "only GET and HEAD are answered here\n";
    return 405;
  }
  if (question.path == "/livez") return probe(health_.Live());
  if (question.path == "/readyz") return probe(health_.Ready());
  if (question.path == "/startupz") return probe(health_.Started());
  *body = Scrape(question.open_metrics);
  return 200;
}

std::string OpsServer::Answer(const Question& question) {
  std::string body;
  const uint16_t status = StatusAndBody(question, &body);
  const bool scrape = status == 200 && question.path == "/metrics";
  char head[512];
  http::ResponseWriter writer(head, sizeof(head));
  http::DateCache date;
  writer.Status(status);
  writer.Date(date.Get(loop_.now().wall_s()));
  writer.Field("Content-Type", scrape ? Exposition::ContentType(question.open_metrics)
                                      : "text/plain; charset=utf-8");
  writer.Field("Content-Length", uint64_t{body.size()});
  writer.Field("Cache-Control", "no-store");
  if (scrape) writer.Field("Vary", "Accept");
  if (status == 405) writer.Field("Allow", "GET, HEAD");
  writer.Connection(!question.close, question.minor_version);
  writer.End();
  std::string answer(writer.bytes());
  if (question.method != "HEAD") answer += body;
  return answer;
}

}  // namespace catzilla::ops
