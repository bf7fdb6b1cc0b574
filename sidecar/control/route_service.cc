// RouteService: the registration stream is the lease. The decisions are the registrar's; this file
// moves messages.
#include <deque>

#include "catzilla/control/v1/route_service.grpc.pb.h"
#include "sidecar/control/runtime_services.h"
#include "sidecar/control/server.h"

namespace catzilla::control {
namespace {

using config::v1::ROLE_OPERATE;
using config::v1::ROLE_READ;
using config::v1::ROLE_REGISTER;

// Lock order: the registrar's mutex, then this one (Send and End are called under the registrar's);
// so the registrar is never called with mutex_ held.
class RegisterReactor final
    : public grpc::ServerBidiReactor<v1::RegisterRequest, v1::RegisterResponse>,
      public Session {
 public:
  RegisterReactor(grpc::CallbackServerContext* context, Registrar& registrar, Peer peer)
      : context_(context), registrar_(registrar), peer_(std::move(peer)) {
    StartRead(&request_);
  }

  // The app speaks...

  void OnReadDone(bool ok) override {
    if (!ok) {
      // It has closed its side: that is how a lease ends in peace.
      registrar_.OnClosed(*this);
      base::MutexLock lock(mutex_);
      FinishAfterWrites(grpc::Status::OK);
      return;
    }
    if (auto failure = registrar_.OnMessage(*this, peer_, request_)) {
      End(std::move(*failure));
      return;
    }
    base::MutexLock lock(mutex_);
    if (ended_) return;
    request_.Clear();
    StartRead(&request_);
  }

  void OnCancel() override {
    registrar_.OnClosed(*this);
    base::MutexLock lock(mutex_);
    FinishAfterWrites(grpc::Status::CANCELLED);
  }

  void OnDone() override {
    registrar_.OnClosed(*this);
    delete this;
  }

  // The sidecar answers...

  void Send(v1::RegisterResponse event) override {
    base::MutexLock lock(mutex_);
    if (ended_) return;
    if (events_.size() >= kStreamEventsMax) {
      // The peer does not read: a status would wait behind what it does not read.
      return context_->TryCancel();
    }
    events_.push_back(std::move(event));
    if (events_.size() == 1) StartWrite(&events_.front());
  }

  void End(Failure failure) override {
    base::MutexLock lock(mutex_);
    FinishAfterWrites(MakeStatus(failure));
  }

  void OnWriteDone(bool ok) override {
    base::MutexLock lock(mutex_);
    if (!events_.empty()) events_.pop_front();
    if (!ok) events_.clear();
    if (!events_.empty()) {
      StartWrite(&events_.front());
    } else if (ended_ && !finished_) {
      finished_ = true;
      Finish(status_);
    }
  }

 private:
  void FinishAfterWrites(grpc::Status status) CATZILLA_REQUIRES(mutex_) {
    if (ended_) return;
    ended_ = true;
    status_ = std::move(status);
    if (!events_.empty()) return;
    finished_ = true;
    Finish(status_);
  }

  grpc::CallbackServerContext* const context_;
  Registrar& registrar_;
  const Peer peer_;
  v1::RegisterRequest request_;  // Of the one read in flight.
  base::Mutex mutex_;
  std::deque<v1::RegisterResponse> events_
      CATZILLA_GUARDED_BY(mutex_);  // The first is being written.
  grpc::Status status_ CATZILLA_GUARDED_BY(mutex_);
  bool ended_ CATZILLA_GUARDED_BY(mutex_) = false;
  bool finished_ CATZILLA_GUARDED_BY(mutex_) = false;
};

class RefusedReactor final
    : public grpc::ServerBidiReactor<v1::RegisterRequest, v1::RegisterResponse> {
 public:
  explicit RefusedReactor(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

class RouteServiceImpl final : public v1::RouteService::CallbackService {
 public:
  RouteServiceImpl(const Guard& guard, schema::ConfigStore& store, Registrar& registrar)
      : guard_(guard), store_(store), registrar_(registrar) {}

  grpc::ServerBidiReactor<v1::RegisterRequest, v1::RegisterResponse>* Register(
      grpc::CallbackServerContext* context) override {
    Peer peer;
    const grpc::Status status = guard_.Check(*context, ROLE_REGISTER, &peer);
    if (!status.ok()) return new RefusedReactor(status);
    return new RegisterReactor(context, registrar_, std::move(peer));
  }

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const v1::RouteServiceListRequest* request,
                                 v1::RouteServiceListResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      const auto version = store_.Current();
      response->set_version(version->number);
      registrar_.Routes(request->pool(), *version, response);
      registrar_.List(response->mutable_registrations());
      return grpc::Status::OK;
    });
  }

  grpc::ServerUnaryReactor* Remove(grpc::CallbackServerContext* context,
                                   const v1::RemoveRequest* request,
                                   v1::RemoveResponse* response) override {
    return guard_.Unary(context, ROLE_OPERATE, [&](const Peer&) {
      if (auto failure = registrar_.Remove(request->app())) return MakeStatus(*failure);
      response->set_version(store_.Current()->number);
      return grpc::Status::OK;
    });
  }

 private:
  const Guard& guard_;
  schema::ConfigStore& store_;
  Registrar& registrar_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeRouteService(const Guard& guard, schema::ConfigStore& store,
                                                Registrar& registrar) {
  return std::make_unique<RouteServiceImpl>(guard, store, registrar);
}

}  // namespace catzilla::control
