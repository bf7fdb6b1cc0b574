// What every service shares: who asks, what they may, and how a refusal is sent.
//
// Threads: any. Internal to this room.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "sidecar/control/access.h"
#include "sidecar/control/backend.h"
#include "sidecar/control/registrar.h"
#include "sidecar/schema/store.h"

namespace catzilla::control {

// A status whose details are a google.rpc.Status with BadRequest and every typed Diagnostic.
grpc::Status MakeStatus(grpc::StatusCode code, const std::string& message,
                        const schema::Diagnostics& diagnostics = {});
grpc::Status MakeStatus(const Failure& failure);
grpc::Status MakeStatus(const Answer& answer);

class Guard {
 public:
  explicit Guard(const Access& access) : access_(access) {}

  // OK if the caller has the role.
  grpc::Status Check(const grpc::ServerContextBase& context, Role needed, Peer* peer) const;

  // Runs `answer(peer)`, which returns a Status, if the caller has the role.
  template <typename F>
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, Role needed,
                                  F answer) const {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    Peer peer;
    grpc::Status status = Check(*context, needed, &peer);
    if (status.ok()) status = answer(peer);
    reactor->Finish(status);
    return reactor;
  }

 private:
  const Access& access_;
};

// Waits until what was changed is what every client gets; if a loop is behind, the outcome says so.
void AwaitServed(Backend& backend, schema::Outcome* outcome);

void SetTime(int64_t wall_us, google::protobuf::Timestamp* out);
v1::Layer LayerOf(config::Layer layer);
void FillRejection(const schema::Rejection& from, v1::Rejection* to);
void FillInfo(const schema::Version& version, const std::string& path, v1::ResourceInfo* out);

}  // namespace catzilla::control
