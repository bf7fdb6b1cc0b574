#include "sidecar/schema/compile.h"

#include <algorithm>
#include <cstdlib>
#include <unordered_map>

#include "sidecar/route/path_template.h"
#include "sidecar/schema/units.h"
#include "sidecar/schema/validate.h"

namespace catzilla::schema {
namespace {

class Compiler {
 public:
  Compiler(const Layers& layers, const Merged& merged, uint64_t memory_limit_bytes,
           const config::Snapshot* previous)
      : layers_(layers),
        merged_(merged),
        config_(merged.config),
        memory_(memory_limit_bytes),
        previous_(previous) {}

  std::shared_ptr<const config::Snapshot> Run(uint64_t version) {
    auto snapshot = std::make_shared<config::Snapshot>();
    snapshot->version = version;
    snapshot->server_name = config_.server_name();
    snapshot->development = config_.development();
    snapshot->drain = {Time(config_.drain().delay()), Time(config_.drain().timeout())};
    snapshot->telemetry = MakeTelemetry();
    snapshot->app_expected = config_.app().expected();
    for (const auto& one : config_.listeners())
      snapshot->listeners.push_back(Share(MakeListener(one), old_listeners_));
    for (const auto& one : config_.mounts())
      snapshot->mounts.push_back(Share(MakeMount(one), old_mounts_));
    for (const auto& one : config_.caches())
      snapshot->caches.push_back(Share(MakeCache(one), old_caches_));
    for (const auto& one : config_.pools())
      snapshot->pools.push_back(Share(MakePool(one), old_pools_));
    for (const auto& one : config_.routes())
      snapshot->routes.push_back(Share(MakeRoute(one), old_routes_));
    for (const auto& [name, app] : layers_.apps) AddAppRoutes(name, *app, snapshot.get());
    const config::Limits limits = MakeLimits();
    snapshot->limits = previous_ != nullptr && *previous_->limits == limits
                           ? previous_->limits
                           : std::make_shared<const config::Limits>(limits);
    snapshot->websockets = std::make_shared<const config::WebSockets>(MakeWebSockets());
    return snapshot;
  }

 private:
  template <typename T>
  using Index = std::unordered_map<std::string, std::shared_ptr<const T>>;

  template <typename T>
  static Index<T> ByName(const std::vector<std::shared_ptr<const T>>* resources) {
    Index<T> index;
    if (resources == nullptr) return index;
    for (const auto& resource : *resources) index.emplace(resource->name, resource);
    return index;
  }

  // The previous object if nothing in it has changed.
  template <typename T>
  static std::shared_ptr<const T> Share(T value, const Index<T>& old) {
    const auto found = old.find(value.name);
    if (found != old.end() && *found->second == value) return found->second;
    return std::make_shared<const T>(std::move(value));
  }

  static int64_t Time(const std::string& text) {
    auto parsed = ParseDuration(text);
    return parsed ? *parsed : 0;
  }
  uint64_t Size(const std::string& text) const {
    auto parsed = ParseSize(text, memory_);
    return parsed ? *parsed : 0;
  }
  config::Layer LayerOf(const std::string& section, const std::string& name) const {
    const auto found = merged_.sources.find(ResourcePath(section, name));
    return found == merged_.sources.end() ? config::Layer::kFile : found->second.layer;
  }
  static std::vector<std::string> Texts(
      const google::protobuf::RepeatedPtrField<std::string>& texts) {
    return {texts.begin(), texts.end()};
  }

  static config::Listener MakeListener(const config::v1::Listener& from) {
    config::Listener to;
    to.name = from.name();
    to.address = from.address();
    to.port = static_cast<uint16_t>(from.port());
    to.backlog = static_cast<int>(from.backlog());
    to.proxy_protocol = from.proxy_protocol();
    for (const std::string& text : from.trusted_proxies()) {
      config::AddressRange range;
      if (ParseRange(text, &range)) to.trusted_proxies.push_back(range);
    }
    return to;
  }

