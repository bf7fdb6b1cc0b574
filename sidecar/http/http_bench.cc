// What a request's head costs: parsing with llhttp, the checks and the analysis.

#include <benchmark/benchmark.h>

#include "sidecar/http/header_id.h"
#include "sidecar/http/request_parser.h"
#include "sidecar/http/response_head.h"
#include "sidecar/http/target.h"

namespace catzilla::http {
namespace {

constexpr std::string_view kWrk = "GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
constexpr std::string_view kBrowser =
    "GET /assets/app.4f3a.js?v=12 HTTP/1.1\r\n"
    "Host: shop.example.com\r\n"
    "Connection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/128.0.0.0 Safari/537.36\r\n"
    "sec-ch-ua-platform: \"Linux\"\r\n"
    "Accept: */*\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: no-cors\r\n"
    "Sec-Fetch-Dest: script\r\n"
    "Referer: https://shop.example.com/\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    "If-None-Match: \"5f2a-1c9b4\"\r\n\r\n";

void ParseWhole(benchmark::State& state, std::string_view text) {
  HeadBuffer buffer;
  RequestParser parser;
  const HeadLimits limits;
  for (auto _ : state) {
    parser.Begin(&buffer, limits);
    const RequestParser::Step step = parser.Next(text);
    if (step.event != RequestParser::Event::kHead) state.SkipWithError("refused");
    benchmark::DoNotOptimize(buffer.head().path());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK_CAPTURE(ParseWhole, wrk, kWrk);
BENCHMARK_CAPTURE(ParseWhole, browser, kBrowser);

void ParseInTwoReads(benchmark::State& state) {
  HeadBuffer buffer;
  RequestParser parser;
  for (auto _ : state) {
    parser.Begin(&buffer, HeadLimits());
    parser.Next(kBrowser.substr(0, 400));
    benchmark::DoNotOptimize(parser.Next(kBrowser.substr(400)));
  }
}
BENCHMARK(ParseInTwoReads);

void LookUpHeaderId(benchmark::State& state) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(FindHeaderId("Accept-Encoding"));
    benchmark::DoNotOptimize(FindHeaderId("sec-ch-ua-platform"));
  }
}
BENCHMARK(LookUpHeaderId);

void DecodePlainPath(benchmark::State& state) {
  std::string scratch;
  for (auto _ : state) benchmark::DoNotOptimize(DecodePath("/assets/app.4f3a.js", scratch));
}
BENCHMARK(DecodePlainPath);

void WriteHead(benchmark::State& state) {
  char buffer[512];
  DateCache date;
  int64_t now = 1'700'000'000;
  for (auto _ : state) {
    ResponseWriter writer(buffer, sizeof(buffer));
    writer.Status(200);
    writer.Date(date.Get(now));
    writer.Field("Content-Type", "application/json");
    writer.Field("Content-Length", 1234);
    writer.Connection(true, 1);
    benchmark::DoNotOptimize(writer.End());
  }
}
BENCHMARK(WriteHead);

}  // namespace
}  // namespace catzilla::http
