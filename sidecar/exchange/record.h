// What is known of a request when it has ended: the one source of counters and of the access log.
//
// Threads: the loop's. Owns: its texts, with their memory, from request to request.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sidecar/cache/cache_status.h"
#include "sidecar/exchange/client.h"
#include "sidecar/exchange/context.h"
#include "sidecar/http/request_head.h"

namespace catzilla::exchange {

// Who answered.
enum class Served : uint8_t { kSidecar, kFile, kCache, kWorker };

enum class End : uint8_t {
  kComplete,
  kBroken,        // The answer broke off: its source failed, or did not keep its word.
  kClientClosed,  // The client did not take all of it.
};

struct ExchangeRecord {
  uint16_t status = 0;  // 499: the client had gone before there was one, as nginx logs it.
  Served served = Served::kSidecar;
  End end = End::kComplete;
  cache::Forward forward = cache::Forward::kNone;  // Why it was not answered from the cache.
  uint64_t body_bytes = 0;
  int64_t started_us = 0;
  int64_t handler_us = -1;  // The app's own time; -1: none was told.
  // Of a WebSocket; `body_bytes` are those of its messages to the client.
  int64_t accepted_us = 0;  // 0: it became none.
  uint16_t close_code = 0;
  uint64_t sent_messages = 0;
  uint64_t received_messages = 0;
  uint64_t received_bytes = 0;
  std::string_view cause;  // A literal: what went wrong.
  std::string detail;      // What the app's worker said of it.

  void Reset(int64_t now_us);
};

// Who asked what, for the log; borrowed for the call.
struct RequestNames {
  const http::RequestHead& request;
  std::string_view client;
  std::string_view request_id;
};

// Counts it, for `route` too, and how long it took by the clock of turns: what is answered in the
// turn that it was asked in took none.
void Count(Context& context, const ExchangeRecord& record, std::string_view method,
           stats::RouteStats& route);
// Writes its line. REQUIRES: context.access_log.
void Log(Context& context, const ExchangeRecord& record, const RequestNames& names,
         std::string_view route);

// What never became a request: it has a status and whom it came from, no more.
void RecordRefusal(Context& context, const ClientFacts& facts, uint16_t status);

}  // namespace catzilla::exchange
