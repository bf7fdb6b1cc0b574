// The pieces the link's tests share: a sidecar's side on real loops, a worker that follows a
// script, an observer that writes down what it hears, and what stands for the plan.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sidecar/worker/acceptor.h"
#include "sidecar/worker/dispatcher.h"
#include "sidecar/worker/registry.h"

namespace catzilla::worker {

// What came, in order: "response 200 body", "data 5", "room", "end", "failure worker_lost".
class Notes final : public origin::Observer {
 public:
  void OnResponse(const ResponseHead& head) override {
    Add("response " + std::to_string(head.status) + (head.complete ? " complete" : ""));
    body += head.body;
    for (const Field field : head.fields) {
      fields += std::string(field.name) + ": " + std::string(field.value) + "\n";
    }
    if (on_response) on_response();
  }
  void OnInformational(const ResponseHead& head) override {
    Add("informational " + std::to_string(head.status));
  }
  void OnData(std::string_view bytes) override {
    body += bytes;
    Add("data " + std::to_string(bytes.size()));
    if (on_data) on_data(bytes.size());
  }
  void OnFile(origin::PassedFile file) override {
    Add("file " + std::to_string(file.offset) + "+" + std::to_string(file.length));
    char bytes[64];
    const ssize_t got =
        ::pread(file.fd.get(), bytes, sizeof bytes, static_cast<off_t>(file.offset));
    body.append(bytes, static_cast<size_t>(std::max<ssize_t>(got, 0)));
  }
  void OnTrailers(http::Fields trailers) override {
    for (const http::Field& field : trailers) {
      Add("trailer " + std::string(field.name) + "=" + std::string(field.value));
    }
  }
  void OnBodyRoom() override {
    Add("room");
    if (on_room) on_room();
  }
  void OnEnd() override {
    Add("end");
    ended = true;
  }
  void OnFailure(const origin::Failure& failure) override {
    Add("failure " + std::string(FailureName(failure.kind)));
    cause = failure.cause;
    ended = true;
    if (on_failure) on_failure();
  }
  void Add(std::string note) { notes.push_back(std::move(note)); }

  std::vector<std::string> notes;
  std::string body, fields, cause;
  bool ended = false;
  std::function<void()> on_response, on_room, on_failure;
  std::function<void(size_t)> on_data;
};

// The worker's end of one connection.
class FakeConnection {
 public:
  explicit FakeConnection(int fd) : fd_(fd) {}
  ~FakeConnection() { Kill(); }
  void Kill() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  void Send(FrameType type, uint32_t stream = 0, std::string_view payload = {}, uint8_t flags = 0,
            uint32_t aux = 0) {
    std::string bytes;
    AppendFrame({0, type, flags, stream, aux}, payload, &bytes);
    SendRaw(bytes);
  }
  void SendRaw(std::string_view bytes) {
    ASSERT_EQ(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT),
              static_cast<ssize_t>(bytes.size()));
  }
  // With a descriptor, which stays the caller's.
  void SendWithFile(std::string_view bytes, int passed) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof passed)] = {};
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof passed);
    std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
    ASSERT_EQ(::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT),
              static_cast<ssize_t>(bytes.size()));
  }
  // A whole answer.
  void Respond(uint32_t stream, std::string_view body = "hello", uint8_t flags = kFlagEnd,
               uint16_t status = 200, uint16_t response_flags = 0) {
    std::string fields, payload;
    AppendField("content-type", "text/plain", &fields);
    ResponseView view;
    view.status = status;
    view.flags = response_flags;
    view.fields = FieldsView(fields);
    view.body = body;
    EncodeResponse(view, &payload);
    Send(FrameType::kResponse, stream, payload, flags);
  }

  struct Frame {
    FrameHeader header;
    std::string payload;
  };
  // What has arrived so far.
  void Receive() {
    for (;;) {
      size_t room = 0;
      char* space = reader_.Space(&room);
      const ssize_t got = ::recv(fd_, space, room, MSG_DONTWAIT);
      if (got == 0) closed_ = true;
      if (got < 0 && errno == ECONNRESET) closed_ = true;
      if (got <= 0) return;
      reader_.Commit(static_cast<size_t>(got));
      FrameView view;
      FrameReader::Step step;
      while ((step = reader_.Next(&view)) == FrameReader::Step::kFrame) {
        ASSERT_EQ(CheckFrame(view), nullptr);
        frames_.push_back({view.header, std::string(view.payload)});
      }
      ASSERT_NE(step, FrameReader::Step::kError) << reader_.error().message;
    }
  }
  // The next frame of this type; those in front of it are dropped. Type kPing with length 99: none
  // came.
  bool Take(FrameType type, Frame* frame) {
    Receive();
    while (!frames_.empty()) {
      *frame = std::move(frames_.front());
      frames_.pop_front();
      if (frame->header.type == type) return true;
    }
    return false;
  }
  // The next frame, whatever it is.
  bool TakeAny(Frame* frame) {
    Receive();
    if (frames_.empty()) return false;
    *frame = std::move(frames_.front());
    frames_.pop_front();
    return true;
  }
  size_t waiting() {
    Receive();
    return frames_.size();
  }
  bool closed() {
    Receive();
    return closed_;
  }
  int fd() const { return fd_; }

 private:
  int fd_;
  FrameReader reader_{FrameLimits{}};
  std::deque<Frame> frames_;
  bool closed_ = false;
};

