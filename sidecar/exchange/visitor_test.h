// The pieces this room's tests share: a client that stands in for its connection, and a stage with
// a plan, a loop and a worker that follows a script.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sidecar/exchange/testing.h"
#include "sidecar/http/error_page.h"
#include "sidecar/http/status.h"
#include "sidecar/worker/rig_test.h"

namespace catzilla::exchange {

// "Date: Sun, 06 Nov 1994 08:49:37 GMT" -> "Date: now", wherever it stands.
inline std::string WithoutDates(std::string text) {
  for (size_t at = 0; (at = text.find("Date: ", at)) != std::string::npos; at += 9) {
    text.replace(at, text.find("\r\n", at) - at, "Date: now");
  }
  return text;
}

// What a client reads that is refused: `fields` come before our own, `more` behind them.
inline std::string RefusalText(uint16_t status, bool closes, const std::string& id = "",
                               const std::string& fields = "", const std::string& more = "") {
  std::string page;
  http::AppendErrorPage(http::ErrorFormat::kJson, status, "", id, page);
  std::string text(http::StatusLine(status));
  text += "Date: now\r\nServer: catzilla\r\n";
  if (closes) text += "Connection: close\r\n";
  text += fields +
          "Content-Type: application/json\r\nContent-Length: " + std::to_string(page.size()) +
          "\r\n" + more;
  if (!id.empty()) text += "X-Request-Id: " + id + "\r\n";
  return text + "\r\n" + page;
}

// One client on one connection: what it says goes in, what it would read comes out. It does for
// its exchange what server::Connection does, and no more.
class Visitor final : private Client, private loop::Deferred {
 public:
  explicit Visitor(Context& context) : context_(context) {
    facts_.peer.is_ip = true;
    facts_.peer.port = 4242;
    facts_.peer_text = "192.0.2.1";
    facts_.server_text = "192.0.2.99";
    facts_.server_port = 80;
    facts_.listener = &listener_;
  }
  ~Visitor() {
    EXPECT_EQ(exchange_, nullptr) << "a test forgot its exchange";
    Leave();
    Deferred::Unlink();
  }

  // In one turn. The bytes are gone when this returns, as those of the loop's buffer are.
  void Say(std::string_view text) {
    context_.loop.EnterTurn();
    Take(std::string(text));
  }
  void Leave() {
    if (exchange_ == nullptr) return;
    context_.loop.EnterTurn();
    if (leaving_) {
      exchange_->BreakOff(output_.pending_bytes(), false);
    } else {
      exchange_->Abandon();
    }
    End();
  }
  // As the connection does it when a body is late (408) or malformed (400).
  void FailBody(uint16_t status) {
    context_.loop.EnterTurn();
    exchange_->FailRequest(status);
    Go();
    Send();
  }
  // What was to be sent has changed under us.
  void Truncate() {
    context_.loop.EnterTurn();
    exchange_->BreakOff(output_.pending_bytes(), true);
    End();
  }
  void SetReading(bool reads) {
    reads_ = reads;
    if (!reads) return;
    context_.loop.EnterTurn();
    Send();
  }

  bool over() const { return exchange_ == nullptr; }
  bool leaving() const { return leaving_; }
  Exchange& exchange() { return *exchange_; }
  uint64_t pending_bytes() const { return output_.pending_bytes(); }
  std::string read() const { return WithoutDates(wire_); }

  bool last = false;          // Of the next request: its answer is to close the connection.
  std::string outcome;        // "keep-alive", "close", "broken"; with " unread" if a body is.
  std::vector<Next> returns;  // What Run() said.
  std::vector<bool> wishes;   // What SetBodyReading() was told.
  int wakes = 0;

