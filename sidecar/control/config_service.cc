#include "sidecar/control/config_service.h"

#include <algorithm>

#include "catzilla/control/v1/config_service.grpc.pb.h"
#include "sidecar/schema/file_source.h"

namespace catzilla::control {
namespace {

using config::v1::ROLE_ADMIN;
using config::v1::ROLE_READ;

// A configuration as it came: a message, or text that is read here.
struct Given {
  config::v1::Config config;
  schema::LineMap lines;
  schema::Diagnostics findings;
};

template <typename Request>
Given Read(const Request& request) {
  Given given;
  if (!request.has_text()) {
    given.config = request.config();
    return given;
  }
  schema::Document document = schema::ReadDocument(request.text(), request.file());
  given.config = std::move(document.config);
  given.lines = std::move(document.lines);
  given.findings = std::move(document.diagnostics);
  if (request.folder().starts_with('/')) schema::ResolvePaths(request.folder(), &given.config);
  return given;
}

template <typename Resources>
void Replace(const Resources& from, Resources* to) {
  for (const auto& resource : from) {
    auto* place = [&]() -> typename Resources::value_type* {
      for (auto& one : *to) {
        if (one.name() == resource.name()) return &one;
      }
      return to->Add();
    }();
    *place = resource;
  }
}

// Adds to a layer: resources by name, other blocks by field.
void MergeInto(config::v1::Config* layer, const config::v1::Config& given) {
  Replace(given.listeners(), layer->mutable_listeners());
  Replace(given.mounts(), layer->mutable_mounts());
  Replace(given.routes(), layer->mutable_routes());
  Replace(given.caches(), layer->mutable_caches());
  Replace(given.pools(), layer->mutable_pools());
  config::v1::Config rest = given;
  rest.clear_listeners();
  rest.clear_mounts();
  rest.clear_routes();
  rest.clear_caches();
  rest.clear_pools();
  if (rest.has_limits()) schema::Overlay(layer->mutable_limits(), rest.limits());
  if (rest.has_drain()) schema::Overlay(layer->mutable_drain(), rest.drain());
  if (rest.has_telemetry()) schema::Overlay(layer->mutable_telemetry(), rest.telemetry());
  if (rest.has_control()) schema::Overlay(layer->mutable_control(), rest.control());
  if (rest.has_app()) schema::Overlay(layer->mutable_app(), rest.app());
  if (rest.has_server_name()) layer->set_server_name(rest.server_name());
  if (rest.has_development()) layer->set_development(rest.development());
}

// Sends the newest version and refusal; a slow reader skips what lies between.
class WatchReactor final : public grpc::ServerWriteReactor<v1::ConfigServiceWatchResponse> {
 public:
  WatchReactor(schema::ConfigStore& store, bool with_config)
      : store_(store), with_config_(with_config) {
    subscription_ =
        store_.Subscribe([this](const schema::ConfigStore::Event& event) { OnEvent(event); });
    base::MutexLock lock(mutex_);
    if (version_ == nullptr) version_ = store_.Current();
    if (rejection_ == nullptr) rejection_ = store_.LastRejected();
    Next();
  }
  explicit WatchReactor(schema::ConfigStore& store, const grpc::Status& status)
      : store_(store), with_config_(false) {
    Finish(status);
  }

  void OnWriteDone(bool ok) override {
    base::MutexLock lock(mutex_);
    writing_ = false;
    if (ok) return Next();
    End();
  }
  void OnCancel() override {
    base::MutexLock lock(mutex_);
    End();
  }
  void OnDone() override {
    if (subscription_ != 0) store_.Unsubscribe(subscription_);
    delete this;
  }

 private:
  void OnEvent(const schema::ConfigStore::Event& event) {
    base::MutexLock lock(mutex_);
    if (event.version != nullptr) version_ = event.version;
    if (event.rejection != nullptr) rejection_ = event.rejection;
    Next();
  }

