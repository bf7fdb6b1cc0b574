// What a hot file costs in this room: the lookup, the choice, the copy.
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "sidecar/files/mount.h"
#include "sidecar/http/request_parser.h"

namespace catzilla::files {
namespace {

class OneResult final : public OpenSink {
 public:
  void OnOpened(base::Ticket, OpenResult) override { told.store(true, std::memory_order_release); }
  std::atomic<bool> told{false};
};

void HotAnswer(benchmark::State& state) {
  char directory[] = "/tmp/catzilla-bench-XXXXXX";
  if (mkdtemp(directory) == nullptr) std::abort();
  std::ofstream(std::string(directory) + "/a.txt") << std::string(1024, 'a');

  base::EpochDomain domain;
  FileStore store(domain, {}, 42);
  base::Executor executor("files", 1, 16);
  auto config = std::make_shared<config::Mount>();
  config->prefix = "/static";
  config->root = directory;
  auto mount = std::make_shared<Mount>(
      config, Mount::Environment{store, executor, "catzilla", DetectResolveMethod()});
  const base::Now now = base::ReadClock();
  OneResult sink;
  if (mount->Open("/static/a.txt", now, {&sink, {1}}, 0) != Mount::Start::kPending) std::abort();
  while (!sink.told.load(std::memory_order_acquire)) std::this_thread::yield();

  http::HeadBuffer buffer;
  http::RequestParser parser;
  parser.Begin(&buffer, {});
  const std::string range = state.range(0) == 206 ? "Range: bytes=0-99\r\n" : "";
  const std::string request = "GET /static/a.txt HTTP/1.1\r\nHost: a\r\n" + range + "\r\n";
  parser.Next(request);
  AnswerScratch scratch;
  static char output[16 * 1024];
  {
    base::EpochDomain::Reader reader(domain);
    for (auto _ : state) {
      reader.Enter();
      const Mount::Lookup lookup = mount->Find("/static/a.txt", now, 0);
      const Answer answer =
          mount->Respond(*lookup.entry, buffer.head(), "/static/a.txt", now, scratch, 0);
      const std::string_view wire = answer.wire();
      std::memcpy(output, wire.data(), wire.size());
      benchmark::DoNotOptimize(output);
      reader.Leave();
    }
  }
  mount.reset();
  executor.Shutdown();
  std::filesystem::remove_all(directory);
}
BENCHMARK(HotAnswer)->Arg(200)->Arg(206);

}  // namespace
}  // namespace catzilla::files