 private:
  http::OutputQueue& output() override { return output_; }
  const ClientFacts& facts() const override { return facts_; }
  void WakeExchange() override {
    ++wakes;
    context_.loop.Defer(*this);
  }
  void SetBodyReading(bool wanted) override {
    if (body_wanted_ == wanted) return;
    wishes.push_back(wanted);
    body_wanted_ = wanted;
    if (wanted) context_.loop.Defer(*this);
  }
  void RunDeferred() override {
    Go();
    Take(std::string());
  }

  void Take(std::string&& bytes) {
    const std::string joined = std::exchange(held_, {}) + bytes;
    std::string_view input = joined;
    while ((!input.empty() || parser_.at_end()) && MayParse() && Step(&input)) {
    }
    held_ = input;
    Send();  // While the bytes are there: who must keep them is told now.
  }
  bool MayParse() const {
    if (closed_) return false;
    return exchange_ == nullptr || (!exchange_->request_complete() && body_wanted_);
  }
  bool Step(std::string_view* input) {
    if (exchange_ == nullptr && head_ == nullptr) {
      head_ = context_.heads.Take();
      parser_.Begin(head_.get(), {});
    }
    const http::RequestParser::Step step = parser_.Next(*input);
    input->remove_prefix(step.consumed);
    switch (step.event) {
      case http::RequestParser::Event::kNeedMore:
        return false;
      case http::RequestParser::Event::kHead:
        Begin();
        return true;
      case http::RequestParser::Event::kBody:
        exchange_->OnRequestBody(step.body);
        Go();
        return exchange_ != nullptr;
      case http::RequestParser::Event::kEnd:
        exchange_->OnRequestEnd();
        Go();
        return true;
      case http::RequestParser::Event::kError:
        CATZILLA_CHECK(exchange_ != nullptr, "a test's request is malformed");
        exchange_->FailRequest(step.status);
        Go();
        return false;
    }
    return false;
  }

  void Begin() {
    exchange_ = context_.exchanges.Take();
    exchange_->Begin(context_, *this, head_->head(), last);
    body_wanted_ = true;
    body_limit_ = UINT64_MAX;
    outcome.clear();
    Go();
  }
  void Go() {
    if (exchange_ == nullptr || leaving_) return;
    returns.push_back(exchange_->Run());
    if (!exchange_->request_complete() && body_limit_ != exchange_->body_bytes_max()) {
      body_limit_ = exchange_->body_bytes_max();
      parser_.LimitBody(body_limit_);
    }
    if (returns.back() != Next::kDone) return;
    leaving_ = exchange_->is_long_answer();
    if (!leaving_) End();
  }
  void End() {
    const bool complete = exchange_->request_complete();
    const Outcome outcome_of = exchange_->Finish();
    context_.exchanges.Give(std::exchange(exchange_, nullptr));
    context_.heads.Give(std::move(head_));
    leaving_ = false;
    outcome = outcome_of == Outcome::kBroken  ? "broken"
              : outcome_of == Outcome::kClose ? "close"
                                              : "keep-alive";
    if (!complete) outcome += " unread";
    closed_ = outcome != "keep-alive";
  }
  void Send() {
    while (reads_ && !output_.empty()) {
      if (const http::OutputQueue::FilePiece* piece = output_.FrontPiece()) {
        std::string bytes(piece->length, '\0');
        const ssize_t got =
            ::pread(piece->fd, bytes.data(), bytes.size(), static_cast<off_t>(piece->offset));
        ASSERT_EQ(got, static_cast<ssize_t>(bytes.size()));
        wire_ += bytes;
        output_.Consume(piece->length);
        continue;
      }
      iovec parts[8];
      bool more = false;
      const int count = output_.Gather(parts, 8, &more);
      uint64_t bytes = 0;
      for (int i = 0; i < count; ++i) {
        wire_.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
        bytes += parts[i].iov_len;
      }
      output_.Consume(bytes);
    }
    if (leaving_) {
      output_.empty() ? End() : exchange_->HoldUntilSent();
    }
    const bool room = output_.pending_bytes() < kOutputMark / 2;
    if (exchange_ != nullptr && exchange_->wants_output() && room) context_.loop.Defer(*this);
  }

