// Keys that frames to a server are masked with: nobody may foretell one (RFC 6455 section 5.3).
//
// Threads: its loop's. Owns: a stock of random bytes, so that a frame costs no system call.
#pragma once

#include <cstddef>
#include <cstring>

#include "sidecar/base/random.h"

namespace catzilla::upstream {

class MaskKeys {
 public:
  void Next(char (&key)[4]) {
    if (used_ == sizeof stock_) {
      base::FillRandom(stock_, sizeof stock_);
      used_ = 0;
    }
    std::memcpy(key, stock_ + used_, sizeof key);
    used_ += sizeof key;
  }

 private:
  char stock_[1024];
  size_t used_ = sizeof stock_;
};

}  // namespace catzilla::upstream
