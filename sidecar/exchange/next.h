// What a step of an exchange leaves to be done.
#pragma once

#include <cstdint>

namespace catzilla::exchange {

enum class Next : uint8_t {
  kMore,  // Step again.
  kWait,  // Something must happen first; the connection is told by WakeExchange().
  kDone,  // The answer is complete.
};

}  // namespace catzilla::exchange