  config::Mount MakeMount(const config::v1::Mount& from) const {
    config::Mount to;
    to.name = from.name();
    to.source = LayerOf("mounts", from.name());
    to.host = NormalHost(from.host());
    to.prefix = NormalPrefix(from.prefix());
    to.root = from.root();
    to.index_files.clear();
    if (from.index_files_size() > 0) {
      to.index_files = Texts(from.index_files());
    } else if (!from.index_file().empty()) {
      to.index_files.push_back(from.index_file());
    }
    to.etags = from.etags();
    to.last_modified = from.last_modified();
    to.ranges = from.ranges();
    to.hidden_files = from.hidden_files();
    switch (from.symlinks()) {
      case config::v1::SYMLINKS_NEVER:
        to.symlinks = config::Symlinks::kNever;
        break;
      case config::v1::SYMLINKS_ANYWHERE:
        to.symlinks = config::Symlinks::kAnywhere;
        break;
      default:
        to.symlinks = config::Symlinks::kInside;
        break;
    }
    to.invalidation =
        from.invalidation() == config::v1::INVALIDATION_LAZY  ? config::Invalidation::kLazy
        : from.invalidation() == config::v1::INVALIDATION_TTL ? config::Invalidation::kTtl
                                                              : config::Invalidation::kImmediate;
    to.cache_control = from.cache_control();
    to.cache_file_bytes_max = Size(from.max_cached_file());
    to.revalidate_us = Time(from.revalidate());
    to.headers.assign(from.headers().begin(), from.headers().end());
    to.mime_types.assign(from.mime_types().begin(), from.mime_types().end());
    // protobuf's maps have no order; equal configurations must make equal mounts.
    std::sort(to.headers.begin(), to.headers.end());
    std::sort(to.mime_types.begin(), to.mime_types.end());
    ServingRules(from, &to);
    return to;
  }

  void ServingRules(const config::v1::Mount& from, config::Mount* to) const {
    if (from.directory_listing() == config::v1::DIRECTORY_LISTING_HTML) {
      to->directory_listing = config::DirectoryListing::kHtml;
    } else if (from.directory_listing() == config::v1::DIRECTORY_LISTING_JSON) {
      to->directory_listing = config::DirectoryListing::kJson;
    }
    to->spa_fallback = from.spa_fallback();
    to->fallback_pool = from.fallback_pool();
    to->internal = from.internal();
    to->allowed_extensions = Texts(from.allowed_extensions());
    to->blocked_extensions = Texts(from.blocked_extensions());
    to->blocked_patterns = Texts(from.blocked_patterns());
    to->file_bytes_max = Size(from.max_file_size());
    to->fingerprinted_immutable = from.fingerprinted() == config::v1::FINGERPRINTED_IMMUTABLE;
    to->charset = from.charset() == "off" ? "" : from.charset();
    for (const auto& rule : from.file_rules()) {
      config::FileRule& one = to->file_rules.emplace_back();
      one.match = Texts(rule.match());
      if (rule.has_cache_control()) one.cache_control = rule.cache_control();
      one.headers.assign(rule.headers().begin(), rule.headers().end());
      std::sort(one.headers.begin(), one.headers.end());
    }
    for (const auto& [status, file] : from.error_pages()) {
      to->error_pages.emplace_back(static_cast<uint16_t>(std::strtol(status.c_str(), nullptr, 10)),
                                   file);
    }
    std::sort(to->error_pages.begin(), to->error_pages.end());
    if (from.has_cache_memory()) to->cache_bytes_max = Size(from.cache_memory());
    to->cache_entries_max = from.cache_entries();
    to->rate_bytes_per_s = Size(from.rate_limit());
    to->preload = Texts(from.preload());
    to->precompressed = Texts(from.precompressed());
    to->gzip_level = static_cast<int>(from.gzip_level());
    to->gzip_bytes_min = Size(from.gzip_min_size());
    to->gzip_types = Texts(from.gzip_types());
  }

  config::Cache MakeCache(const config::v1::Cache& from) const {
    config::Cache to;
    to.name = from.name();
    to.source = LayerOf("caches", from.name());
    to.memory_bytes_max = Size(from.memory());
    to.object_bytes_max = Size(from.max_object());
    to.tags_per_object_max = from.max_tags_per_object();
    to.default_ttl_us = Time(from.default_ttl());
    to.fill_timeout_us = Time(from.fill_timeout());
    to.ignore_query = from.ignore_query();
    to.query_allow = Texts(from.query_allow());
    to.query_deny = Texts(from.query_deny());
    to.query_sort = from.query_sort();
    return to;
  }

  config::Upstream MakeUpstream(const config::v1::Upstream& from) const {
    config::Upstream to;
    for (const std::string& text : from.targets()) {
      auto endpoint = base::ParseEndpoint(text);
      if (endpoint.ok()) to.targets.push_back(std::move(*endpoint));
    }
    to.connections_max = from.max_connections();
    to.idle_max = from.max_idle_connections();
    to.idle_timeout_us = Time(from.idle_timeout());
    to.connect_timeout_us = Time(from.connect_timeout());
    to.read_timeout_us = Time(from.read_timeout());
    to.preserve_host = from.preserve_host();
    to.x_forwarded = from.x_forwarded();
    to.forwarded = from.forwarded();
    to.via = from.via();
    to.failures_max = from.max_failures();
    to.failure_backoff_us = Time(from.failure_backoff());
    to.slow_start_us = Time(from.slow_start());
    if (from.has_health_check()) {
      const config::v1::HealthCheck& check = from.health_check();
      to.health_check = {check.path(),          check.host(),    Time(check.interval()),
                         Time(check.timeout()), check.healthy(), check.unhealthy()};
    }
    return to;
  }

