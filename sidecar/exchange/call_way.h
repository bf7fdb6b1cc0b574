// The way to a worker: a credit or a place in the queue, the request as one frame, its body as it
// comes, the answer as it comes.
//
// An answer may name a file instead of having a body (handed_file.h): what there is of its body is
// dropped, and the file's way goes on.
//
//   collects a small body (waits) --> called (waits) --OnEnd()--> answered
//     \-------------------------------- \--newer code took over before it had begun--> routed anew
//
// Threads: the loop's.
// Owns:    the call, and what of the request's body the worker has not taken yet.
// Limits:  a body that is dropped: kDroppedBodyMax and kDropUs; bodies and answers as the call's
// windows; output as Responder::Room(). Fails:   as the call: with a status, or by breaking off the
// answer that has begun.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/base/ticket.h"
#include "sidecar/exchange/handed_file.h"
#include "sidecar/exchange/next.h"
#include "sidecar/loop/timer.h"
#include "sidecar/origin/call.h"

namespace catzilla::exchange {

class Exchange;

class CallWay final : public origin::Observer, private loop::Deadline {
 public:
  explicit CallWay(Exchange& exchange) : exchange_(exchange) {}
  // A call that `driver` has made for a fill, and whose answer is our client's alone.
  CallWay(Exchange& exchange, origin::Call* call, base::Ticket driver)
      : exchange_(exchange), call_(call), driver_(driver) {}
  ~CallWay() override;
  CallWay(const CallWay&) = delete;
  CallWay& operator=(const CallWay&) = delete;

  Next Step();
  // The request's body...
  void RequestBody(std::string_view bytes);
  void RequestEnd();
  // The client waits to be asked for the body, and the app has not asked yet.
  bool awaits_continue() const { return awaits_continue_ && body_.empty(); }
  // The answer is not wanted any more. Idempotent.
  void Cancel(origin::CancelCode code);

 private:
  Next Start();
  bool IsToBeRoutedAnew(const origin::Failure& failure) const;
  void PassOnBody();
  void ReturnWindow();
  bool HandsOver(const origin::ResponseHead& response);
  // origin::Observer
  void OnResponse(const origin::ResponseHead& response) override;
  void OnInformational(const origin::ResponseHead& informational) override;
  void OnData(std::string_view bytes) override;
  void OnFile(origin::PassedFile file) override;
  void OnTrailers(http::Fields fields) override;
  void OnBodyRoom() override;
  void OnEnd() override;
  void OnFailure(const origin::Failure& failure) override;
  // The body that is dropped does not end.
  void OnDeadline() override;
  void HandOver();

  Exchange& exchange_;
  origin::Call* call_ = nullptr;
  base::Ticket driver_;
  std::unique_ptr<HandedFile> handed_;  // Goes on when the call has ended.
  size_t dropped_ = 0;                  // Of the answer's body.
  std::string body_;                    // Read from the client, not yet taken by the worker.
  size_t unconsumed_ = 0;               // Received from the worker, its window not yet given back.
  bool awaits_continue_ = false;
};

}  // namespace catzilla::exchange
