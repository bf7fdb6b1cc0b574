#include "control_client/client.h"

#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <sstream>
#include <utility>

#include "catzilla/control/v1/cache_service.grpc.pb.h"
#include "catzilla/control/v1/config_service.grpc.pb.h"
#include "catzilla/control/v1/mount_service.grpc.pb.h"
#include "catzilla/control/v1/pool_service.grpc.pb.h"
#include "catzilla/control/v1/route_service.grpc.pb.h"
#include "catzilla/control/v1/sidecar_service.grpc.pb.h"
#include "catzilla/control/v1/stats_service.grpc.pb.h"
#include "control_client/text_fields.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace catzilla::control_client {
namespace {

std::string ReadFile(const std::string& path) {
  if (path.empty()) return "";
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::shared_ptr<grpc::Channel> Connect(const ClientOptions& options) {
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!options.ca_file.empty()) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = ReadFile(options.ca_file);
    tls.pem_cert_chain = ReadFile(options.cert_file);
    tls.pem_private_key = ReadFile(options.key_file);
    credentials = grpc::SslCredentials(tls);
  }
  return grpc::CreateChannel(options.address, credentials);
}

// The diagnostics in the status's details. BadRequest tells the same for clients that do not know
// ours: it counts where there are none.
std::vector<v1::Diagnostic> DiagnosticsOf(const grpc::Status& status) {
  std::vector<v1::Diagnostic> diagnostics;
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return diagnostics;
  for (const google::protobuf::Any& any : details.details()) {
    v1::Diagnostic diagnostic;
    if (any.UnpackTo(&diagnostic)) diagnostics.push_back(std::move(diagnostic));
  }
  if (!diagnostics.empty()) return diagnostics;
  for (const google::protobuf::Any& any : details.details()) {
    google::rpc::BadRequest bad;
    if (!any.UnpackTo(&bad)) continue;
    for (const auto& violation : bad.field_violations()) {
      v1::Diagnostic field;
      field.set_severity(v1::SEVERITY_ERROR);
      field.set_path(violation.field());
      field.set_message(violation.description());
      diagnostics.push_back(std::move(field));
    }
  }
  return diagnostics;
}

std::string Unreachable(const grpc::Status& status, const ClientOptions& options) {
  const std::string why = status.error_message();
  if (why.find("certificate verify failed") != std::string::npos) {
    return options.address + " shows a certificate that " + options.ca_file +
           " has not signed (set --tls-ca to the CA of the sidecar's certificate)";
  }
  std::string hint = "is it running? set --address or CATZILLA_ADDRESS";
  const bool tcp = !options.address.starts_with("unix:");
  if (tcp && options.ca_file.empty()) {
    hint = "is it running? if it wants TLS, set --tls-ca, --tls-cert and --tls-key";
  } else if (tcp) {
    hint = "is it running with TLS, and is the client's certificate signed by its client_ca_file?";
  }
  return "no sidecar answers at " + options.address + ": " + why + " (" + hint + ")";
}

// 0: the socket may be opened, or it is not one.
int SocketError(const std::string& address) {
  if (!address.starts_with("unix:")) return 0;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string path = address.substr(5);
  if (path.size() >= sizeof(name.sun_path)) return ENAMETOOLONG;
  path.copy(name.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 0;
  const int error =
      connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0 ? 0 : errno;
  close(fd);
  return error;
}

RpcError ToError(const grpc::Status& status, const ClientOptions& options) {
  RpcError error;
  error.message = status.error_message();
  error.diagnostics = DiagnosticsOf(status);
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      error.exit_code = kUnreachable;
      error.message = Unreachable(status, options);
      if (SocketError(options.address) == EACCES) {
        error.exit_code = kDenied;
        error.message =
            options.address.substr(5) +
            " may not be opened by this user (run as the sidecar's user, or as a member "
            "of control.socket_group)";
      }
      break;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      error.exit_code = kTimeout;
      error.message =
          "no answer within " + std::to_string(options.timeout_ms) + " ms (raise --timeout)";
      break;
    case grpc::StatusCode::NOT_FOUND:
      error.exit_code = kNotFound;
      break;
    case grpc::StatusCode::ABORTED:
      error.exit_code = kVersionConflict;
      break;
    case grpc::StatusCode::INVALID_ARGUMENT:
      error.exit_code = error.diagnostics.empty() ? kFailure : kInvalidConfig;
      break;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      error.exit_code = kDenied;
      break;
    case grpc::StatusCode::UNIMPLEMENTED:
      error.message = "the sidecar does not know this call (older than catzillactl?): " +
                      status.error_message();
      break;
    default:
      break;
  }
  return error;
}

}  // namespace

