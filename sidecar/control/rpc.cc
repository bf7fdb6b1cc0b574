#include "sidecar/control/rpc.h"

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace catzilla::control {

grpc::Status MakeStatus(grpc::StatusCode code, const std::string& message,
                        const schema::Diagnostics& diagnostics) {
  if (diagnostics.empty()) return grpc::Status(code, message);
  google::rpc::Status details;
  details.set_code(static_cast<int>(code));
  details.set_message(message);
  google::rpc::BadRequest bad;
  size_t room = 6000;  // gRPC sends details in a header; 8 KiB is what every client takes.
  for (const schema::Diagnostic& diagnostic : diagnostics) {
    if (diagnostic.severity != schema::Severity::kError) continue;
    v1::Diagnostic typed;
    schema::ToProto(diagnostic, &typed);
    const std::string text = schema::Format(diagnostic);
    const size_t bytes = text.size() + typed.ByteSizeLong() + 120;
    if (bytes > room) break;
    room -= bytes;
    auto* violation = bad.add_field_violations();
    violation->set_field(diagnostic.path);
    violation->set_description(text);
    details.add_details()->PackFrom(typed);
  }
  details.add_details()->PackFrom(bad);
  return grpc::Status(code, message, details.SerializeAsString());
}

grpc::Status MakeStatus(const Failure& failure) {
  return MakeStatus(static_cast<grpc::StatusCode>(failure.code), failure.message,
                    failure.diagnostics);
}

grpc::Status MakeStatus(const Answer& answer) {
  switch (answer.kind) {
    case Answer::Kind::kOk:
      return grpc::Status::OK;
    case Answer::Kind::kInvalid:
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, answer.message);
    case Answer::Kind::kNotFound:
      return grpc::Status(grpc::StatusCode::NOT_FOUND, answer.message);
    case Answer::Kind::kUnavailable:
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, answer.message);
  }
  return grpc::Status(grpc::StatusCode::INTERNAL, answer.message);
}

grpc::Status Guard::Check(const grpc::ServerContextBase& context, Role needed, Peer* peer) const {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("authorization");
  std::string_view authorization;
  if (found != metadata.end()) authorization = {found->second.data(), found->second.size()};
  *peer = access_.Identify(context.peer(), authorization);
  if (peer->role >= needed) return grpc::Status::OK;
  if (peer->role == config::v1::ROLE_UNSPECIFIED && !peer->name.starts_with("uid ")) {
    return grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                        "who asks is not known (over TCP send \"authorization: Bearer <token>\")");
  }
  return grpc::Status(grpc::StatusCode::PERMISSION_DENIED,
                      peer->name + " has the role " + std::string(RoleText(peer->role)) +
                          ", and this needs " + std::string(RoleText(needed)) +
                          " (grant it under control.roles)");
}

void AwaitServed(Backend& backend, schema::Outcome* outcome) {
  if (!outcome->ok() || backend.AwaitServed(outcome->version)) return;
  outcome->diagnostics.push_back({schema::Code::kNotServedYet, schema::Severity::kWarning, "", 0,
                                  "a loop of the sidecar does not serve this version yet",
                                  "`catzillactl status` and /livez show a loop that stands still",
                                  ""});
}

void SetTime(int64_t wall_us, google::protobuf::Timestamp* out) {
  out->set_seconds(wall_us / 1'000'000);
  out->set_nanos(static_cast<int32_t>(wall_us % 1'000'000) * 1000);
}

v1::Layer LayerOf(config::Layer layer) {
  return static_cast<v1::Layer>(static_cast<int>(layer) + 1);
}

void FillRejection(const schema::Rejection& from, v1::Rejection* to) {
  SetTime(from.time_us, to->mutable_time());
  to->set_layer(LayerOf(from.layer));
  to->set_origin(from.origin);
  for (const schema::Diagnostic& diagnostic : from.diagnostics)
    schema::ToProto(diagnostic, to->add_diagnostics());
}

void FillInfo(const schema::Version& version, const std::string& path, v1::ResourceInfo* out) {
  out->set_path(path);
  const auto source = version.merged.sources.find(path);
  if (source != version.merged.sources.end()) {
    out->set_layer(LayerOf(source->second.layer));
    out->set_origin(source->second.origin);
  }
  const auto stamp = version.stamps.find(path);
  if (stamp == version.stamps.end()) return;
  out->set_version(stamp->second.version);
  SetTime(stamp->second.time_us, out->mutable_time());
}

}  // namespace catzilla::control
