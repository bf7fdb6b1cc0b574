#include "sidecar/ops/ops_server.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sidecar/http/request_parser.h"
#include "sidecar/http/response_head.h"

namespace catzilla::ops {

// One scraper or prober. Answers in order, one request at a time, from one string.
class OpsConnection final : private loop::Poll::Handler, private loop::Deadline {
 public:
  OpsConnection(OpsServer& server, loop::Loop& loop)
      : server_(server), loop_(loop), poll_(loop, *this) {}
  ~OpsConnection() override = default;

  bool Open(int fd) {
    if (!poll_.Open(fd)) return false;
    Touch();
    poll_.Watch(loop::kReadable);
    return true;
  }
  void Close() { poll_.Close(); }

 private:
  void OnReady(unsigned ready) override {
    Touch();
    if ((ready & loop::kWritable) != 0 && !output_.empty() && !Flush()) return;
    if ((ready & loop::kReadable) != 0) Read();
  }
  void OnClosed() override { server_.OnConnectionClosed(*this); }
  void OnDeadline() override { Close(); }
  void Touch() { server_.wheel_.Arm(*this, loop_.now().monotonic_us + OpsServer::kIdleUs); }

  void Read() {
    char buffer[8192];
    const ssize_t bytes = ::recv(poll_.fd(), buffer, sizeof(buffer), 0);
    if (bytes <= 0) {
      if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return;
      Close();
      return;
    }
    std::string_view input(buffer, static_cast<size_t>(bytes));
    while (!input.empty() && !closing_) Parse(&input);
    Flush();
  }

  void Parse(std::string_view* input) {
    if (parser_.between_requests()) parser_.Begin(&head_, {});
    const http::RequestParser::Step step = parser_.Next(*input);
    input->remove_prefix(step.consumed);
    if (step.event == http::RequestParser::Event::kError) {
      output_ += server_.Answer("", "", false, true);
      closing_ = true;
    }
    if (step.event != http::RequestParser::Event::kHead) return;
    const http::RequestHead& request = head_.head();
    // Bodies are not read: after one the connection ends.
    closing_ = !request.keep_alive() || request.has_body();
    const auto accept = request.Find(http::HeaderId::kAccept);
    const bool open_metrics =
        accept.has_value() && accept->find("application/openmetrics-text") != std::string_view::npos;
    output_ += server_.Answer(request.method_text(), request.path(), open_metrics, closing_);
  }

  // False: closed.
  bool Flush() {
    while (!output_.empty()) {
      const ssize_t written = ::send(poll_.fd(), output_.data(), output_.size(), MSG_NOSIGNAL);
      if (written < 0) {
        if (errno == EINTR) continue;
        if (errno != EAGAIN) {
          Close();
          return false;
        }
        poll_.Watch(loop::kWritable);
        return true;
      }
      output_.erase(0, static_cast<size_t>(written));
    }
    if (closing_) {
      ::shutdown(poll_.fd(), SHUT_WR);
      Close();
      return false;
    }
    poll_.Watch(loop::kReadable);
    return true;
  }

  OpsServer& server_;
  loop::Loop& loop_;
  loop::Poll poll_;
  http::HeadBuffer head_;
  http::RequestParser parser_;
  std::string output_;
  bool closing_ = false;
};

OpsServer::OpsServer(HealthSource& health, std::vector<MetricsSource*> sources)
    : health_(health),
      sources_(std::move(sources)),
      wheel_(loop_),
      stop_(loop_, *this),
      listener_(loop_, *this) {}

OpsServer::~OpsServer() {
  Stop();
  if (!thread_.joinable() && !stopped_) OnWakeup();
  loop_.DrainHandles();
}

base::Result<base::Unit, std::string> OpsServer::Start(const loop::TcpAddress& address) {
  auto sockets = loop::ListenTcp(address, 128, 1);
  if (!sockets.ok()) return base::Fail("ops: " + sockets.error().message);
  port_ = loop::LocalPort((*sockets)[0]);
  if (!listener_.Open((*sockets)[0])) return base::Fail(std::string("ops: cannot watch the socket"));
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
  if (connections_.size() >= kConnectionsMax) {
    ::close(fd);
    return;
  }
  connections_.push_back(std::make_unique<OpsConnection>(*this, loop_));
  if (!connections_.back()->Open(fd)) connections_.pop_back();
}

void OpsServer::OnConnectionClosed(OpsConnection& connection) {
  std::erase_if(connections_, [&](const auto& owned) { return owned.get() == &connection; });
}

std::string OpsServer::Scrape(bool open_metrics) {
  Exposition out(open_metrics);
  for (MetricsSource* source : sources_) source->Collect(out);
  return std::move(out).Finish();
}

std::string OpsServer::Answer(std::string_view method, std::string_view path, bool open_metrics,
                              bool close) {
  uint16_t status = 200;
  std::string body;
  std::string_view type = "text/plain; charset=utf-8";
  const auto probe = [&](const Health& health) {
    status = health.good ? 200 : 503;
    body = health.text;
  };
  if (method.empty()) {
    status = 400;
  } else if (method != "GET" && method != "HEAD") {
    status = 405;
  } else if (path == "/metrics") {
    body = Scrape(open_metrics);
    type = Exposition::ContentType(open_metrics);
  } else if (path == "/livez") {
    probe(health_.Live());
  } else if (path == "/readyz") {
    probe(health_.Ready());
  } else if (path == "/startupz") {
    probe(health_.Started());
  } else {
    status = 404;
  }
  if (status >= 400 && body.empty()) {
    body = "there is /metrics, /livez, /readyz and /startupz, for GET\n";
  }
  char head[512];
  http::ResponseWriter writer(head, sizeof(head));
  writer.Status(status);
  http::DateCache date;
  writer.Date(date.Get(loop_.now().wall_s()));
  writer.Field("Content-Type", type);
  writer.Field("Content-Length", uint64_t{body.size()});
  writer.Field("Cache-Control", "no-store");
  if (status == 405) writer.Field("Allow", "GET, HEAD");
  writer.Connection(!close, 1);
  writer.End();
  std::string answer(writer.bytes());
  if (method != "HEAD") answer += body;
  return answer;
}

}  // namespace catzilla::ops