  config::Pool MakePool(const config::v1::Pool& from) const {
    config::Pool to;
    to.name = from.name();
    to.source = LayerOf("pools", from.name());
    to.queue_max = from.max_queue();
    to.queue_timeout_us = Time(from.queue_timeout());
    to.request_timeout_us = Time(from.request_timeout());
    to.hard_timeout_us = Time(from.hard_timeout());
    to.credits_per_worker = from.credits_per_worker();
    to.retry_after_s = static_cast<uint32_t>(Time(from.retry_after()) / 1'000'000);
    if (from.has_upstream()) to.upstream = MakeUpstream(from.upstream());
    to.sockets_max = from.max_websockets();
    const auto app = layers_.apps.find(from.name());
    if (app != layers_.apps.end()) {
      const auto& table = app->second->registration.table();
      to.unmatched = table.unmatched() == control::v1::UNMATCHED_SIDECAR
                         ? config::Unmatched::kSidecar
                         : config::Unmatched::kApp;
      to.redirect_slashes = table.redirect_slashes();
      to.generation = app->second->generation;
    }
    return to;
  }

  config::Route MakeRoute(const config::v1::Route& from) const {
    config::Route to;
    to.name = from.name();
    to.source = LayerOf("routes", from.name());
    to.host = NormalHost(from.host());
    to.methods = Texts(from.methods());
    to.path = from.path();
    to.label = from.path();
    to.pool = from.pool();
    to.cache = from.cache();
    to.cache_ttl_us = from.has_cache_ttl() ? Time(from.cache_ttl()) : -1;
    to.cache_tags = Texts(from.cache_tags());
    to.cache_ignores_cookies = from.cache_ignores_cookies();
    to.body_bytes_max = Size(from.max_body_size());
    to.request_timeout_us = Time(from.request_timeout());
    to.idempotent = from.idempotent();
    return to;
  }

  void AddAppRoutes(const std::string& name, const AppLayer& app,
                    config::Snapshot* snapshot) const {
    std::vector<const control::v1::AppRoute*> ordered;
    for (const auto& route : app.registration.table().routes()) ordered.push_back(&route);
    std::stable_sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) {
      return a->declaration_index() < b->declaration_index();
    });
    for (const auto* route : ordered)
      snapshot->routes.push_back(Share(MakeAppRoute(name, *route), old_routes_));
  }

  static config::RouteKind KindOf(control::v1::RouteKind kind) {
    switch (kind) {
      case control::v1::ROUTE_KIND_STARLETTE:
        return config::RouteKind::kStarlette;
      case control::v1::ROUTE_KIND_MOUNT:
        return config::RouteKind::kMount;
      case control::v1::ROUTE_KIND_FRONTEND:
        return config::RouteKind::kFrontend;
      case control::v1::ROUTE_KIND_WEBSOCKET:
        return config::RouteKind::kWebSocket;
      case control::v1::ROUTE_KIND_CATCH_ALL:
        return config::RouteKind::kCatchAll;
      default:
        return config::RouteKind::kApi;
    }
  }

  config::Route MakeAppRoute(const std::string& app, const control::v1::AppRoute& from) const {
    config::Route to;
    to.name = AppRouteName(app, from);
    to.source = config::Layer::kApp;
    to.kind = KindOf(from.kind());
    to.id = from.id();
    to.declaration_index = from.declaration_index();
    to.host = NormalHost(from.host());
    to.methods = Texts(from.methods());
    to.path = from.template_();
    to.label = from.label().empty() ? from.template_() : from.label();
    to.pool = app;
    to.body_bytes_max = from.has_max_body_size() ? from.max_body_size() : 0;
    to.request_timeout_us = Time(from.request_timeout());
    to.hard_timeout_us = Time(from.hard_timeout());
    to.idempotent = from.idempotent();
    to.cancel_on_disconnect = from.cancel_on_disconnect();
    to.low_priority = from.low_priority();
    if (!route::ParseTemplate(to.path).ok()) {
      // A convertor only the app knows: everything below the literal part is its own to match, so
      // nothing that the route says about its answers may be applied to them.
      to.path = to.path.substr(0, to.path.find('{'));
      to.path = to.path.substr(0, to.path.rfind('/') + 1) + "{rest:path}";
      to.kind = config::RouteKind::kCatchAll;
      to.id = 0;
      to.methods.clear();
      to.idempotent = false;
      return to;
    }
    if (from.has_cache()) {
      to.cache = from.cache().cache().empty() ? "default" : from.cache().cache();
      to.cache_ttl_us = from.cache().has_ttl() ? Time(from.cache().ttl()) : -1;
      to.cache_tags = Texts(from.cache().tags());
      to.cache_key = Texts(from.cache().key());
      to.cache_ignores_cookies = from.cache().ignores_cookies();
    }
    for (const auto& input : from.inputs()) {
      config::Input slot;
      slot.place = static_cast<config::InputPlace>(static_cast<int>(input.place()) - 1);
      slot.name = input.name();
      slot.multi = input.multi();
      slot.slot = static_cast<uint16_t>(input.slot());
      to.inputs.push_back(std::move(slot));
    }
    return to;
  }