struct Client::Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : cache(v1::CacheService::NewStub(channel)),
        config(v1::ConfigService::NewStub(channel)),
        mounts(v1::MountService::NewStub(channel)),
        pools(v1::PoolService::NewStub(channel)),
        routes(v1::RouteService::NewStub(channel)),
        sidecar(v1::SidecarService::NewStub(channel)),
        stats(v1::StatsService::NewStub(channel)) {}

  void Prepare(grpc::ClientContext& context, const ClientOptions& options, bool bounded) const {
    if (bounded) {
      context.set_deadline(std::chrono::system_clock::now() +
                           std::chrono::milliseconds(options.timeout_ms));
    }
    if (!options.token.empty()) {
      context.AddMetadata("authorization", "Bearer " + options.token);
    }
  }

  // What has to be right before anything is sent.
  static RpcResult<base::Unit> Check(const google::protobuf::Message& request) {
    if (auto wrong = FindTextNotUtf8(request)) {
      return base::Fail(RpcError{kUsage, *std::move(wrong), {}});
    }
    return base::Unit{};
  }

  // One unary call: `method` is a member of the stub.
  template <typename Response, typename Stub, typename Request>
  RpcResult<Response> Call(const ClientOptions& options, Stub& stub,
                           grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                        Response*),
                           const Request& request) const {
    if (auto checked = Check(request); !checked.ok()) return base::Fail(checked.error());
    grpc::ClientContext context;
    Prepare(context, options, true);
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return base::Fail(ToError(status, options));
    return response;
  }

  std::unique_ptr<v1::CacheService::Stub> cache;
  std::unique_ptr<v1::ConfigService::Stub> config;
  std::unique_ptr<v1::MountService::Stub> mounts;
  std::unique_ptr<v1::PoolService::Stub> pools;
  std::unique_ptr<v1::RouteService::Stub> routes;
  std::unique_ptr<v1::SidecarService::Stub> sidecar;
  std::unique_ptr<v1::StatsService::Stub> stats;
};

Client::Client(ClientOptions options)
    : options_(std::move(options)), stubs_(std::make_unique<Stubs>(Connect(options_))) {}
Client::~Client() = default;

#define CATZILLA_UNARY(Name, Request, Response, stub, Service, Method)                     \
  RpcResult<v1::Response> Client::Name(const v1::Request& request) {                       \
    return stubs_->Call<v1::Response>(options_, *stubs_->stub, &v1::Service::Stub::Method, \
                                      request);                                            \
  }
CATZILLA_UNARY(Explain, ExplainRequest, ExplainResponse, sidecar, SidecarService, Explain)
CATZILLA_UNARY(Drain, DrainRequest, DrainResponse, sidecar, SidecarService, Drain)
CATZILLA_UNARY(GetConfig, ConfigServiceGetRequest, ConfigServiceGetResponse, config, ConfigService,
               Get)
CATZILLA_UNARY(Validate, ValidateRequest, ValidateResponse, config, ConfigService, Validate)
CATZILLA_UNARY(Apply, ApplyRequest, ApplyResponse, config, ConfigService, Apply)
CATZILLA_UNARY(CreateMount, MountServiceCreateRequest, MountServiceCreateResponse, mounts,
               MountService, Create)
CATZILLA_UNARY(DeleteMount, MountServiceDeleteRequest, MountServiceDeleteResponse, mounts,
               MountService, Delete)
CATZILLA_UNARY(ListRoutes, RouteServiceListRequest, RouteServiceListResponse, routes, RouteService,
               List)
CATZILLA_UNARY(ListPools, PoolServiceListRequest, PoolServiceListResponse, pools, PoolService, List)
CATZILLA_UNARY(RestartWorkers, RestartRequest, RestartResponse, pools, PoolService, Restart)
CATZILLA_UNARY(DumpWorkers, DumpRequest, DumpResponse, pools, PoolService, Dump)
CATZILLA_UNARY(Purge, PurgeRequest, PurgeResponse, cache, CacheService, Purge)
CATZILLA_UNARY(Lookup, LookupRequest, LookupResponse, cache, CacheService, Lookup)
CATZILLA_UNARY(CacheStats, CacheServiceStatsRequest, CacheServiceStatsResponse, cache, CacheService,
               Stats)
#undef CATZILLA_UNARY

RpcResult<v1::StatusResponse> Client::Status() {
  return stubs_->Call<v1::StatusResponse>(options_, *stubs_->sidecar,
                                          &v1::SidecarService::Stub::Status, v1::StatusRequest());
}

RpcResult<v1::MemoryResponse> Client::Memory() {
  return stubs_->Call<v1::MemoryResponse>(options_, *stubs_->sidecar,
                                          &v1::SidecarService::Stub::Memory, v1::MemoryRequest());
}

RpcResult<v1::MountServiceListResponse> Client::ListMounts() {
  return stubs_->Call<v1::MountServiceListResponse>(
      options_, *stubs_->mounts, &v1::MountService::Stub::List, v1::MountServiceListRequest());
}

RpcResult<v1::StatsServiceGetResponse> Client::GetStats() {
  return stubs_->Call<v1::StatsServiceGetResponse>(
      options_, *stubs_->stats, &v1::StatsService::Stub::Get, v1::StatsServiceGetRequest());
}

RpcResult<base::Unit> Client::WatchStats(const v1::StatsServiceWatchRequest& request,
                                         const std::function<bool(const v1::Stats&)>& see) {
  if (auto checked = Stubs::Check(request); !checked.ok()) return checked;
  grpc::ClientContext context;
  stubs_->Prepare(context, options_, false);
  const auto reader = stubs_->stats->Watch(&context, request);
  v1::StatsServiceWatchResponse response;
  bool stopped = false;
  while (!stopped && reader->Read(&response)) stopped = !see(response.stats());
  if (stopped) context.TryCancel();
  const grpc::Status status = reader->Finish();
  if (!stopped && !status.ok()) return base::Fail(ToError(status, options_));
  return base::Unit{};
}

}  // namespace catzilla::control_client