  Context& context_;
  config::Listener listener_;
  ClientFacts facts_;
  http::OutputQueue output_;
  http::RequestParser parser_;
  std::unique_ptr<http::HeadBuffer> head_;
  Exchange* exchange_ = nullptr;
  std::string held_;
  std::string wire_;
  uint64_t body_limit_ = UINT64_MAX;
  bool reads_ = true;
  bool body_wanted_ = true;
  bool leaving_ = false;
  bool closed_ = false;  // Nothing of what comes now is a request.
};

// "status bytes route served_by" of a line of the access log, and what else it has but times.
inline std::string Gist(const std::string& line) {
  const auto value = [&](const std::string& key) {
    const size_t at = line.find("\"" + key + "\":");
    if (at == std::string::npos) return std::string();
    const size_t begin = at + key.size() + 3;
    if (line[begin] != '"') return line.substr(begin, line.find_first_of(",}", begin) - begin);
    return line.substr(begin + 1, line.find('"', begin + 1) - begin - 1);
  };
  std::string gist =
      value("status") + " " + value("bytes") + " " + value("route") + " " + value("served_by");
  for (const char* key : {"cache", "cause", "detail", "end"}) {
    if (!value(key).empty()) gist += std::string(" ") + key + "=" + value(key);
  }
  return gist;
}

// A folder served at /files, an app's routes behind one worker:
//   GET, POST /app    never stored
//   GET /kept         stored for an hour
struct Stage {
  explicit Stage(config::Pool pool = {}, config::Cache cache = {}) : rig(std::move(pool)) {
    rig.loop.AddHooks(&turns);
    snapshot.mounts = {std::make_shared<config::Mount>(house.MountAt("/files"))};
    cache.name = "edge";
    cache.object_bytes_max = 1u << 20;
    snapshot.caches = {std::make_shared<config::Cache>(cache)};
    AddRoute("/app", {"GET", "POST"}, "");
    AddRoute("/kept", {"GET"}, "edge");
    Apply();
    log_path = house.root + "/access.log";
    auto opened = stats::AccessLog::Open(log_path, 1, 1 << 20);
    CATZILLA_CHECK(opened.ok(), "no log for a test");
    log = std::move(*opened);
    desk.context.access_log = log.get();
  }
  ~Stage() {
    house.executor.Shutdown();
    desk.Close();
    rig.loop.DrainHandles();
  }

  void AddRoute(const std::string& path, std::vector<std::string> methods, std::string cache) {
    auto route = std::make_shared<config::Route>();
    route->name = route->path = path;
    route->source = config::Layer::kFile;
    route->methods = std::move(methods);
    route->pool = "app";
    route->cache = std::move(cache);
    if (!route->cache.empty()) route->cache_ttl_us = 3'600'000'000;
    snapshot.routes.push_back(std::move(route));
  }
  void Apply() { desk.context.plan = house.MakePlan(snapshot, rig.pool, rig.serving, &desk); }
  // Nothing of the plan before is left but what somebody holds; its counts are kept to be read.
  void ReplacePlan() {
    series_before = house.series.All();
    desk.context.plan = house.MakePlan(config::Snapshot(), rig.pool, rig.serving, &desk);
    house.caches.clear();
  }
  // One more worker of the same code. The plan is of its generation from then on.
  void Attach() {
    if (hello.ticket.token.empty()) hello = rig.Begin();
    ++hello.pid;
    worker = rig.Attach(hello);
    Apply();
  }
  worker::FakeConnection& lane() { return *worker.lane; }

