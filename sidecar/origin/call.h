// One request on its way to an origin and its answer, as the exchange sees it.
//
// Threads: the loop's that started it. No method calls the observer before it returns; the
//          observer's methods come from the loop and may call the Call's.
// Owns:    nothing of the observer. The origin owns the Call, lends it from its start until the
//          last event (OnEnd or OnFailure has been called) or Cancel(); the pointer is dead after.
// Limits:  windows: what the observer has not given back with Consumed() is bounded by the origin;
//          what it may send is body_window(). Inline bodies need none.
// Fails:   once, with OnFailure, at any time, also after OnResponse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sidecar/base/unique_fd.h"
#include "sidecar/http/field.h"
#include "sidecar/origin/failure.h"

namespace catzilla::origin {

// Of a final answer, or of an interim one (1xx). Views live until the callback returns.
struct ResponseHead {
  uint16_t status = 0;
  // All of the body is in `body`; OnEnd() follows at once.
  bool complete = false;
  uint32_t handler_us = 0;  // The app's own time.
  http::Fields fields;      // In the app's order, names in lower case, safe to be sent.
  std::string_view body;    // The first bytes; they need no Consumed().
};

// A piece of a file that the origin has opened; nobody has looked at it yet.
struct PassedFile {
  base::UniqueFd fd;
  uint64_t offset = 0;
  uint64_t length = 0;
};

class Observer {
 public:
  virtual void OnResponse(const ResponseHead& head) = 0;  // Once.
  virtual void OnInformational(const ResponseHead& head) = 0;
  // Give the bytes back with Consumed() when they have left.
  virtual void OnData(std::string_view bytes) = 0;
  // The rest of the body is this; OnEnd() follows at once. Not with kBytesOnly.
  virtual void OnFile(PassedFile /*file*/) {}
  // Behind the body, before OnEnd(): names in lower case, safe to be sent.
  virtual void OnTrailers(http::Fields /*fields*/) {}
  // body_window() has grown. With kExpectContinue the first one is the time for 100 Continue.
  virtual void OnBodyRoom() = 0;
  virtual void OnEnd() = 0;
  virtual void OnFailure(const Failure& failure) = 0;

 protected:
  ~Observer() = default;
};

// As in a CANCEL frame.
enum class CancelCode : uint32_t {
  kClientGone = 1,
  kDeadline = 2,
  kDrain = 3,
  kBadAnswer = 4,
  kUnwanted = 5,
};

class Call {
 public:
  // How many bytes of a streaming body may be sent now; 0 while the call waits in a queue.
  virtual size_t body_window() const = 0;
  // Sends bytes of the body; `last` ends it, also with no bytes, also while the call waits.
  // REQUIRES: bytes.size() <= body_window(). Does nothing once the body has ended.
  virtual void SendBody(std::string_view bytes, bool last) = 0;
  // `last` was said, or the origin has stopped reading (its answer is complete).
  virtual bool body_ended() const = 0;
  // Gives the window of `bytes` of OnData() back.
  virtual void Consumed(size_t bytes) = 0;
  // The observer hears nothing more. A request that waits is dropped; a running one is told.
  virtual void Cancel(CancelCode code) = 0;

 protected:
  ~Call() = default;
};

}  // namespace catzilla::origin
