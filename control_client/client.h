// Calls to a sidecar's control plane, without showing gRPC: a translation unit that includes it
// takes very long to compile, so only client.cc does.
//
// Threads: one. Owns: the channel. Limits: every call ends after `timeout_ms`; a stream lasts until
//          the caller's function says stop or the sidecar ends it.
// Fails:   with an RpcError: a sentence with its remedy, the exit code, and the configuration's
//          diagnostics if that is what was refused.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "catzilla/control/v1/cache_service.pb.h"
#include "catzilla/control/v1/common.pb.h"
#include "catzilla/control/v1/config_service.pb.h"
#include "catzilla/control/v1/mount_service.pb.h"
#include "catzilla/control/v1/pool_service.pb.h"
#include "catzilla/control/v1/route_service.pb.h"
#include "catzilla/control/v1/sidecar_service.pb.h"
#include "catzilla/control/v1/stats_service.pb.h"
#include "control_client/exit_code.h"
#include "sidecar/base/result.h"

namespace catzilla::control_client {

namespace v1 = catzilla::control::v1;

struct RpcError {
  ExitCode exit_code = kFailure;
  std::string message;
  std::vector<v1::Diagnostic> diagnostics;
};

template <typename Response>
using RpcResult = base::Result<Response, RpcError>;

struct ClientOptions {
  std::string address;  // "unix:/run/catzilla/control.sock" or "host:port"
  std::string token;    // Bearer token for TCP.
  std::string ca_file;  // Speak TLS and trust this CA; with cert and key: mutual.
  std::string cert_file;
  std::string key_file;
  int64_t timeout_ms = 10'000;
};

class Client {
 public:
  explicit Client(ClientOptions options);
  ~Client();

  RpcResult<v1::StatusResponse> Status();
  RpcResult<v1::ExplainResponse> Explain(const v1::ExplainRequest& request);
  RpcResult<v1::MemoryResponse> Memory();
  RpcResult<v1::DrainResponse> Drain(const v1::DrainRequest& request);
  RpcResult<v1::ConfigServiceGetResponse> GetConfig(const v1::ConfigServiceGetRequest& request);
  RpcResult<v1::ValidateResponse> Validate(const v1::ValidateRequest& request);
  RpcResult<v1::ApplyResponse> Apply(const v1::ApplyRequest& request);
  RpcResult<v1::MountServiceCreateResponse> CreateMount(
      const v1::MountServiceCreateRequest& request);
  RpcResult<v1::MountServiceDeleteResponse> DeleteMount(
      const v1::MountServiceDeleteRequest& request);
  RpcResult<v1::MountServiceListResponse> ListMounts();
  RpcResult<v1::RouteServiceListResponse> ListRoutes(const v1::RouteServiceListRequest& request);
  RpcResult<v1::PoolServiceListResponse> ListPools(const v1::PoolServiceListRequest& request);
  RpcResult<v1::RestartResponse> RestartWorkers(const v1::RestartRequest& request);
  RpcResult<v1::DumpResponse> DumpWorkers(const v1::DumpRequest& request);
  RpcResult<v1::PurgeResponse> Purge(const v1::PurgeRequest& request);
  RpcResult<v1::LookupResponse> Lookup(const v1::LookupRequest& request);
  RpcResult<v1::CacheServiceStatsResponse> CacheStats(const v1::CacheServiceStatsRequest& request);
  RpcResult<v1::StatsServiceGetResponse> GetStats();
  // Calls `see` for each message until it returns false.
  RpcResult<base::Unit> WatchStats(const v1::StatsServiceWatchRequest& request,
                                   const std::function<bool(const v1::Stats&)>& see);

 private:
  struct Stubs;
  const ClientOptions options_;
  std::unique_ptr<Stubs> stubs_;
};

}  // namespace catzilla::control_client
