// The whole link under a script made of the input: clients start, feed, read and leave, workers
// attach, answer by the rules or not, and die. Whatever happens, every credit comes back and
// nothing is touched after its end.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "sidecar/base/check.h"
#include "sidecar/worker/acceptor.h"
#include "sidecar/worker/dispatcher.h"
#include "sidecar/worker/registry.h"

using namespace catzilla;          // NOLINT: a fuzzer is one file
using namespace catzilla::worker;  // NOLINT

namespace {

struct Input {
  const uint8_t* data;
  size_t size;
  uint8_t Byte() {
    if (size == 0) return 0;
    --size;
    return *data++;
  }
  std::string_view Bytes(size_t count) {
    count = std::min(count, size);
    const std::string_view bytes(reinterpret_cast<const char*>(data), count);
    data += count;
    size -= count;
    return bytes;
  }
};

struct Client final : public origin::SocketObserver {
  void OnResponse(const ResponseHead& head) override {
    for (const Field field : head.fields) CATZILLA_CHECK(!field.name.empty(), "checked fields");
    MaybeLeave();
  }
  void OnInformational(const ResponseHead&) override { MaybeLeave(); }
  void OnData(std::string_view bytes) override {
    held += bytes.size();
    MaybeLeave();
  }
  void OnBodyRoom() override { MaybeLeave(); }
  void OnAccept(const ResponseHead&) override {
    accepted = true;
    MaybeLeave();
  }
  void OnMessage(origin::MessageKind, std::string_view bytes, bool) override {
    CATZILLA_CHECK(accepted, "messages come behind an accept");
    held += bytes.size() + origin::kPieceOverhead;
    MaybeLeave();
  }
  void OnClose(uint32_t, std::string_view reason) override {
    CATZILLA_CHECK(reason.size() <= kCloseReasonMax, "a reason is short");
    MaybeLeave();
  }
  void OnGoingAway(uint16_t, int64_t) override {}
  void OnEnd() override { Gone(); }
  void OnFailure(const origin::Failure&) override { Gone(); }
  void Gone() {
    CATZILLA_CHECK(call != nullptr, "one last event, and none after it");
    call = nullptr;
    held = 0;
  }
  // Some clients leave from inside an event.
  void MaybeLeave() {
    CATZILLA_CHECK(call != nullptr, "no event after the last");
    if (leaves) Leave();
  }
  void Leave() {
    if (accepted) {
      call->SendClose(1006, "");
    } else {
      call->Cancel(CancelCode::kClientGone);
    }
    call = nullptr;
    held = 0;
  }
  Call* call = nullptr;
  size_t held = 0;
  bool leaves = false;
  bool accepted = false;
};

struct World {
  World()
      : wheel(loop),
        registry(Options()),
        dispatcher(loop, wheel, registry),
        acceptor(loop, registry, {"/nonexistent", 0600, {}}) {
    config::Pool config;
    config.name = "app";
    config.credits_per_worker = 3;
    config.queue_max = 3;
    pool = registry.Configure(config);
    ticket = *registry.BeginGeneration("app", std::string(kTableHashBytes, 'h'), 1);
    generation = pool->Publish(ticket.generation.number);
    registry.Settle({{"app", ticket.generation.number}});
  }
  ~World() {
    for (int fd : fds) {
      if (fd >= 0) ::close(fd);
    }
    Pump();
    for (Client& client : clients) {
      if (client.call != nullptr) client.call->Cancel(CancelCode::kClientGone);
      client.call = nullptr;
    }
    Pump();
    CATZILLA_CHECK(pool->Status().in_flight == 0, "every credit comes back");
    CATZILLA_CHECK(pool->Status().queued == 0, "nobody waits");
    CATZILLA_CHECK(pool->Status().sockets == 0, "every socket is counted off");
    CATZILLA_CHECK(dispatcher.calls_in_use() == 0, "every call is over");
    CATZILLA_CHECK(pool->Status().workers.empty(), "every worker is forgotten");
    dispatcher.Close();
    acceptor.Close();
    wheel.Close();
    loop.DrainHandles();
  }
  static RegistryOptions Options() {
    RegistryOptions options;
    options.stream_window = 8 * 1024;
    return options;
  }
  void Pump() {
    loop.EnterTurn();
    for (int i = 0; i < 6; ++i) loop.RunOnce(false);
  }
  int Connect(Purpose purpose) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) return -1;
    Hello hello;
    const std::string hash(kTableHashBytes, 'h');
    hello.purpose = purpose;
    hello.lane_kind = purpose == Purpose::kLane ? LaneKind::kEventLoop : LaneKind::kNone;
    hello.token = ticket.token;
    hello.epoch = ticket.generation.epoch;
    hello.generation = ticket.generation.number;
    hello.table_hash = hash;
    hello.pid = pid;
    hello.in_flight_max = 3;
    hello.stream_window = 4096;
    hello.connection_window = 6000;
    hello.head_bytes_max = 1024 * 1024;
    hello.data_bytes_max = 64 * 1024;
    hello.capabilities = kCapabilities;
    hello.pool = "app";
    std::string payload, frame;
    EncodeHello(hello, &payload);
    AppendFrame({0, FrameType::kHello, 0, 0, 0}, payload, &frame);
    (void)!::send(pair[1], frame.data(), frame.size(), MSG_NOSIGNAL);
    acceptor.Adopt(pair[0]);
    Pump();
    return pair[1];
  }
  // Sockets 0 and 1 are the first worker's control and lane, 2 and 3 the second's.
  void Attach(int worker) {
    for (int i = 0; i < 2; ++i) {
      int& fd = fds[static_cast<size_t>(worker * 2 + i)];
      if (fd >= 0) ::close(fd);
      fd = -1;
    }
    Pump();
    ++pid;
    fds[static_cast<size_t>(worker * 2)] = Connect(Purpose::kControl);
    fds[static_cast<size_t>(worker * 2 + 1)] = Connect(Purpose::kLane);
  }

  loop::Loop loop;
  loop::Wheel wheel;
  Registry registry;
  std::shared_ptr<Pool> pool;
  Registry::Ticket ticket;
  base::Ref<Generation> generation;
  Dispatcher dispatcher;
  Acceptor acceptor;
  std::array<int, 4> fds = {-1, -1, -1, -1};
  std::array<Client, 8> clients;
  uint32_t pid = 0;
};

