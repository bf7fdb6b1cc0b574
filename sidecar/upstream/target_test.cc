#include "sidecar/upstream/target.h"

#include <gtest/gtest.h>

namespace catzilla::upstream {
namespace {

constexpr int64_t kSecond = 1'000'000;

base::Endpoint EndpointOf(std::string_view text) { return *base::ParseEndpoint(text); }

TEST(Target, IsPassedOverAfterFailuresInARowAndComesBackByOneSuccess) {
  Target target(EndpointOf("127.0.0.1:1"));
  config::Upstream config;
  int64_t now = 100 * kSecond;
  EXPECT_FALSE(target.Failed(TargetFailure::kRefused, config, now));
  EXPECT_FALSE(target.Succeeded(now));
  EXPECT_FALSE(target.Failed(TargetFailure::kRefused, config, now));
  EXPECT_FALSE(target.Failed(TargetFailure::kRefused, config, now));
  EXPECT_EQ(target.StateAt(config, now), TargetState::kUp);
  EXPECT_TRUE(target.Failed(TargetFailure::kRefused, config, now));
  EXPECT_EQ(target.StateAt(config, now), TargetState::kPassedOver);
  now += config.failure_backoff_us;
  EXPECT_EQ(target.StateAt(config, now), TargetState::kTrial);
  // Twice as long, four times as long, and so on up to 32 times.
  for (const int times : {2, 4, 8, 16, 32, 32}) {
    EXPECT_FALSE(target.Failed(TargetFailure::kRefused, config, now));
    EXPECT_EQ(target.StateAt(config, now + times * kSecond - 1), TargetState::kPassedOver);
    now += times * kSecond;
    EXPECT_EQ(target.StateAt(config, now), TargetState::kTrial);
  }
  EXPECT_TRUE(target.Succeeded(now));
  EXPECT_FALSE(target.Succeeded(now));
  EXPECT_EQ(target.StateAt(config, now), TargetState::kUp);
}

TEST(Target, RequestsThatWereUnderWayAlreadyAreOneFailure) {
  Target target(EndpointOf("127.0.0.1:1"));
  config::Upstream config;
  config.failures_max = 1;
  EXPECT_TRUE(target.Failed(TargetFailure::kFirstByteTimeout, config, kSecond));
  const int64_t until = target.passed_over_until_us();
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(target.Failed(TargetFailure::kFirstByteTimeout, config, kSecond + i));
  }
  EXPECT_EQ(target.passed_over_until_us(), until);
}

TEST(Target, IsNeverPassedOverWhenNothingCounts) {
  Target target(EndpointOf("127.0.0.1:1"));
  config::Upstream config;
  config.failures_max = 0;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(target.Failed(TargetFailure::kRefused, config, i));
  EXPECT_EQ(target.StateAt(config, 10), TargetState::kUp);
}

TEST(Target, StartsSlowly) {
  Target target(EndpointOf("127.0.0.1:1"));
  config::Upstream config;
  config.failures_max = 1;
  config.slow_start_us = 10 * kSecond;
  EXPECT_DOUBLE_EQ(target.WeightAt(config, kSecond), 1.0);
  EXPECT_TRUE(target.Failed(TargetFailure::kRefused, config, kSecond));
  EXPECT_TRUE(target.Succeeded(20 * kSecond));
  EXPECT_EQ(target.StateAt(config, 21 * kSecond), TargetState::kSlowStart);
  EXPECT_DOUBLE_EQ(target.WeightAt(config, 20 * kSecond), 0.1);
  EXPECT_DOUBLE_EQ(target.WeightAt(config, 25 * kSecond), 0.5);
  EXPECT_DOUBLE_EQ(target.WeightAt(config, 40 * kSecond), 1.0);
  EXPECT_EQ(target.StateAt(config, 40 * kSecond), TargetState::kUp);
}

TEST(Target, ChecksTakeItOutAndBringItBack) {
  Target target(EndpointOf("127.0.0.1:1"));
  config::Upstream config;
  config.health_check.emplace();
  EXPECT_FALSE(target.CheckFailed("500", config));
  EXPECT_FALSE(target.CheckPassed(config, 1));
  EXPECT_FALSE(target.CheckFailed("500", config));
  EXPECT_FALSE(target.CheckFailed("500", config));
  EXPECT_TRUE(target.CheckFailed("500", config));
  EXPECT_EQ(target.StateAt(config, 1), TargetState::kDown);
  EXPECT_FALSE(target.CheckPassed(config, 2));
  EXPECT_TRUE(target.CheckPassed(config, 3));
  EXPECT_EQ(target.StateAt(config, 3), TargetState::kUp);
  // Without checks, what they have found does not count.
  EXPECT_FALSE(target.CheckFailed("500", config));
  EXPECT_FALSE(target.CheckFailed("500", config));
  EXPECT_TRUE(target.CheckFailed("500", config));
  EXPECT_EQ(target.StateAt(config::Upstream(), 3), TargetState::kUp);
}

TEST(Target, TakesNoMoreThanItsConnections) {
  Target target(EndpointOf("unix:/run/a"));
  EXPECT_TRUE(target.TryAcquire(2));
  EXPECT_TRUE(target.TryAcquire(2));
  EXPECT_FALSE(target.TryAcquire(2));
  target.Release();
  EXPECT_TRUE(target.TryAcquire(2));
}

TEST(Target, OfANameHasNoAddressAtFirst) {
  Target name(EndpointOf("app:1"));
  EXPECT_EQ(name.addresses(), nullptr);
  EXPECT_EQ(name.StateAt(config::Upstream(), 1), TargetState::kUnresolved);
  Target address(EndpointOf("[::1]:1"));
  ASSERT_NE(address.addresses(), nullptr);
  EXPECT_EQ(address.addresses()->front().storage.ss_family, AF_INET6);
}

}  // namespace
}  // namespace catzilla::upstream