class Events final : public EventSink {
 public:
  void OnWorkerEvent(const WorkerEvent& event) override {
    base::MutexLock lock(mutex_);
    events_.push_back(event);
    if (event.kind == WorkerEvent::Kind::kPrepared) prepared_ = event.generation.number;
  }
  // The newest generation that was prepared since the last call; 0: none.
  uint64_t TakePrepared() {
    base::MutexLock lock(mutex_);
    return std::exchange(prepared_, 0);
  }
  int Count(WorkerEvent::Kind kind) const {
    base::MutexLock lock(mutex_);
    int count = 0;
    for (const WorkerEvent& event : events_) count += event.kind == kind ? 1 : 0;
    return count;
  }
  std::string LastDetail() const {
    base::MutexLock lock(mutex_);
    return events_.empty() ? "" : events_.back().detail;
  }

 private:
  mutable base::Mutex mutex_;
  std::vector<WorkerEvent> events_ CATZILLA_GUARDED_BY(mutex_);
  uint64_t prepared_ CATZILLA_GUARDED_BY(mutex_) = 0;
};

// HELLO as a worker of the generation would say it.
struct HelloText {
  Registry::Ticket ticket;
  std::string pool = "app";
  std::string table_hash = std::string(kTableHashBytes, 'h');
  std::string note;
  uint32_t pid = 100;
  uint32_t in_flight_max = 1000;
  uint32_t stream_window = 64 * 1024;
  uint32_t connection_window = 1 << 20;
  uint16_t version_min = 1, version_max = 1;
  uint32_t head_bytes_max = 1024 * 1024;
  uint32_t capabilities = kCapabilities;

  std::string Frame(Purpose purpose, uint16_t loop) const {
    Hello hello;
    hello.purpose = purpose;
    hello.lane_kind = purpose == Purpose::kLane ? LaneKind::kEventLoop : LaneKind::kNone;
    hello.loop_index = loop;
    hello.version_min = version_min;
    hello.version_max = version_max;
    hello.capabilities = capabilities;
    hello.token = ticket.token;
    hello.epoch = ticket.generation.epoch;
    hello.generation = ticket.generation.number;
    hello.table_hash = table_hash;
    hello.pid = pid;
    hello.start_time_us = 7;
    hello.in_flight_max = in_flight_max;
    hello.stream_window = stream_window;
    hello.connection_window = connection_window;
    hello.head_bytes_max = head_bytes_max;
    hello.data_bytes_max = 64 * 1024;
    hello.pool = pool;
    hello.sdk = "0.1.0";
    hello.note = note;
    std::string payload, frame;
    EncodeHello(hello, &payload);
    AppendFrame({0, FrameType::kHello, 0, 0, 0}, payload, &frame);
    return frame;
  }
};