void StartCall(World& world, Client& client, uint8_t kind) {
  static constexpr std::string_view kMethods[] = {"GET", "POST", "PUT", "BREW"};
  if (client.call != nullptr) return;
  RequestSpec spec;
  spec.method = kMethods[kind & 3];
  if (kind & 4) spec.body_mode = BodyMode::kStreaming;
  if (kind & 8) spec.flags = kExpectContinue;
  client.leaves = (kind & 16) != 0;
  client.held = 0;
  client.accepted = false;
  origin::Failure failure;
  if (kind & 32) {
    spec.upgrade = true;
    spec.body_mode = BodyMode::kNone;
    client.call = world.dispatcher.StartSocket(spec, world.generation, client, &failure);
    return;
  }
  client.call = world.dispatcher.Start(spec, world.generation, client, &failure);
}

// A frame by the rules more often than chance would make one.
void WorkerFrame(World& world, Input& input) {
  static constexpr FrameType kTypes[] = {
      FrameType::kResponse, FrameType::kResponseData,  FrameType::kEnd,    FrameType::kWindow,
      FrameType::kCredit,   FrameType::kDetached,      FrameType::kGoaway, FrameType::kTrailers,
      FrameType::kPing,     FrameType::kInformational, FrameType::kStats,  FrameType::kPong,
      FrameType::kDump,

      FrameType::kWsAccept, FrameType::kWsMessage,     FrameType::kWsClose};
  const int fd = world.fds[input.Byte() & 3];
  const uint8_t choice = input.Byte();
  FrameHeader header;
  header.type = choice < 240 ? kTypes[choice % std::size(kTypes)] : static_cast<FrameType>(choice);
  const uint8_t flags = input.Byte();
  header.flags = flags & 1;
  header.stream = input.Byte() & 31;
  header.aux = input.Byte();
  if (flags & 2) header.aux <<= 8;
  std::string payload;
  if (header.type == FrameType::kResponse && (flags & 4) == 0) {
    std::string fields;
    AppendField("x", "y", &fields);
    ResponseView view;
    view.status = 200;
    view.flags = (flags & 8) ? kDetachedAnswer : 0;
    view.fields = FieldsView(fields);
    view.body = input.Bytes(flags >> 4);
    EncodeResponse(view, &payload);
  } else if (header.type == FrameType::kTrailers || header.type == FrameType::kInformational) {
    EncodeHead({103, {}}, &payload);
  } else if (header.type == FrameType::kWsAccept) {
    EncodeHead({101, {}}, &payload);
  } else if (header.type == FrameType::kResponseData && (flags & 16)) {
    payload.assign(size_t{header.aux} * 16 + 1, 'd');
    header.aux = 0;
  } else if (header.type == FrameType::kPing) {
    payload = "12345678";
  } else {
    payload = input.Bytes(flags >> 5);
  }
  std::string frame;
  AppendFrame(header, payload, &frame);
  if (fd >= 0) (void)!::send(fd, frame.data(), frame.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Step(World& world, Input& input) {
  const uint8_t op = input.Byte();
  Client& client = world.clients[(op >> 4) & 7];
  switch (op & 15) {
    case 0:
    case 1:
      return StartCall(world, client, input.Byte());
    case 2:
      if (client.call == nullptr) return;
      return client.Leave();
    case 3:
      if (client.call == nullptr) return;
      client.call->Consumed(std::exchange(client.held, client.held / 2) - client.held / 2);
      return;
    case 4:
      if (client.call == nullptr) return;
      if (client.accepted) {
        const size_t room = client.call->body_window();
        if (room == 0) return;
        client.call->SendMessage(origin::MessageKind::kText, std::string(room / 2, 'm'),
                                 (op & 128) != 0);
        return;
      }
      client.call->SendBody(std::string(client.call->body_window(), 'b'), (op & 128) != 0);
      return;
    case 5:
      return world.Attach(op >> 7);
    case 6: {
      int& fd = world.fds[(op >> 4) & 3];
      if (fd >= 0) ::close(fd);
      fd = -1;
      return;
    }
    case 7: {  // The worker reads.
      char sink[4096];
      for (int fd : world.fds) {
        while (fd >= 0 && ::recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0) {
        }
      }
      return;
    }
    case 8:
      return world.Pump();
    case 9: {  // Somebody asks where they stand, and does not wait.
      auto dump = std::make_shared<StackDump>("app", op >> 7);
      CATZILLA_CHECK(world.acceptor.PostDump(dump), "the loop takes questions");
      if ((op & 64) == 0) world.Pump();
      for (const auto& answer : dump->Wait(0)) {
        CATZILLA_CHECK(answer.error.empty() || answer.stacks.empty(), "one of both");
      }
      return;
    }
    default:
      return WorkerFrame(world, input);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 2000) return 0;
  Input input{data, size};
  World world;
  world.Attach(0);
  while (input.size > 0) {
    Step(world, input);
    if ((input.size & 3) == 0) world.Pump();
  }
  return 0;
}
