// Asks the targets whether they are well: the requests of `health_check`; and, of pools that no
// server has ever taken a connection of, whether one does now (then the sidecar becomes ready).
//
// Threads: the first loop's.
// Owns:    a check for each target; its call while one runs.
// Limits:  one check of a target at a time.
// Fails:   never; what fails is the target.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "sidecar/origin/call.h"
#include "sidecar/upstream/pool.h"

namespace catzilla::upstream {

class Agent;

class Checker final {
 public:
  explicit Checker(Agent& agent) : agent_(agent) {}
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  // Begins what is due. Called often.
  void Tick();
  // Ends all checks, and their calls.
  void Close() { checks_.clear(); }

 private:
  class Check final : public origin::Observer {
   public:
    Check(Agent& agent, std::shared_ptr<Target> target)
        : agent_(agent), target_(std::move(target)) {}
    ~Check();

    bool is_over() const { return call_ == nullptr && target_->retired(); }
    void TickAt(const SetupRef& setup);

   private:
    void Begin(const config::HealthCheck* check);
    void Done(bool passed, std::string_view why);
    void OnResponse(const origin::ResponseHead& head) override;
    void OnInformational(const origin::ResponseHead&) override {}
    void OnData(std::string_view) override {}
    void OnBodyRoom() override {}
    void OnEnd() override;
    void OnFailure(const origin::Failure& failure) override;

    Agent& agent_;
    const std::shared_ptr<Target> target_;
    SetupRef setup_;
    origin::Call* call_ = nullptr;
    int64_t due_us_ = 0;
    bool connect_only_ = false;
  };

  Agent& agent_;
  std::map<Target*, std::unique_ptr<Check>> checks_;
};

}  // namespace catzilla::upstream