  config::Limits MakeLimits() const {
    const auto& from = config_.limits();
    config::Limits to;
    to.request_line_bytes_max = static_cast<uint32_t>(Size(from.max_request_line()));
    to.header_bytes_max = static_cast<uint32_t>(Size(from.max_header_bytes()));
    to.header_count_max = from.max_headers();
    to.body_bytes_max = Size(from.max_body_size());
    to.connections_max = from.max_connections();
    to.connections_per_client_max = from.max_connections_per_client();
    to.pipeline_max = from.max_pipeline();
    to.header_timeout_us = Time(from.header_timeout());
    to.body_timeout_us = Time(from.body_timeout());
    to.body_rate_min = static_cast<uint32_t>(Size(from.min_body_rate()));
    to.write_timeout_us = Time(from.write_timeout());
    to.idle_timeout_us = Time(from.idle_timeout());
    to.requests_per_connection_max = from.max_requests_per_connection();
    to.file_cache_bytes_max = Size(from.file_cache_memory());
    to.response_header_bytes_max = static_cast<uint32_t>(Size(from.max_response_header()));
    to.file_timeout_us = Time(from.file_timeout());
    return to;
  }

  config::WebSockets MakeWebSockets() const {
    const auto& from = config_.websockets();
    config::WebSockets to;
    for (const std::string& origin : from.origins()) to.origins.push_back(NormalOrigin(origin));
    to.message_bytes_max = Size(from.max_message());
    to.ping_interval_us = Time(from.ping_interval());
    to.ping_timeout_us = Time(from.ping_timeout());
    to.close_timeout_us = Time(from.close_timeout());
    to.compression = from.compression();
    return to;
  }

  static std::string NormalOrigin(std::string origin) {
    std::transform(origin.begin(), origin.end(), origin.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return origin;
  }

  config::Telemetry MakeTelemetry() const {
    const auto& from = config_.telemetry();
    config::Telemetry to;
    to.access_log = from.access_log();
    to.access_log_ring_bytes = static_cast<uint32_t>(Size(from.access_log_buffer()));
    to.access_log_path = from.access_log_path();
    to.log_level = from.log_level();
    to.series_max = from.max_series();
    to.ops_address = from.ops_address();
    to.ops_port = static_cast<uint16_t>(from.ops_port());
    return to;
  }

  const Layers& layers_;
  const Merged& merged_;
  const config::v1::Config& config_;
  const uint64_t memory_;
  const config::Snapshot* const previous_;
  const Index<config::Listener> old_listeners_ =
      ByName(previous_ ? &previous_->listeners : nullptr);
  const Index<config::Mount> old_mounts_ = ByName(previous_ ? &previous_->mounts : nullptr);
  const Index<config::Cache> old_caches_ = ByName(previous_ ? &previous_->caches : nullptr);
  const Index<config::Pool> old_pools_ = ByName(previous_ ? &previous_->pools : nullptr);
  const Index<config::Route> old_routes_ = ByName(previous_ ? &previous_->routes : nullptr);
};

}  // namespace

std::shared_ptr<const config::Snapshot> Compile(const Layers& layers, const Merged& merged,
                                                uint64_t version, uint64_t memory_limit_bytes,
                                                const config::Snapshot* previous) {
  return Compiler(layers, merged, memory_limit_bytes, previous).Run(version);
}

ControlSettings CompileControl(const config::v1::Config& config, const std::string& runtime_dir) {
  const auto& from = config.control();
  const std::string folder = from.runtime_dir().empty() ? runtime_dir : from.runtime_dir();
  ControlSettings to;
  to.socket = from.socket().empty() ? folder + "/control.sock" : from.socket();
  to.worker_socket = from.worker_socket().empty() ? folder + "/worker.sock" : from.worker_socket();
  to.socket_mode = static_cast<uint32_t>(std::strtoul(from.socket_mode().c_str(), nullptr, 8));
  to.socket_group = from.socket_group();
  to.tcp_address = from.tcp_address();
  to.tls_cert_file = from.tls().cert_file();
  to.tls_key_file = from.tls().key_file();
  to.tls_client_ca_file = from.tls().client_ca_file();
  to.token = from.token();
  to.tcp_role = from.tcp_role();
  to.roles.assign(from.roles().begin(), from.roles().end());
  to.state_dir = from.state_dir();
  return to;
}

}  // namespace catzilla::schema