  void Pump() { rig.Pump(); }
  bool Until(const std::function<bool()>& done) { return rig.Until(done); }
  // What the worker has got of a new request.
  uint32_t TakeRequest() {
    Pump();
    worker::FakeConnection::Frame frame;
    return lane().Take(worker::FrameType::kRequest, &frame) ? frame.header.stream : 0;
  }
  // Whether the worker was told to stop, and why; it obeys. 0: it was not.
  uint32_t TakeCancel() {
    Pump();
    worker::FakeConnection::Frame frame;
    if (!lane().Take(worker::FrameType::kCancel, &frame)) return 0;
    lane().Send(worker::FrameType::kEnd, frame.header.stream, "", 0,
                static_cast<uint32_t>(worker::EndCode::kCancelled));
    Pump();
    return frame.header.aux;
  }
  // The beginning of a streamed answer; `fields` are "name: value" lines.
  void BeginAnswer(uint32_t stream, const std::vector<http::Field>& fields,
                   std::string_view body = {}, uint16_t status = 200) {
    std::string encoded, payload;
    for (const http::Field& field : fields) {
      worker::AppendField(field.name, field.value, &encoded);
    }
    worker::ResponseView view;
    view.status = status;
    view.fields = worker::FieldsView(encoded);
    view.body = body;
    worker::EncodeResponse(view, &payload);
    lane().Send(worker::FrameType::kResponse, stream, payload);
    Pump();
  }
  void AnswerData(uint32_t stream, std::string_view bytes, bool last = false) {
    lane().Send(worker::FrameType::kResponseData, stream, bytes, last ? worker::kFlagEnd : 0);
    Pump();
  }
  void EndAnswer(uint32_t stream, worker::EndCode code = worker::EndCode::kComplete,
                 std::string_view sentence = {}) {
    lane().Send(worker::FrameType::kEnd, stream, sentence, 0, static_cast<uint32_t>(code));
    Pump();
  }

  // The lines of the access log so far, as Gist() has them. Ends the log.
  std::vector<std::string> Logged() {
    desk.context.access_log = nullptr;
    log.reset();
    std::vector<std::string> gists;
    std::ifstream file(log_path);
    for (std::string line; std::getline(file, line);) gists.push_back(Gist(line));
    return gists;
  }
  // "404:1 503:2", over everything that was answered.
  std::string Counted() const {
    std::string text;
    for (size_t status = 0; status < desk.stats.responses.size(); ++status) {
      const uint64_t count = desk.stats.responses[status].value();
      if (count == 0) continue;
      text += (text.empty() ? "" : " ") + std::to_string(status) + ":" + std::to_string(count);
    }
    return text;
  }
  // "/app 2xx:1": the same by route.
  std::string CountedByRoute() {
    std::string text;
    for (const auto& route : house.series.All()) {
      for (size_t status_class = 0; status_class < stats::kStatusClasses; ++status_class) {
        uint64_t count = 0;
        for (size_t slot = 0; slot < stats::kMethodLabels.size(); ++slot) {
          count += route->requests(slot, status_class);
        }
        if (count == 0) continue;
        text += (text.empty() ? "" : " ") + route->label() + " " +
                std::to_string(status_class + 1) + "xx:" + std::to_string(count);
      }
    }
    return text;
  }
  // Whatever has happened, nothing is kept of it.
  void ExpectAllGivenBack() {
    Pump();
    EXPECT_EQ(desk.context.exchanges.in_use(), 0u);
    EXPECT_EQ(desk.context.fill_drivers.in_use(), 0u);
    EXPECT_EQ(rig.in_flight(), 0u);
    EXPECT_EQ(rig.dispatcher.calls_in_use(), 0u);
    EXPECT_EQ(rig.loop.turns_overrun(), 0u);
  }

  House house;
  HouseTurns turns{house};
  worker::Rig rig;
  worker::HelloText hello;
  Desk desk{rig.loop, rig.wheel, rig.dispatcher};
  config::Snapshot snapshot;
  worker::Rig::FakeWorker worker;
  std::vector<std::shared_ptr<stats::RouteStats>> series_before;
  std::string log_path;
  std::unique_ptr<stats::AccessLog> log;
};

}  // namespace catzilla::exchange
