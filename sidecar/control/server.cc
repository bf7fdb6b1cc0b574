#include "sidecar/control/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/server_posix.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "sidecar/control/access.h"
#include "sidecar/control/config_service.h"
#include "sidecar/control/malformed.h"
#include "sidecar/control/registrar.h"
#include "sidecar/control/runtime_services.h"
#include "sidecar/control/socket.h"
#include "sidecar/schema/state_file.h"

namespace catzilla::control {
namespace {

using Started = base::Result<base::Unit, std::string>;

constexpr int kMessageBytesMax = 16 << 20;
constexpr int kStreamsPerConnectionMax = 64;
constexpr std::chrono::seconds kStopGrace{1};

base::Result<std::string, std::string> ReadPem(const std::string& path) {
  std::string text;
  if (!schema::ReadWholeFile(path, 1 << 20, &text)) {
    return base::Fail("control.tls: " + path + ": " + std::strerror(errno) +
                      " (let the sidecar's user read it)");
  }
  return text;
}

base::Result<std::shared_ptr<grpc::ServerCredentials>, std::string> MakeCredentials(
    const schema::ControlSettings& settings) {
  if (settings.tls_cert_file.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options;
  auto certificate = ReadPem(settings.tls_cert_file);
  if (!certificate) return base::Fail(certificate.error());
  auto key = ReadPem(settings.tls_key_file);
  if (!key) return base::Fail(key.error());
  options.pem_key_cert_pairs.push_back({*key, *certificate});
  if (!settings.tls_client_ca_file.empty()) {
    auto roots = ReadPem(settings.tls_client_ca_file);
    if (!roots) return base::Fail(roots.error());
    options.pem_root_certs = *roots;
    options.client_certificate_request = GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  return grpc::SslServerCredentials(options);
}

}  // namespace

struct ControlServer::Parts {
  Parts(ServerOptions given, schema::ConfigStore& given_store, Backend& given_backend)
      : options(std::move(given)),
        store(given_store),
        backend(given_backend),
        registrar({store, backend, options.wall_clock_us, options.monotonic_us, options.complain}) {
  }

  Started Build() {
    const schema::ControlSettings& settings = options.settings;
    AccessOptions allowed;
    allowed.own_uid = geteuid();
    allowed.socket_group = socket.group();
    allowed.roles = settings.roles;
    allowed.tcp_role = settings.tcp_role;
    if (!settings.token.empty()) {
      auto secret = ReadSecret(settings.token);
      if (!secret) return base::Fail(secret.error());
      allowed.tcp_token = *secret;
    }
    access = std::make_unique<Access>(std::move(allowed));
    guard = std::make_unique<Guard>(*access);
    services = MakeRuntimeServices(*guard, store, registrar, backend);
    services.push_back(MakeConfigService(*guard, store, backend));
    services.push_back(MakeMountService(*guard, store, backend));
    services.push_back(MakeRouteService(*guard, store, registrar));

    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(kMessageBytesMax);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnectionMax);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT,
                               0);  // Else a second daemon shares the port.
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
        interceptors;
    interceptors.push_back(MakeMalformedAnswers());
    builder.experimental().SetInterceptorCreators(std::move(interceptors));
    for (const auto& service : services) builder.RegisterService(service.get());
    if (!settings.tcp_address.empty()) {
      const bool open = settings.token.empty() && settings.tls_client_ca_file.empty();
      if (open)
        return base::Fail(std::string("control.tcp_address: needs tls.client_ca_file or token"));
      auto credentials = MakeCredentials(settings);
      if (!credentials) return base::Fail(credentials.error());
      builder.AddListeningPort(settings.tcp_address, *credentials, &tcp_port);
    }
    server = builder.BuildAndStart();
    if (server == nullptr || (!settings.tcp_address.empty() && tcp_port == 0)) {
      return base::Fail("control.tcp_address: cannot listen on " + settings.tcp_address +
                        " (is the port taken, or the address another machine's?)");
    }
    return base::Unit{};
  }

  void Accept(int fd, Credentials credentials) {
    if (!access->Add(fd, std::move(credentials))) {
      close(fd);
      return;
    }
    grpc::AddInsecureChannelFromFd(server.get(), fd);
  }

  const ServerOptions options;
  schema::ConfigStore& store;
  Backend& backend;
  Registrar registrar;
  ControlSocket socket;
  std::unique_ptr<Access> access;
  std::unique_ptr<Guard> guard;
  std::vector<std::unique_ptr<grpc::Service>> services;
  std::unique_ptr<grpc::Server> server;
  int tcp_port = 0;
};

ControlServer::ControlServer(ServerOptions options, schema::ConfigStore& store, Backend& backend)
    : parts_(std::make_unique<Parts>(std::move(options), store, backend)) {}

ControlServer::~ControlServer() { Stop(); }

Started ControlServer::Start() {
  const schema::ControlSettings& settings = parts_->options.settings;
  // The socket first: its lock says whether there is another daemon, before anything else is taken.
  Started opened =
      parts_->socket.Open({settings.socket, settings.socket_mode, settings.socket_group});
  if (!opened) return opened;
  Started built = parts_->Build();
  if (!built) {
    parts_->socket.Close();
    return built;
  }
  parts_->socket.Start(
      [this](int fd, Credentials credentials) { parts_->Accept(fd, std::move(credentials)); });
  return base::Unit{};
}

void ControlServer::OnPoolEvent(PoolEvent event) {
  parts_->registrar.OnPoolEvent(std::move(event));
}

void ControlServer::AnnounceDrain(const std::string& reason, int64_t timeout_us) {
  if (parts_->server != nullptr) parts_->server->GetHealthCheckService()->SetServingStatus(false);
  parts_->registrar.AnnounceDrain(reason, timeout_us);
}

void ControlServer::Stop() {
  parts_->socket.Close();
  if (parts_->server == nullptr) return;
  parts_->server->Shutdown(std::chrono::system_clock::now() + kStopGrace);
  parts_->server->Wait();
  parts_->server.reset();
}

int ControlServer::tcp_port() const { return parts_->tcp_port; }

}  // namespace catzilla::control