  void Next() CATZILLA_REQUIRES(mutex_) {
    if (writing_ || ended_) return;
    response_.Clear();
    if (version_ != nullptr) {
      v1::ConfigVersion* out = response_.mutable_version();
      out->set_version(version_->number);
      SetTime(version_->time_us, out->mutable_applied_at());
      out->set_layer(LayerOf(version_->layer));
      out->set_origin(version_->origin);
      if (with_config_) *out->mutable_config() = version_->merged.config;
      version_ = nullptr;
    } else if (rejection_ != nullptr) {
      FillRejection(*rejection_, response_.mutable_rejection());
      rejection_ = nullptr;
    } else {
      return;
    }
    writing_ = true;
    StartWrite(&response_);
  }

  void End() CATZILLA_REQUIRES(mutex_) {
    if (ended_) return;
    ended_ = true;
    Finish(grpc::Status::OK);
  }

  schema::ConfigStore& store_;
  const bool with_config_;
  int subscription_ = 0;
  base::Mutex mutex_;
  std::shared_ptr<const schema::Version> version_ CATZILLA_GUARDED_BY(mutex_);
  std::shared_ptr<const schema::Rejection> rejection_ CATZILLA_GUARDED_BY(mutex_);
  v1::ConfigServiceWatchResponse response_;
  bool writing_ CATZILLA_GUARDED_BY(mutex_) = false;
  bool ended_ CATZILLA_GUARDED_BY(mutex_) = false;
};

class ConfigServiceImpl final : public v1::ConfigService::CallbackService {
 public:
  ConfigServiceImpl(const Guard& guard, schema::ConfigStore& store, Backend& backend)
      : guard_(guard), store_(store), backend_(backend) {}

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context,
                                const v1::ConfigServiceGetRequest* request,
                                v1::ConfigServiceGetResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      const auto version = store_.Current();
      response->set_version(version->number);
      SetTime(version->time_us, response->mutable_applied_at());
      if (const auto rejection = store_.LastRejected()) {
        FillRejection(*rejection, response->mutable_last_rejected());
      }
      for (const auto& one : version->diagnostics)
        schema::ToProto(one, response->add_diagnostics());
      FillConfig(*version, request->layer(), response);
      return grpc::Status::OK;
    });
  }

  grpc::ServerUnaryReactor* Validate(grpc::CallbackServerContext* context,
                                     const v1::ValidateRequest* request,
                                     v1::ValidateResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      if (request->has_config() && request->has_text()) return BothGiven();
      Given given = Read(*request);
      const config::Layer layer =
          request->layer() == v1::LAYER_API ? config::Layer::kApi : config::Layer::kFile;
      schema::Diagnostics found = store_.Check(std::move(given.config), std::move(given.lines),
                                               std::move(given.findings), layer);
      for (auto& diagnostic : found) {
        if (diagnostic.line > 0 && diagnostic.file.empty()) diagnostic.file = request->file();
        schema::ToProto(diagnostic, response->add_diagnostics());
      }
      response->set_valid(!schema::HasErrors(found));
      return grpc::Status::OK;
    });
  }

  grpc::ServerUnaryReactor* Apply(grpc::CallbackServerContext* context,
                                  const v1::ApplyRequest* request,
                                  v1::ApplyResponse* response) override {
    return guard_.Unary(context, ROLE_ADMIN, [&](const Peer& peer) {
      if (request->has_config() && request->has_text()) return BothGiven();
      return ApplyAs(peer, *request, response);
    });
  }

  grpc::ServerWriteReactor<v1::ConfigServiceWatchResponse>* Watch(
      grpc::CallbackServerContext* context, const v1::ConfigServiceWatchRequest* request) override {
    Peer peer;
    const grpc::Status status = guard_.Check(*context, ROLE_READ, &peer);
    if (!status.ok()) return new WatchReactor(store_, status);
    return new WatchReactor(store_, request->with_config());
  }

 private:
  static grpc::Status BothGiven() {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                        "config and text are both given (send one of them)");
  }

  static void FillConfig(const schema::Version& version, v1::Layer layer,
                         v1::ConfigServiceGetResponse* response) {
    config::v1::Config* config = response->mutable_config();
    switch (layer) {
      case v1::LAYER_FILE:
        *config = version.layers.file->config;
        return;
      case v1::LAYER_API:
        *config = version.layers.api->config;
        for (const std::string& path : version.layers.api->tombstones)
          response->add_tombstones(path);
        return;
      case v1::LAYER_APP:
        for (const auto& [name, app] : version.layers.apps) {
          *config->add_pools() = app->registration.pool();
          config->mutable_pools(config->pools_size() - 1)->set_name(name);
          config->mutable_mounts()->MergeFrom(app->registration.mounts());
          config->mutable_caches()->MergeFrom(app->registration.caches());
        }
        schema::AddAppRoutes(version.layers, config);
        return;
      default:
        // Without the routes of apps: they have no names of their own, are in the order of their
        // declaration and need not be what a file can say. LAYER_APP and RouteService have them.
        *config = version.merged.config;
        break;
    }
    std::vector<std::string> paths;
    for (const auto& [path, source] : version.merged.sources) paths.push_back(path);
    std::sort(paths.begin(), paths.end());
    for (const std::string& path : paths) FillInfo(version, path, response->add_resources());
  }

  grpc::Status ApplyAs(const Peer& peer, const v1::ApplyRequest& request,
                       v1::ApplyResponse* response) {
    Given given = Read(request);
    schema::ChangeOptions options;
    if (request.has_if_version()) options.if_version = request.if_version();
    options.dry_run = request.dry_run();
    options.strict = request.strict();
    options.with_diff = true;
    options.origin = peer.name;
    schema::Outcome outcome = store_.ChangeApi(
        [&](const schema::Version&, schema::ApiLayer* layer) {
          if (request.merge()) {
            MergeInto(&layer->config, given.config);
            layer->tombstones.insert(request.tombstones().begin(), request.tombstones().end());
          } else {
            layer->config = given.config;
            layer->tombstones = {request.tombstones().begin(), request.tombstones().end()};
            layer->origins.clear();
          }
          for (const auto& [path, line] : given.lines) layer->origins[path] = peer.name;
          layer->lines = given.lines;
          return given.findings;
        },
        options);
    if (!request.dry_run()) AwaitServed(backend_, &outcome);
    response->set_version(outcome.version);
    response->set_changed(outcome.applied == schema::Applied::kChanged);
    response->set_diff(outcome.diff);
    for (auto& diagnostic : outcome.diagnostics) {
      if (diagnostic.line > 0 && diagnostic.file.empty()) diagnostic.file = request.file();
      schema::ToProto(diagnostic, response->add_diagnostics());
    }
    if (outcome.applied == schema::Applied::kConflict)
      return Conflict(request.if_version(), outcome.version);
    if (outcome.applied == schema::Applied::kRefused) {
      return MakeStatus(grpc::StatusCode::INVALID_ARGUMENT,
                        "the configuration is refused; what was served still is",
                        outcome.diagnostics);
    }
    return grpc::Status::OK;
  }

  static grpc::Status Conflict(uint64_t wanted, uint64_t current) {
    return grpc::Status(grpc::StatusCode::ABORTED,
                        "if_version is " + std::to_string(wanted) +
                            ", and the current version is " + std::to_string(current) +
                            " (get it again, and apply your change to it)");
  }

  const Guard& guard_;
  schema::ConfigStore& store_;
  Backend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeConfigService(const Guard& guard, schema::ConfigStore& store,
                                                 Backend& backend) {
  return std::make_unique<ConfigServiceImpl>(guard, store, backend);
}

}  // namespace catzilla::control
