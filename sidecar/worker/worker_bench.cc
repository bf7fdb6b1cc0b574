// What one request costs on the link: the codec alone, and a round trip through real sockets and
// loops.
#include <benchmark/benchmark.h>
#include <sys/socket.h>

#include <string>
#include <thread>
#include <vector>

#include "sidecar/worker/acceptor.h"
#include "sidecar/worker/dispatcher.h"
#include "sidecar/worker/registry.h"

namespace catzilla::worker {
namespace {

const std::vector<Field>& BrowserFields() {
  static const std::vector<Field> kFields = {
      {"host", "shop.example"},
      {"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"},
      {"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
      {"accept-language", "en-US,en;q=0.5"},
      {"accept-encoding", "gzip, deflate, br, zstd"},
      {"cookie", "session=0123456789abcdef0123456789abcdef"},
  };
  return kFields;
}

RequestSpec Spec() {
  RequestSpec spec;
  spec.route_id = 3;
  spec.target = "/items/42?q=shoes";
  spec.path = "/items/42";
  spec.host = "shop.example";
  spec.client = "10.0.0.7";
  spec.server = "10.0.0.1";
  spec.request_id = "01J8X4Y7Z9ABCDEF";
  spec.fields = BrowserFields();
  return spec;
}

std::string Answer(uint32_t stream) {
  std::string fields, payload, frame;
  AppendField("content-type", "application/json", &fields);
  AppendField("content-length", "15", &fields);
  ResponseView view;
  view.status = 200;
  view.fields = FieldsView(fields);
  view.body = "{\"hello\":\"you\"}";
  EncodeResponse(view, &payload);
  AppendFrame({0, FrameType::kResponse, kFlagEnd, stream, 0}, payload, &frame);
  return frame;
}

void BM_EncodeRequest(benchmark::State& state) {
  const RequestSpec spec = Spec();
  std::string out;
  for (auto _ : state) {
    out.clear();
    EncodeRequest(spec, &out);
    benchmark::DoNotOptimize(out.data());
  }
  state.counters["bytes"] = static_cast<double>(out.size());
}
BENCHMARK(BM_EncodeRequest);

void BM_DecodeResponse(benchmark::State& state) {
  const std::string frame = Answer(1);
  const std::string_view payload = std::string_view(frame).substr(kFrameHeaderBytes);
  for (auto _ : state) {
    ResponseView view;
    bool sound = false;
    DecodeResponse(payload, &view, &sound);
    size_t bytes = 0;
    for (const Field field : view.fields) bytes += field.name.size() + field.value.size();
    benchmark::DoNotOptimize(bytes);
  }
}
BENCHMARK(BM_DecodeResponse);

struct Client final : public origin::Observer {
  void OnResponse(const ResponseHead&) override {}
  void OnInformational(const ResponseHead&) override {}
  void OnData(std::string_view) override {}
  void OnBodyRoom() override {}
  void OnEnd() override { ++*answered; }
  void OnFailure(const origin::Failure&) override { std::abort(); }
  int64_t* answered = nullptr;
};

// The worker answers in the same thread, so this is the CPU of the sidecar's side, the system calls
// of both sides, and a worker that does nothing.
void BM_RoundTrip(benchmark::State& state) {
  loop::Loop loop;
  loop::Wheel wheel(loop);
  Registry registry{RegistryOptions{}};
  Dispatcher dispatcher(loop, wheel, registry);
  Acceptor acceptor(loop, registry, {"/nonexistent", 0600, {}});
  config::Pool config;
  config.name = "app";
  config.credits_per_worker = 1024;
  auto pool = registry.Configure(config);
  const std::string hash(kTableHashBytes, 'h');
  const auto ticket = *registry.BeginGeneration("app", hash, 1);
  int lane = -1;
  for (Purpose purpose : {Purpose::kControl, Purpose::kLane}) {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0) std::abort();
    Hello hello;
    hello.purpose = purpose;
    hello.lane_kind = purpose == Purpose::kLane ? LaneKind::kEventLoop : LaneKind::kNone;
    hello.token = ticket.token;
    hello.epoch = ticket.generation.epoch;
    hello.generation = ticket.generation.number;
    hello.table_hash = hash;
    hello.in_flight_max = 1024;
    hello.stream_window = hello.connection_window = 1 << 20;
    hello.head_bytes_max = hello.data_bytes_max = 1 << 20;
    hello.pool = "app";
    std::string payload, frame;
    EncodeHello(hello, &payload);
    AppendFrame({0, FrameType::kHello, 0, 0, 0}, payload, &frame);
    if (::send(fds[1], frame.data(), frame.size(), 0) < 0) std::abort();
    acceptor.Adopt(fds[0]);
    for (int i = 0; i < 6; ++i) loop.RunOnce(false);
    lane = fds[1];
  }
  const auto generation = pool->Publish(ticket.generation.number);
  registry.Settle({{"app", ticket.generation.number}});
  FrameReader reader{FrameLimits{}};
  int64_t answered = 0;
  std::vector<Client> clients(static_cast<size_t>(state.range(0)));
  const RequestSpec spec = Spec();
  std::string answers;
  for (auto _ : state) {
    loop.EnterTurn();
    for (Client& client : clients) {
      client.answered = &answered;
      origin::Failure failure;
      if (dispatcher.Start(spec, generation, client, &failure) == nullptr) std::abort();
    }
    const int64_t wanted = answered + state.range(0);
    while (answered < wanted) {
      loop.RunOnce(false);
      size_t room = 0;
      char* space = reader.Space(&room);
      const ssize_t got = ::recv(lane, space, room, MSG_DONTWAIT);
      if (got > 0) reader.Commit(static_cast<size_t>(got));
      FrameView frame;
      answers.clear();
      while (reader.Next(&frame) == FrameReader::Step::kFrame) {
        if (frame.header.type == FrameType::kRequest) answers += Answer(frame.header.stream);
      }
      if (!answers.empty() && ::send(lane, answers.data(), answers.size(), 0) < 0) std::abort();
    }
  }
  state.SetItemsProcessed(answered);
  dispatcher.Close();
  acceptor.Close();
  wheel.Close();
  loop.DrainHandles();
}
BENCHMARK(BM_RoundTrip)->Arg(1)->Arg(8)->Arg(32)->Arg(128);

}  // namespace
}  // namespace catzilla::worker
