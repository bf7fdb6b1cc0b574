// The way of who waits for an answer that is on its way into the store, be it that nobody else had
// asked for it (we lead: a FillDriver asks the app) or that somebody had.
//
//   waits --head--> sends what comes --end--> answered
//     \--not to be shared: the call is ours, or we ask alone--> CallWay
//      \--another variant than ours--> looked up again
//
// Threads: the loop's. Owns: its place in the fill. Limits: output as Responder::Room().
// Fails:   as the fill: with its failure's status, or by breaking the answer off.
#pragma once

#include <cstdint>
#include <string_view>

#include "sidecar/base/ticket.h"
#include "sidecar/cache/fill.h"
#include "sidecar/cache/store.h"
#include "sidecar/exchange/fill_driver.h"
#include "sidecar/exchange/next.h"
#include "sidecar/exchange/plan.h"
#include "sidecar/loop/timer.h"

namespace catzilla::exchange {

class Exchange;

class FollowWay final : private FillLeader, private loop::Deadline {
 public:
  explicit FollowWay(Exchange& exchange) : exchange_(exchange) {}
  ~FollowWay() override { Leave(); }
  FollowWay(const FollowWay&) = delete;
  FollowWay& operator=(const FollowWay&) = delete;

  // Waits for an answer to `key`; `stale` is validated if it is there.
  Next Join(const cache::CacheKey& key, const cache::Object* stale);
  Next Step();

 private:
  Next Lead(cache::Producer producer);
  Next GoAlone();
  Next RefuseAsFailed();
  Next ServeValidated();
  // False: the answer is complete with its head.
  bool SendHead();
  Next SendBody();
  void Leave();
  // FillLeader
  origin::Observer& TakeOverCall(origin::Call* call) override;
  void OnFillInformational(const origin::ResponseHead& informational) override;
  void OnFillFailure(const origin::Failure& failure) override;
  // The fill took too long for one who only follows.
  void OnDeadline() override;

  Exchange& exchange_;
  cache::Follower follower_;
  base::Ref<cache::Fill> fill_;
  base::Ticket driver_;  // Of the fill we lead; epoch 0: none.
  bool collapsed_ = false;
};

}  // namespace catzilla::exchange
