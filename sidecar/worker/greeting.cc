#include "sidecar/worker/greeting.h"

#include <errno.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "sidecar/worker/dispatcher.h"

namespace catzilla::worker {

namespace {

std::string Range(uint16_t least, uint16_t most) {
  return least == most ? std::to_string(least) : std::to_string(least) + "-" + std::to_string(most);
}

}  // namespace

Greeting::Greeting(Acceptor& acceptor, loop::Loop& loop, Registry& registry)
    : acceptor_(acceptor), loop_(loop), registry_(registry), poll_(loop, *this), reader_({}) {}

bool Greeting::Open(int fd, int64_t due_us) {
  due_us_ = due_us;
  if (!poll_.Open(fd)) return false;
  poll_.Watch(loop::kReadable);
  return true;
}

bool Greeting::Matches(const ControlMessage& message) const {
  return state_ == State::kControl && pool_->name() == message.pool &&
         worker_->generation.number == message.generation &&
         (message.worker_id == 0 || message.worker_id == worker_->id);
}

void Greeting::OnReady(unsigned ready) {
  if ((ready & (loop::kReadable | loop::kHangup)) != 0) Read();
  if (state_ != State::kGone && (ready & loop::kWritable) != 0) Flush();
}

bool Greeting::Speaks() {
  if (silent()) Read();
  return !silent();
}

void Greeting::Drop() { Close(false); }

void Greeting::Read() {
  size_t room = 0;
  char* space = reader_.Space(&room);
  const ssize_t got = ::recv(poll_.fd(), space, room, 0);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
  if (got <= 0) return Close(left_);
  reader_.Commit(static_cast<size_t>(got));
  FrameView frame;
  while (state_ != State::kGone) {
    switch (reader_.Next(&frame)) {
      case FrameReader::Step::kMore:
        return;
      case FrameReader::Step::kError:
        return Refuse({reader_.error().code, reader_.error().message});
      case FrameReader::Step::kFrame:
        OnFrame(frame);
    }
  }
}

void Greeting::OnFrame(const FrameView& frame) {
  if (const char* why = CheckFrame(frame)) return Refuse({GoawayCode::kProtocol, why});
  if (state_ == State::kControl) return OnControlFrame(frame);
  if (frame.header.type != FrameType::kHello) {
    return Refuse({GoawayCode::kProtocol, "the first frame must be HELLO"});
  }
  OnHello(frame);
}

// Before the pool is asked: versions, limits, what kind of connection it is.
bool Greeting::Agree(const Hello& hello, Pool::Refusal* refusal) {
  const RegistryOptions& options = registry_.options();
  const auto refuse = [&](GoawayCode code, std::string sentence) {
    *refusal = {code, std::move(sentence)};
    return false;
  };
  if (hello.version_min > kLinkVersionMax || hello.version_max < kLinkVersionMin) {
    const bool worker_is_newer = hello.version_min > kLinkVersionMax;
    return refuse(GoawayCode::kVersion,
                  "the worker (catzilla " + std::string(hello.sdk) + ") speaks link version " +
                      Range(hello.version_min, hello.version_max) + ", this sidecar (" +
                      options.version + ") " + Range(kLinkVersionMin, kLinkVersionMax) +
                      (worker_is_newer ? ": upgrade the sidecar" : ": upgrade the Python package"));
  }
  if (hello.head_bytes_max < options.head_bytes_max ||
      hello.data_bytes_max < options.data_bytes_max) {
    return refuse(GoawayCode::kLimits,
                  "the worker takes heads of " + std::to_string(hello.head_bytes_max) +
                      " and data of " + std::to_string(hello.data_bytes_max) +
                      " bytes; the configured limits need " +
                      std::to_string(options.head_bytes_max) + " and " +
                      std::to_string(options.data_bytes_max) + ": upgrade the Python package");
  }
  if (hello.purpose == Purpose::kControl) return true;
  if (hello.lane_kind != LaneKind::kEventLoop) {
    return refuse(GoawayCode::kProtocol, "this sidecar takes event-loop lanes only");
  }
  if (hello.loop_index != kAnyLoop && hello.loop_index >= options.loops) {
    return refuse(GoawayCode::kProtocol, "there is no loop " + std::to_string(hello.loop_index) +
                                             ", HELLO_ACK said " + std::to_string(options.loops));
  }
  if (hello.stream_window < 1024 || hello.connection_window < hello.stream_window) {
    return refuse(GoawayCode::kLimits, "the worker's windows are too small to be of use");
  }
  return true;
}

void Greeting::OnHello(const FrameView& frame) {
  Hello hello;
  Pool::Refusal refusal;
  if (const char* why = DecodeHello(frame.payload, &hello)) {
    return Refuse({GoawayCode::kProtocol, why});
  }
  if (!Agree(hello, &refusal)) return Refuse(refusal);
  if (!reader_.empty()) {
    return Refuse({GoawayCode::kProtocol, "nothing may follow HELLO before HELLO_ACK"});
  }
  pool_ = registry_.Find(hello.pool);
  if (pool_ == nullptr) {
    return Refuse({GoawayCode::kGeneration, "there is no pool named " + std::string(hello.pool)});
  }
  const bool control = hello.purpose == Purpose::kControl;
  auto attached = pool_->Attach(hello, control ? registry_.NextWorkerId() : 0);
  if (!attached.ok()) return Refuse(attached.error());
  if (!control) return HandOver(hello, *attached);
  worker_ = *attached;
  state_ = State::kControl;
  due_us_ = loop_.now().monotonic_us + registry_.options().ping_interval_us;
  out_ += Ack(hello, *worker_, 0, loop_.index());
  Flush();
  registry_.Emit({Event(WorkerEvent::Kind::kAttached, std::string(hello.note))});
}

std::string Greeting::Ack(const Hello& hello, const Worker& worker, uint32_t lane_id,
                          int loop) const {
  const RegistryOptions& options = registry_.options();
  HelloAck ack;
  ack.version = std::min(hello.version_max, kLinkVersionMax);
  ack.loop_count = static_cast<uint16_t>(options.loops);
  ack.capabilities = worker.capabilities;
  ack.credits = worker.ceiling.load();
  ack.stream_window = options.stream_window;
  ack.connection_window = kWindowMax;
  ack.head_bytes_max = options.head_bytes_max;
  ack.data_bytes_max = options.data_bytes_max;
  ack.ping_interval_ms = static_cast<uint32_t>(options.ping_interval_us / 1000);
  ack.monotonic_us = static_cast<uint64_t>(loop_.now().monotonic_us);
  ack.wall_us = static_cast<uint64_t>(loop_.now().wall_us);
  ack.worker_id = worker.id;
  ack.lane_id = lane_id;
  ack.loop_index = static_cast<uint32_t>(loop);
  ack.sidecar = options.version;
  std::string payload;
  EncodeHelloAck(ack, &payload);
  std::string frame;
  AppendFrame({0, FrameType::kHelloAck, 0, 0, 0}, payload, &frame);
  return frame;
}

void Greeting::HandOver(const Hello& hello, base::Ref<Worker> worker) {
  const RegistryOptions& options = registry_.options();
  // A lane for any loop goes where it makes the numbers even.
  const uint32_t lane_id = registry_.NextLaneId();
  const int loop = hello.loop_index == kAnyLoop
                       ? static_cast<int>(lane_id % static_cast<uint32_t>(options.loops))
                       : hello.loop_index;
  auto setup = std::make_unique<LaneSetup>();
  setup->lane_id = lane_id;
  setup->limits = {options.head_bytes_max, options.data_bytes_max};
  setup->stream_window = options.stream_window;
  setup->connection_window = kWindowMax;
  setup->hello_ack = Ack(hello, *worker, lane_id, loop);
  setup->fd = poll_.Release();
  state_ = State::kGone;

  DispatcherMessage message;
  message.kind = DispatcherMessage::Kind::kAttach;
  message.pool = pool_;
  message.worker = std::move(worker);
  message.lane = std::move(setup);
  // A loop that takes no messages is stopping; the message closes the descriptor as it goes.
  (void)registry_.dispatcher(loop)->Post(std::move(message));
}

// A control connection...

void Greeting::OnControlFrame(const FrameView& frame) {
  WorkerStats stats;
  switch (frame.header.type) {
    case FrameType::kPing:
      return Append(FrameType::kPong, 0, frame.payload);
    case FrameType::kPong:
      ping_open_ = false;
      return;
    case FrameType::kStats:
      if (const char* why = DecodeStats(frame.payload, &stats)) {
        return Refuse({GoawayCode::kProtocol, why});
      }
      worker_->rss_bytes.store(stats.rss_bytes);
      worker_->active.store(stats.active);
      worker_->detached.store(stats.detached);
      worker_->loop_lag_us.store(stats.loop_lag_us);
      worker_->exceptions.store(stats.exceptions);
      return;
    case FrameType::kLog: {
      WorkerEvent event = Event(WorkerEvent::Kind::kLog, std::string(frame.payload));
      event.level = frame.header.aux;
      return registry_.Emit({std::move(event)});
    }
    case FrameType::kGoaway:
      left_ = true;
      pool_->Drain(*worker_);
      return;
    case FrameType::kDump:
      if (!dump_open_ || frame.header.aux != dump_asked_) {
        return Refuse({GoawayCode::kProtocol, "DUMP answers what was not asked"});
      }
      dump_open_ = false;
      if (const auto dump = std::exchange(dump_, nullptr)) dump->Tell(dump_number_, frame.payload);
      return;
    default:
      return Refuse(
          {GoawayCode::kProtocol, "a frame that does not belong on a control connection"});
  }
}

void Greeting::Goaway(GoawayCode code) {
  if (state_ != State::kControl || (left_ && code != GoawayCode::kRecycle)) return;
  left_ = true;
  Append(FrameType::kGoaway, static_cast<uint32_t>(code), {});
}

void Greeting::AskForStacks(const std::shared_ptr<StackDump>& dump) {
  if (state_ != State::kControl || !dump->Means(pool_->name(), worker_->pid)) return;
  const size_t number = dump->Ask(pool_->name(), worker_->pid, worker_->generation);
  if ((worker_->capabilities & kCapabilityDump) == 0) {
    return dump->Fail(number, "its Python package (" + worker_->sdk +
                                  ") does not tell where it stands: upgrade it");
  }
  dump_ = dump;
  dump_number_ = number;
  if (std::exchange(dump_open_, true)) return;
  Append(FrameType::kDump, ++dump_asked_, {});
}

void Greeting::Tick() {
  if (state_ == State::kGone || loop_.now().monotonic_us < due_us_) return;
  if (state_ == State::kHello) {
    return Refuse({GoawayCode::kHelloLate, "HELLO did not come in time"});
  }
  due_us_ = loop_.now().monotonic_us + registry_.options().ping_interval_us;
  if (ping_open_) {
    worker_->pings_missed.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  char bytes[8];
  Store64(bytes, static_cast<uint64_t>(loop_.now().monotonic_us));
  ping_open_ = true;
  Append(FrameType::kPing, 0, {bytes, sizeof bytes});
}

void Greeting::Append(FrameType type, uint32_t aux, std::string_view payload) {
  AppendFrame({0, type, 0, 0, aux}, payload, &out_);
  Flush();
}

void Greeting::Flush() {
  while (!out_.empty()) {
    const ssize_t sent = ::send(poll_.fd(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      out_.erase(0, static_cast<size_t>(sent));
      continue;
    }
    if (sent < 0 && errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      // Nobody reads any more. What was said before that is still to be read, then the end.
      out_.clear();
      break;
    }
    if (out_.size() > kOutputMax) return Close(false);
    return poll_.Watch(loop::kReadable | loop::kWritable);
  }
  poll_.Watch(loop::kReadable);
}

void Greeting::Refuse(const Pool::Refusal& refusal) {
  if (state_ == State::kGone) return;
  AppendFrame({0, FrameType::kGoaway, 0, 0, static_cast<uint32_t>(refusal.code)},
              std::string_view(refusal.sentence).substr(0, kSentenceBytesMax), &out_);
  (void)!::send(poll_.fd(), out_.data(), out_.size(), MSG_NOSIGNAL);
  if (refusal.code != GoawayCode::kDraining) {
    registry_.Emit({Event(WorkerEvent::Kind::kRefused, refusal.sentence)});
  }
  Close(refusal.code == GoawayCode::kDraining);
}

void Greeting::Close(bool clean) {
  if (state_ == State::kGone) return;
  const bool was_control = std::exchange(state_, State::kGone) == State::kControl;
  poll_.Close();
  if (const auto dump = std::exchange(dump_, nullptr)) {
    dump->Fail(dump_number_, "it has closed its connection instead of an answer");
  }
  if (!was_control) return;
  std::vector<WorkerEvent> events;
  pool_->ControlDetached(*worker_, clean, &events);
  registry_.Emit(events);
}

void Greeting::OnClosed() { acceptor_.OnConnectionClosed(*this); }

WorkerEvent Greeting::Event(WorkerEvent::Kind kind, std::string detail) const {
  WorkerEvent event;
  event.kind = kind;
  event.pool = pool_ == nullptr ? std::string() : pool_->name();
  event.detail = std::move(detail);
  if (worker_) {
    event.generation = worker_->generation;
    event.worker_id = worker_->id;
    event.pid = worker_->pid;
  }
  return event;
}

}  // namespace catzilla::worker
