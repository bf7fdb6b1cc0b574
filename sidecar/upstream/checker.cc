#include "sidecar/upstream/checker.h"

#include <utility>

#include "sidecar/upstream/agent.h"
#include "sidecar/upstream/registry.h"

namespace catzilla::upstream {
namespace {

constexpr int64_t kConnectIntervalUs = 1'000'000;
constexpr http::Field kOwnFields[] = {{"user-agent", "catzilla-sidecar/health-check"}};

}  // namespace

void Checker::Tick() {
  for (const auto& pool : agent_.registry().pools()) {
    const SetupRef setup = pool->setup();
    if (setup == nullptr) continue;
    if (!setup->upstream().health_check && pool->ever_ready()) continue;
    for (const auto& target : setup->targets) {
      if (target->addresses() == nullptr) continue;
      std::unique_ptr<Check>& check = checks_[target.get()];
      if (check == nullptr) check = std::make_unique<Check>(agent_, target);
      check->TickAt(setup);
    }
  }
  std::erase_if(checks_, [](const auto& entry) { return entry.second->is_over(); });
}

Checker::Check::~Check() {
  if (call_ != nullptr) call_->Cancel(origin::CancelCode::kUnwanted);
}

void Checker::Check::TickAt(const SetupRef& setup) {
  if (call_ != nullptr || agent_.now_us() < due_us_) return;
  setup_ = setup;
  const auto& check = setup_->upstream().health_check;
  Begin(check ? &*check : nullptr);
}

void Checker::Check::Begin(const config::HealthCheck* check) {
  connect_only_ = check == nullptr;
  origin::RequestSpec spec;
  const std::string authority = target_->endpoint().Authority();
  spec.host = authority;
  spec.fields = kOwnFields;
  spec.deadline_us = agent_.now_us() + setup_->upstream().connect_timeout_us;
  if (check != nullptr) {
    spec.target = check->path;
    if (!check->host.empty()) spec.host = check->host;
    spec.deadline_us = agent_.now_us() + check->timeout_us;
  }
  call_ = agent_.StartCheck(spec, setup_, target_, connect_only_, *this);
  if (call_ == nullptr) Done(false, "no connection");
}

void Checker::Check::Done(bool passed, std::string_view why) {
  const config::Upstream& config = setup_->upstream();
  const int64_t interval_us =
      config.health_check ? config.health_check->interval_us : kConnectIntervalUs;
  due_us_ = agent_.now_us() + interval_us;
  if (connect_only_) {
    if (!passed) target_->SetLastFailure(std::string(why));
  } else if (passed) {
    if (target_->CheckPassed(config, agent_.now_us())) agent_.TellBack(*setup_, *target_);
    agent_.ServeNext(setup_->pool);
  } else if (target_->CheckFailed(why, config)) {
    agent_.TellAway(*setup_, *target_, why);
  }
  setup_ = nullptr;
}

void Checker::Check::OnResponse(const origin::ResponseHead& head) {
  const bool passed = head.status >= 200 && head.status < 400;
  std::exchange(call_, nullptr)->Cancel(origin::CancelCode::kUnwanted);
  Done(passed, "the check was answered with " + std::to_string(head.status));
}

void Checker::Check::OnEnd() {
  call_ = nullptr;
  Done(true, "");
}

void Checker::Check::OnFailure(const origin::Failure& failure) {
  call_ = nullptr;
  Done(false, failure.cause);
}

}  // namespace catzilla::upstream