// One loop with everything on it.
class Rig {
 public:
  explicit Rig(config::Pool config = {}, RegistryOptions options = {})
      : wheel(loop),
        registry(std::move(options)),
        dispatcher(loop, wheel, registry),
        acceptor(loop, registry, {"/nonexistent", 0600, {}, 50'000}) {
    registry.SetEvents(&events);
    config.name = "app";
    pool = registry.Configure(config);
    serving = pool->Publish(0);
  }
  ~Rig() {
    for (auto& call : abandoned) call();
    dispatcher.Close();
    acceptor.Close();
    wheel.Close();
    loop.DrainHandles();
  }

  void Pump() {
    loop.EnterTurn();  // What the test has asked for belongs to this turn.
    for (int i = 0; i < 8; ++i) loop.RunOnce(false);
    if (const uint64_t prepared = events.TakePrepared(); switches && prepared != 0) {
      Switch(prepared);
      Pump();
    }
  }
  // What a plan does: the requests of its table go to the generation, and the loop says so.
  void Switch(uint64_t generation) {
    serving = pool->Publish(generation);
    registry.Settle({{"app", generation}});
  }
  // Runs until `done`, for at most five seconds.
  bool Until(const std::function<bool()>& done) {
    const int64_t end_us = base::ReadClock().monotonic_us + 30'000'000;
    while (!done()) {
      if (base::ReadClock().monotonic_us > end_us) return false;
      loop.RunOnce(true);
    }
    return true;
  }

  HelloText Begin(uint32_t min_ready = 1) {
    auto ticket = registry.BeginGeneration("app", std::string(kTableHashBytes, 'h'), min_ready);
    EXPECT_TRUE(ticket.ok());
    HelloText hello;
    hello.ticket = *ticket;
    return hello;
  }
  std::unique_ptr<FakeConnection> Connect(const std::string& hello, bool pump = true) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    acceptor.Adopt(fds[0]);
    auto connection = std::make_unique<FakeConnection>(fds[1]);
    if (!hello.empty()) connection->SendRaw(hello);
    if (pump) Pump();
    return connection;
  }

  struct FakeWorker {
    std::unique_ptr<FakeConnection> control, lane;
    void Kill() {
      lane->Kill();
      control->Kill();
    }
  };
  FakeWorker Attach(const HelloText& hello) {
    FakeWorker worker;
    worker.control = Connect(hello.Frame(Purpose::kControl, 0));
    worker.lane = Connect(hello.Frame(Purpose::kLane, 0));
    FakeConnection::Frame frame;
    EXPECT_TRUE(worker.control->Take(FrameType::kHelloAck, &frame));
    EXPECT_TRUE(worker.lane->Take(FrameType::kHelloAck, &frame));
    return worker;
  }

  Call* Start(Notes& notes, const std::function<void(RequestSpec&)>& change = {}) {
    RequestSpec spec;
    spec.target = spec.path = "/x";
    if (change) change(spec);
    origin::Failure failure;
    Call* call = dispatcher.Start(spec, serving, notes, &failure);
    if (call == nullptr) notes.Add("refused " + std::string(FailureName(failure.kind)));
    return call;
  }
  // Starts a request, and returns the stream on which the worker got it, 0 if it did not.
  uint32_t StartOn(FakeConnection& lane, Notes& notes, Call** call = nullptr,
                   const std::function<void(RequestSpec&)>& change = {}) {
    Call* started = Start(notes, change);
    if (call != nullptr) *call = started;
    Pump();
    FakeConnection::Frame frame;
    return lane.Take(FrameType::kRequest, &frame) ? frame.header.stream : 0;
  }
  uint32_t in_flight() const { return pool->Status().in_flight; }

  loop::Loop loop;
  loop::Wheel wheel;
  Events events;
  Registry registry;
  std::shared_ptr<Pool> pool;
  base::Ref<Generation> serving;  // Of the plan.
  bool switches = true;           // As soon as a generation is prepared.
  Dispatcher dispatcher;
  Acceptor acceptor;
  std::vector<std::function<void()>> abandoned;
};

using Lines = std::vector<std::string>;

}  // namespace catzilla::worker
