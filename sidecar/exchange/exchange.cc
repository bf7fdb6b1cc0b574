#include "sidecar/exchange/exchange.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/files/mount.h"
#include "sidecar/files/passed_file.h"
#include "sidecar/websocket/handshake.h"

namespace catzilla::exchange {

Exchange::~Exchange() { CATZILLA_CHECK(way_.index() == 0, "an exchange died on its way"); }

void Exchange::Begin(Context& context, Client& client, http::RequestHead& request, bool last) {
  context_ = &context;
  client_ = &client;
  request_ = &request;
  facts_.Begin(request, client.facts());
  body_ = {!request.has_body(), RequestBody::kSkippedMax};
  record_.Reset(context.now().monotonic_us);
  responder_.Begin(context, client, request, facts_, body_, record_, last);
  context.stats.requests.Add();
}

Next Exchange::Run() {
  Next next = Next::kMore;
  while (next == Next::kMore) next = Step();
  // The request's bytes lie in the loop's shared buffer: who waits takes its own.
  if (next == Next::kWait) HoldUntilSent();
  return next;
}

Next Exchange::Step() {
  if (FileWay* way = std::get_if<FileWay>(&way_)) return way->Step();
  if (FollowWay* way = std::get_if<FollowWay>(&way_)) return way->Step();
  if (CallWay* way = std::get_if<CallWay>(&way_)) return way->Step();
  if (UpgradeWay* way = std::get_if<UpgradeWay>(&way_)) return way->Step();
  if (!answered_) return Start();
  const bool over = body_.complete || responder_.closes() || record_.end == End::kClientClosed;
  return over ? Next::kDone : Next::kWait;
}

// The one look at the plan: afterwards the exchange holds what is its own.
Next Exchange::Start() {
  if (request_->is_asterisk()) {
    choice_.mount = nullptr;
    choice_.route = nullptr;
    choice_.stats = context_->plan->unmatched.get();
    choice_.as_fastapi = false;
    return Refuse({204});
  }
  const std::string_view path = facts_.DecodePath();
  Choose(*context_->plan,
         {request_->host(), request_->method_text(), path, facts_.path_flags(),
          websocket::AsksForSocket(*request_)},
         facts_.clean_storage(), &choice_);
  facts_.set_path(choice_.path);
  switch (choice_.kind) {
    case Choice::Kind::kMount:
      // A file may have to be waited for, and a body waits for nobody.
      if (HasFallback() && request_->has_body()) return FallBack();
      record_.served = Served::kFile;
      return way_.emplace<FileWay>(*this, *choice_.mount).Start();
    case Choice::Kind::kRoute:
      return StartRoute();
    case Choice::Kind::kRefusal:
      break;
  }
  return RefuseChosen();
}

Next Exchange::RefuseChosen() {
  if (choice_.mount != nullptr) {
    record_.served = Served::kFile;
    choice_.mount->files->CountResult(choice_.status, context_->index());
  } else if (choice_.status == 503 && choice_.route != nullptr) {
    record_.served = Served::kWorker;
  }
  if (choice_.status != 405) return Refuse({choice_.status, choice_.cause});
  const std::string allow =
      "Allow: " + context_->plan->router.Allow(request_->host(), facts_.path()) + "\r\n";
  return Refuse({405, choice_.cause, allow});
}

Next Exchange::FallBack() {
  const std::shared_ptr<const RouteTarget> fallback = choice_.mount->fallback;
  way_.emplace<std::monostate>();
  held_ = fallback;
  ChooseFallback(*fallback, &choice_);
  return choice_.kind == Choice::Kind::kRoute ? StartRoute() : RefuseChosen();
}

Next Exchange::StartRoute() {
  record_.served = Served::kWorker;
  if (choice_.is_socket) {
    way_.emplace<UpgradeWay>(*this);
    return Next::kMore;
  }
  // An app enforces its own limit, in its own words; an operator's is enforced here.
  const config::Route& route = *choice_.route->config;
  const uint64_t general = context_->plan->snapshot->limits->body_bytes_max;
  const bool own = route.body_bytes_max > 0 && route.source != config::Layer::kApp;
  body_.bytes_max = own ? route.body_bytes_max : std::max(route.body_bytes_max, general);
  if (request_->content_length() > body_.bytes_max) return Refuse({413, "body_too_large"});
  if (choice_.matched && choice_.route->cache != nullptr) return LookUp();
  way_.emplace<CallWay>(*this);
  return Next::kMore;
}

// The ends of ways...

Next Exchange::Answered() {
  answered_ = true;
  responder_.ForgetRoom();
  if (const UpgradeWay* way = std::get_if<UpgradeWay>(&way_)) {
    refused_client_ = way->refused_client();
  }
  way_.emplace<std::monostate>();
  return Next::kMore;
}

Next Exchange::Refuse(const Refusal& refusal) {
  record_.cause = refusal.cause;
  responder_.Refuse(refusal, choice_.as_fastapi);
  if (!body_.complete) {
    // What is promised to be skipped is, whatever the route would have taken.
    if (!responder_.closes()) body_.bytes_max = RequestBody::kSkippedMax;
    client_->SetBodyReading(true);
  }
  return Answered();
}

Next Exchange::RefuseFailed(const origin::Failure& failure) {
  record_.detail = failure.cause;
  const std::string_view cause = origin::FailureName(failure.kind);
  if (responder_.head_written()) return BreakOffAnswer(cause);
  return Refuse(
      {origin::StatusOf(failure.kind), cause, "", std::max<uint32_t>(failure.retry_after_s, 1)});
}

Next Exchange::BreakOffAnswer(std::string_view cause) {
  record_.cause = cause;
  record_.end = End::kBroken;
  return Answered();
}

origin::Observer& Exchange::TakeOver(origin::Call* call, base::Ticket driver) {
  tells_forward_ = true;
  return way_.emplace<CallWay>(*this, call, driver);
}

Next Exchange::GoAlone() {
  tells_forward_ = true;
  way_.emplace<CallWay>(*this);
  return Next::kMore;
}

std::string_view Exchange::SendPassedFile(origin::PassedFile passed) {
  std::string_view error;
  const base::Ref<files::PassedFile> file =
      context_->passed_files != nullptr
          ? context_->passed_files->Take(std::move(passed.fd), passed.offset, passed.length, &error)
          : files::PassedFile::Take(std::move(passed.fd), passed.offset, passed.length, &error);
  if (file == nullptr) return error;
  passed_file_ = true;
  responder_.File({file->fd(), passed.offset, passed.length}, file);
  return {};
}

void Exchange::HandOver(std::unique_ptr<HandedFile> file) {
  HoldUntilSent();
  // A body that is not there yet is not waited for, as behind any other answer of an app.
  if (!body_.complete) responder_.Close();
  handed_mount_ = file->mount;
  way_.emplace<FileWay>(*this, std::move(file));
  client_->WakeExchange();
}

const MountTarget* Exchange::file_mount() const {
  return handed_mount_ != nullptr ? handed_mount_.get() : choice_.mount;
}

Next Exchange::RouteAnew(std::string body) {
  way_.emplace<std::monostate>();
  held_.reset();
  tells_forward_ = false;
  record_.Reset(record_.started_us);
  client_->SetBodyReading(true);  // Until who is to have it says otherwise.
  const Next next = Start();
  if (CallWay* way = std::get_if<CallWay>(&way_)) way->RequestBody(body);
  return next;
}

// What happens meanwhile...

void Exchange::OnRequestBody(std::string_view bytes) {
  if (CallWay* way = std::get_if<CallWay>(&way_)) way->RequestBody(bytes);
}

void Exchange::OnRequestEnd() {
  body_.complete = true;
  if (CallWay* way = std::get_if<CallWay>(&way_)) way->RequestEnd();
}

void Exchange::FailRequest(uint16_t status) {
  responder_.Close();
  if (answered_) return;
  if (CallWay* way = std::get_if<CallWay>(&way_)) way->Cancel(origin::CancelCode::kClientGone);
  if (responder_.head_written()) {
    BreakOffAnswer(record_.cause);
  } else {
    Refuse({status, "request_body"});
  }
}

void Exchange::OnOpened(files::OpenResult result) {
  is_reading_ = false;
  if (FileWay* way = std::get_if<FileWay>(&way_)) way->Opened(std::move(result));
  client_->WakeExchange();
}

void Exchange::HoldUntilSent() {
  facts_.Pin();
  if (held_ == nullptr) held_ = choice_.Owner();
}

bool Exchange::ReadAhead(const base::Ref<base::Owner>& entry, uint64_t offset, uint64_t bytes) {
  HoldUntilSent();
  const files::Waiter waiter{&context_->open_sink, ticket_};
  if (passed_file_) {
    return is_reading_ = context_->passed_files != nullptr &&
                         context_->passed_files->ReadAhead(entry, offset, bytes, waiter);
  }
  const MountTarget* mount = file_mount();
  is_reading_ =
      mount != nullptr && mount->files->ReadAhead(entry, offset, bytes, waiter, context_->index());
  return is_reading_;
}

void Exchange::OnReadError(int error) { record_.cause = strerrorname_np(error); }

void Exchange::BreakOff(uint64_t unsent, bool truncated) {
  record_.body_bytes -= std::min(unsent, record_.body_bytes);
  record_.end = truncated ? End::kBroken : End::kClientClosed;
  if (!truncated) return;
  if (record_.cause.empty()) record_.cause = "file_changed";
  if (const MountTarget* mount = file_mount()) {
    mount->files->stats().Add(context_->index(), files::Counter::kTruncated);
  }
}

void Exchange::Abandon(uint64_t unsent) {
  record_.body_bytes -= std::min(unsent, record_.body_bytes);
  if (answered_) return;
  if (CallWay* way = std::get_if<CallWay>(&way_)) way->Cancel(origin::CancelCode::kClientGone);
  if (UpgradeWay* way = std::get_if<UpgradeWay>(&way_)) {
    way->Cancel(origin::CancelCode::kClientGone);
  }
  record_.end = End::kClientClosed;
  if (record_.status == 0) record_.status = 499;
  Answered();
}

Outcome Exchange::Finish() {
  Count(*context_, record_, request_->method_text(), *choice_.stats);
  if (context_->access_log != nullptr) {
    const RequestNames names{*request_, facts_.origin().client(), facts_.id()};
    Log(*context_, record_, names, choice_.stats->label());
  }
  const Outcome outcome = record_.end == End::kBroken ? Outcome::kBroken
                          : refused_client_           ? Outcome::kRefused
                          : responder_.closes()       ? Outcome::kClose
                                                      : Outcome::kKeepAlive;
  facts_.Reset();
  held_.reset();
  handed_mount_.reset();
  answered_ = is_reading_ = passed_file_ = tells_forward_ = refused_client_ = false;
  return outcome;
}

}  // namespace catzilla::exchange
