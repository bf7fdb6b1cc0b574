// Asks the app for an answer that may be kept, and feeds the fill that all who want it follow.
//
//   kWaiting --head, kept--> kFeeding --end--> (given back)
//       \--head, not kept--> kPassing: the leader's client gets it as it comes --end--> (given
//       back)
//
// The exchange that caused the miss (the leader) is only its first follower: when its client
// leaves, the driver goes on as long as the answer is worth keeping or somebody follows.
//
// Threads: the loop's.
// Owns:    the producer's end of the fill, the call to the worker, a copy of the request's head.
// Limits:  as the fill: what the cache cannot hold waits for its slowest follower.
// Fails:   by aborting the fill; the leader is told why.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "sidecar/cache/fill.h"
#include "sidecar/exchange/context.h"
#include "sidecar/exchange/request_facts.h"
#include "sidecar/http/request_parser.h"
#include "sidecar/origin/call.h"

namespace catzilla::exchange {

// The exchange whose client caused the fill.
class FillLeader {
 public:
  // The answer is not to be shared: from now on `call` is the leader's, and what is returned gets
  // every event of it. The leader is not told anything more.
  virtual origin::Observer& TakeOverCall(origin::Call* call) = 0;
  // An interim answer (103), for the leader's client.
  virtual void OnFillInformational(const origin::ResponseHead& informational) = 0;
  // There will be no answer. The fill has failed by then.
  virtual void OnFillFailure(const origin::Failure& failure) = 0;

 protected:
  ~FillLeader() = default;
};

class FillDriver final : private origin::Observer {
 public:
  FillDriver() = default;
  ~FillDriver();
  FillDriver(const FillDriver&) = delete;
  FillDriver& operator=(const FillDriver&) = delete;

  void set_ticket(base::Ticket ticket) { ticket_ = ticket; }
  base::Ticket ticket() const { return ticket_; }

  // Copies what it needs of the request. Then Start().
  void Begin(Context& context, const http::RequestHead& request, RequestFacts& facts,
             std::shared_ptr<const RouteTarget> target, FillLeader* leader);
  void SetProducer(cache::Producer producer);
  // What is validated, or null.
  const cache::Object* stale() const { return producer_.stale(); }

  // False: `failure` says why; the fill is aborted and the driver given back.
  [[nodiscard]] bool Start(const origin::RequestSpec& spec, origin::Failure* failure);

  void LeaderLeft();  // Its client has gone, or follows no more.
  void OnWake();      // There is room again, or nobody wants it any more.

 private:
  void OnResponse(const origin::ResponseHead& response) override;
  void OnInformational(const origin::ResponseHead& informational) override;
  void OnData(std::string_view bytes) override;
  void OnTrailers(http::Fields fields) override;
  void OnBodyRoom() override;
  void OnEnd() override;
  void OnFailure(const origin::Failure& failure) override;

  bool Append(std::string_view bytes);
  void Abort(const origin::Failure& failure);
  void GiveUp();
  void Done();
  cache::ExchangeTimes Times() const;

  Context* context_ = nullptr;
  base::Ticket ticket_;
  std::unique_ptr<http::HeadBuffer> head_;
  std::string head_bytes_;
  std::string host_;
  bool https_ = false;
  std::shared_ptr<const RouteTarget> target_;
  FillLeader* leader_ = nullptr;
  origin::Observer* passing_ = nullptr;  // kPassing: whom the leader has named.
  cache::Producer producer_;
  origin::Call* call_ = nullptr;
  int64_t request_us_ = 0;
  size_t unconsumed_ = 0;
  bool answered_ = false;  // A 304 has been dealt with; only its end is awaited.
};

}  // namespace catzilla::exchange
