#include "sidecar/upstream/target.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

namespace catzilla::upstream {
namespace {

constexpr double kFirstShare = 0.1;

Address UnixAddress(const std::string& path) {
  Address address;
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, path.data(), std::min(path.size(), sizeof(un.sun_path) - 1));
  std::memcpy(&address.storage, &un, sizeof(un));
  address.size = sizeof(un);
  return address;
}

Address IpAddressOf(const base::Endpoint& endpoint) {
  Address address;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (::inet_pton(AF_INET, endpoint.host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    std::memcpy(&address.storage, &v4, sizeof(v4));
    address.size = sizeof(v4);
  } else if (::inet_pton(AF_INET6, endpoint.host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port);
    std::memcpy(&address.storage, &v6, sizeof(v6));
    address.size = sizeof(v6);
  }
  return address;
}

}  // namespace

std::string_view NameOf(TargetFailure failure) {
  static constexpr std::string_view kNames[] = {
#define CATZILLA_TARGET_FAILURE_NAME(identifier, name) name,
      CATZILLA_TARGET_FAILURE_LIST(CATZILLA_TARGET_FAILURE_NAME)
#undef CATZILLA_TARGET_FAILURE_NAME
  };
  return kNames[static_cast<size_t>(failure)];
}

std::string_view NameOf(TargetState state) {
  static constexpr std::string_view kNames[kTargetStates] = {
      "up", "slow_start", "trial", "passed_over", "down", "unresolved"};
  return kNames[static_cast<size_t>(state)];
}

Target::Target(base::Endpoint endpoint) : endpoint_(std::move(endpoint)) {
  if (endpoint_.kind == base::Endpoint::Kind::kName) return;
  auto addresses = std::make_shared<Addresses>();
  addresses->push_back(endpoint_.kind == base::Endpoint::Kind::kUnix ? UnixAddress(endpoint_.host)
                                                                     : IpAddressOf(endpoint_));
  SetAddresses(std::move(addresses));
}

std::shared_ptr<const Addresses> Target::addresses() const {
  base::MutexLock lock(mutex_);
  return addresses_;
}

void Target::SetAddresses(std::shared_ptr<const Addresses> addresses) {
  base::MutexLock lock(mutex_);
  addresses_ = std::move(addresses);
  resolved_.store(true, std::memory_order_relaxed);
}

bool Target::TryAcquire(uint32_t connections_max) {
  uint32_t held = in_flight_.load(std::memory_order_relaxed);
  while (held < connections_max) {
    if (in_flight_.compare_exchange_weak(held, held + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void Target::CountFailure(TargetFailure failure) {
  failures_[static_cast<size_t>(failure)].fetch_add(1, std::memory_order_relaxed);
}

void Target::SetLastFailure(std::string text) {
  base::MutexLock lock(mutex_);
  last_failure_ = std::move(text);
}

bool Target::Succeeded(int64_t now_us) {
  if (failures_in_row_.load(std::memory_order_relaxed) == 0) return false;
  base::MutexLock lock(mutex_);
  failures_in_row_.store(0, std::memory_order_relaxed);
  doublings_ = 0;
  if (until_us_.exchange(0, std::memory_order_relaxed) == 0) return false;
  back_us_.store(now_us, std::memory_order_relaxed);
  return true;
}

bool Target::Failed(TargetFailure failure, const config::Upstream& config, int64_t now_us) {
  CountFailure(failure);
  base::MutexLock lock(mutex_);
  last_failure_ = NameOf(failure);
  const uint32_t in_row = failures_in_row_.load(std::memory_order_relaxed) + 1;
  failures_in_row_.store(in_row, std::memory_order_relaxed);
  if (config.failures_max == 0 || in_row < config.failures_max) return false;
  const int64_t until_us = until_us_.load(std::memory_order_relaxed);
  // Requests that were under way already fail for the same reason: that is one failure.
  if (until_us > now_us) return false;
  const bool was_up = until_us == 0;
  until_us_.store(now_us + (config.failure_backoff_us << doublings_), std::memory_order_relaxed);
  doublings_ = std::min(doublings_ + 1, kDoublingsMax);
  return was_up;
}

bool Target::CheckPassed(const config::Upstream& config, int64_t now_us) {
  base::MutexLock lock(mutex_);
  checks_failed_ = 0;
  const uint32_t needed = config.health_check ? config.health_check->healthy : 1;
  if (++checks_passed_ < needed || !down_.load(std::memory_order_relaxed)) return false;
  down_.store(false, std::memory_order_relaxed);
  back_us_.store(now_us, std::memory_order_relaxed);
  return true;
}

bool Target::CheckFailed(std::string_view why, const config::Upstream& config) {
  CountFailure(TargetFailure::kCheckFailed);
  base::MutexLock lock(mutex_);
  last_failure_ = why;
  checks_passed_ = 0;
  const uint32_t needed = config.health_check ? config.health_check->unhealthy : 1;
  if (++checks_failed_ < needed) return false;
  return !down_.exchange(true, std::memory_order_relaxed);
}

TargetState Target::StateAt(const config::Upstream& config, int64_t now_us) const {
  if (!resolved_.load(std::memory_order_relaxed)) return TargetState::kUnresolved;
  if (config.health_check && down_.load(std::memory_order_relaxed)) return TargetState::kDown;
  const int64_t until_us = until_us_.load(std::memory_order_relaxed);
  if (until_us > now_us) return TargetState::kPassedOver;
  if (until_us > 0) return TargetState::kTrial;
  const int64_t back_us = back_us_.load(std::memory_order_relaxed);
  if (back_us > 0 && now_us - back_us < config.slow_start_us) return TargetState::kSlowStart;
  return TargetState::kUp;
}

double Target::WeightAt(const config::Upstream& config, int64_t now_us) const {
  const int64_t back_us = back_us_.load(std::memory_order_relaxed);
  if (back_us == 0 || config.slow_start_us == 0) return 1.0;
  const double share =
      static_cast<double>(now_us - back_us) / static_cast<double>(config.slow_start_us);
  return std::clamp(share, kFirstShare, 1.0);
}

TargetStatus Target::Status(const config::Upstream& config, int64_t now_us) const {
  TargetStatus status;
  status.target = name();
  status.state = StateAt(config, now_us);
  status.in_flight = in_flight();
  status.idle = idle_.load(std::memory_order_relaxed);
  status.requests = requests_.load(std::memory_order_relaxed);
  status.connects = connects_.load(std::memory_order_relaxed);
  for (size_t i = 0; i < kTargetFailures; ++i) {
    status.failures[i] = failures_[i].load(std::memory_order_relaxed);
  }
  base::MutexLock lock(mutex_);
  status.last_failure = last_failure_;
  return status;
}

}  // namespace catzilla::upstream
