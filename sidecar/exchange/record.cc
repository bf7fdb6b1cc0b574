#include "sidecar/exchange/record.h"

#include <cstdio>
#include <ctime>

#include "sidecar/stats/json_line.h"
#include "sidecar/stats/route_stats.h"

namespace catzilla::exchange {
namespace {

std::string_view ServedName(Served served) {
  switch (served) {
    case Served::kFile:
      return "file";
    case Served::kCache:
      return "cache";
    case Served::kWorker:
      return "worker";
    case Served::kSidecar:
      break;
  }
  return "sidecar";
}

// "2026-11-21T04:05:06.123456Z"
std::string_view FormatTime(int64_t wall_us, char (&out)[40]) {
  const std::time_t seconds = static_cast<std::time_t>(wall_us / 1'000'000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  const int length =
      std::snprintf(out, sizeof(out), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", parts.tm_year + 1900,
                    parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                    static_cast<int>(wall_us % 1'000'000));
  return {out, static_cast<size_t>(length)};
}

void Write(Context& context, stats::JsonLine& line) {
  if (context.access_log->Write(context.index(), line.Finish())) return;
  context.stats.access_dropped.Add();
}

}  // namespace

void ExchangeRecord::Reset(int64_t now_us) {
  status = 0;
  served = Served::kSidecar;
  end = End::kComplete;
  forward = cache::Forward::kNone;
  body_bytes = 0;
  started_us = now_us;
  handler_us = -1;
  accepted_us = 0;
  close_code = 0;
  sent_messages = received_messages = received_bytes = 0;
  cause = {};
  detail.clear();
}

void Count(Context& context, const ExchangeRecord& record, std::string_view method,
           stats::RouteStats& route) {
  // A WebSocket's is that of its handshake: it may have been open for days.
  const bool is_socket = record.accepted_us != 0;
  const int64_t duration_us =
      (is_socket ? record.accepted_us : context.now().monotonic_us) - record.started_us;
  if (record.status < 600) context.stats.responses[record.status].Add();
  context.stats.duration.Observe(duration_us);
  route.Count(context.index(), stats::MethodSlot(method), record.status, duration_us);
  if (!is_socket) return;
  context.stats.websockets_closed[stats::SocketCloseIndex(record.close_code)].Add();
}

void Log(Context& context, const ExchangeRecord& record, const RequestNames& names,
         std::string_view route) {
  char buffer[stats::AccessLog::kLineBytesMax];
  stats::JsonLine line(buffer, sizeof(buffer));
  char time[40];
  line.Text("time", FormatTime(context.now().wall_us, time));
  line.Text("client", names.client);
  line.Text("method", names.request.method_text());
  line.Text("host", names.request.authority());
  line.Text("target", names.request.target());
  line.Number("status", record.status);
  line.Number("bytes", static_cast<int64_t>(record.body_bytes));
  line.Seconds("duration", context.now().monotonic_us - record.started_us);
  line.Text("route", route);
  line.Text("served_by", ServedName(record.served));
  if (record.forward != cache::Forward::kNone) {
    line.Text("cache", cache::ForwardName(record.forward));
  }
  if (record.accepted_us != 0) {
    line.Number("close_code", record.close_code);
    line.Number("messages_received", static_cast<int64_t>(record.received_messages));
    line.Number("messages_sent", static_cast<int64_t>(record.sent_messages));
    line.Number("bytes_received", static_cast<int64_t>(record.received_bytes));
  }
  if (record.handler_us >= 0) line.Seconds("handler", record.handler_us);
  if (!record.cause.empty()) line.Text("cause", record.cause);
  if (!record.detail.empty()) line.Text("detail", record.detail);
  if (record.end != End::kComplete) {
    line.Text("end", record.end == End::kBroken ? "broken" : "client_closed");
  }
  if (!names.request_id.empty()) line.Text("request_id", names.request_id);
  if (const auto agent = names.request.Find(http::HeaderId::kUserAgent)) {
    line.Text("user_agent", *agent);
  }
  Write(context, line);
}

void RecordRefusal(Context& context, const ClientFacts& facts, uint16_t status) {
  context.stats.responses[status].Add();
  if (context.access_log == nullptr) return;
  char buffer[512];
  char time[40];
  stats::JsonLine line(buffer, sizeof(buffer));
  line.Text("time", FormatTime(context.now().wall_us, time));
  line.Text("client", facts.peer_text);
  line.Number("status", status);
  line.Text("served_by", "sidecar");
  line.Text("cause", status == 408 ? "header_timeout" : status == 503 ? "over_limit" : "malformed");
  Write(context, line);
}

}  // namespace catzilla::exchange
