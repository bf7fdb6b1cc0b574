#include "catzilla/control/v1/mount_service.grpc.pb.h"
#include "sidecar/control/config_service.h"

namespace catzilla::control {
namespace {

using config::v1::ROLE_OPERATE;
using config::v1::ROLE_READ;

// "/static/img" -> "static-img", "/" -> "root".
std::string NameOf(const std::string& prefix) {
  std::string name;
  for (const char c : prefix) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_';
    if (ok) {
      name += c;
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  while (name.ends_with('-')) name.pop_back();
  if (name.size() > 64) name.resize(64);
  return name.empty() ? "root" : name;
}

const config::v1::Mount* Find(const schema::Version& version, const std::string& name) {
  for (const auto& mount : version.merged.config.mounts()) {
    if (mount.name() == name) return &mount;
  }
  return nullptr;
}

bool FillState(const schema::Version& version, const std::string& name, v1::MountState* out) {
  const config::v1::Mount* mount = Find(version, name);
  if (mount == nullptr) return false;
  *out->mutable_mount() = *mount;
  FillInfo(version, schema::ResourcePath("mounts", name), out->mutable_info());
  return true;
}

grpc::Status Missing(const schema::Version& version, const std::string& name) {
  std::vector<std::string_view> names;
  for (const auto& mount : version.merged.config.mounts()) names.push_back(mount.name());
  const std::string_view close = schema::Closest(name, names);
  return grpc::Status(grpc::StatusCode::NOT_FOUND,
                      "no mount is named \"" + name + "\"" +
                          (close.empty() ? "" : " (did you mean " + std::string(close) + "?)"));
}

void Put(const config::v1::Mount& mount, schema::ApiLayer* layer) {
  for (auto& one : *layer->config.mutable_mounts()) {
    if (one.name() != mount.name()) continue;
    one = mount;
    return;
  }
  *layer->config.add_mounts() = mount;
}

class MountServiceImpl final : public v1::MountService::CallbackService {
 public:
  MountServiceImpl(const Guard& guard, schema::ConfigStore& store, Backend& backend)
      : guard_(guard), store_(store), backend_(backend) {}

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context,
                                   const v1::MountServiceCreateRequest* request,
                                   v1::MountServiceCreateResponse* response) override {
    return guard_.Unary(context, ROLE_OPERATE, [&](const Peer& peer) {
      config::v1::Mount mount = request->mount();
      if (mount.name().empty()) mount.set_name(NameOf(mount.prefix()));
      const auto check = [&](const schema::Version& version) {
        if (Find(version, mount.name()) == nullptr) return grpc::Status::OK;
        return grpc::Status(grpc::StatusCode::ALREADY_EXISTS,
                            "a mount named \"" + mount.name() +
                                "\" is served already (update it, or choose another name)");
      };
      return Change(
          peer, *request, mount.name(), check, [&](schema::ApiLayer* layer) { Put(mount, layer); },
          response);
    });
  }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context,
                                   const v1::MountServiceUpdateRequest* request,
                                   v1::MountServiceUpdateResponse* response) override {
    return guard_.Unary(context, ROLE_OPERATE, [&](const Peer& peer) {
      const auto check = [&](const schema::Version& version) {
        return Find(version, request->mount().name()) == nullptr
                   ? Missing(version, request->mount().name())
                   : grpc::Status::OK;
      };
      return Change(
          peer, *request, request->mount().name(), check,
          [&](schema::ApiLayer* layer) { Put(request->mount(), layer); }, response);
    });
  }

  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const v1::MountServiceDeleteRequest* request,
                                   v1::MountServiceDeleteResponse* response) override {
    return guard_.Unary(context, ROLE_OPERATE, [&](const Peer& peer) {
      const std::string path = schema::ResourcePath("mounts", request->name());
      bool of_file = false;
      const auto check = [&](const schema::Version& version) {
        const auto source = version.merged.sources.find(path);
        if (Find(version, request->name()) == nullptr) return Missing(version, request->name());
        if (source->second.layer == config::Layer::kApp) {
          return grpc::Status(
              grpc::StatusCode::FAILED_PRECONDITION,
              "\"" + request->name() + "\" belongs to " + source->second.origin +
                  " (remove it there; an operator's mount of that name or prefix would hide it)");
        }
        of_file = false;
        for (const auto& mount : version.layers.file->config.mounts())
          of_file |= mount.name() == request->name();
        return grpc::Status::OK;
      };
      const auto edit = [&](schema::ApiLayer* layer) {
        auto* mounts = layer->config.mutable_mounts();
        for (int i = mounts->size(); i-- > 0;) {
          if (mounts->Get(i).name() == request->name()) mounts->DeleteSubrange(i, 1);
        }
        if (of_file) layer->tombstones.insert(path);
      };
      return Change(peer, *request, request->name(), check, edit, response);
    });
  }

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context,
                                const v1::MountServiceGetRequest* request,
                                v1::MountServiceGetResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      const auto version = store_.Current();
      if (FillState(*version, request->name(), response->mutable_mount())) return grpc::Status::OK;
      return Missing(*version, request->name());
    });
  }

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const v1::MountServiceListRequest*,
                                 v1::MountServiceListResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      const auto version = store_.Current();
      response->set_version(version->number);
      for (const auto& mount : version->merged.config.mounts()) {
        FillState(*version, mount.name(), response->add_mounts());
      }
      return grpc::Status::OK;
    });
  }

 private:
  // Checks and edits one version; if another change came between, looks again.
  template <typename Request, typename Check, typename Edit, typename Response>
  grpc::Status Change(const Peer& peer, const Request& request, const std::string& name,
                      const Check& check, const Edit& edit, Response* response) {
    for (;;) {
      const auto version = store_.Current();
      const bool stale = request.has_if_version() && request.if_version() != version->number;
      if (!stale) {
        grpc::Status status = check(*version);
        if (!status.ok()) return status;
      }
      schema::ChangeOptions options;
      options.if_version = request.has_if_version() ? request.if_version() : version->number;
      options.dry_run = request.dry_run();
      options.origin = peer.name;
      schema::Outcome outcome = store_.ChangeApi(
          [&](const schema::Version&, schema::ApiLayer* layer) {
            edit(layer);
            layer->origins[schema::ResourcePath("mounts", name)] = peer.name;
            return schema::Diagnostics();
          },
          options);
      if (outcome.applied == schema::Applied::kConflict) {
        if (!request.has_if_version()) continue;
        return grpc::Status(grpc::StatusCode::ABORTED,
                            "if_version is " + std::to_string(request.if_version()) +
                                ", and the current version is " + std::to_string(outcome.version) +
                                " (get it again)");
      }
      if (!request.dry_run()) AwaitServed(backend_, &outcome);
      response->set_version(outcome.version);
      for (const auto& one : outcome.diagnostics) schema::ToProto(one, response->add_diagnostics());
      if (outcome.applied == schema::Applied::kRefused) {
        std::string why;
        for (const auto& one : outcome.diagnostics) {
          if (one.severity == schema::Severity::kError && why.empty())
            why = ": " + schema::Format(one);
        }
        return MakeStatus(grpc::StatusCode::INVALID_ARGUMENT, "the change is refused" + why,
                          outcome.diagnostics);
      }
      if constexpr (requires { response->mutable_mount(); }) {
        if (!request.dry_run()) FillState(*store_.Current(), name, response->mutable_mount());
      }
      return grpc::Status::OK;
    }
  }

  const Guard& guard_;
  schema::ConfigStore& store_;
  Backend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeMountService(const Guard& guard, schema::ConfigStore& store,
                                                Backend& backend) {
  return std::make_unique<MountServiceImpl>(guard, store, backend);
}

}  // namespace catzilla::control
