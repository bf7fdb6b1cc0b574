// Whom a message to a loop is for: an object in one of the loop's tables, as it was used then. When
// the slot has been used again since, or is free, the ticket finds nobody and the message is
// dropped. Values; any thread.
#pragma once

#include <cstdint>

namespace catzilla::base {

struct Ticket {
  enum class Kind : uint8_t { kExchange, kFillDriver };

  uint32_t slot = 0;
  uint32_t epoch = 0;  // 0: nobody's.
  uint16_t loop = 0;
  Kind kind = Kind::kExchange;

  bool operator==(const Ticket&) const = default;
};

}  // namespace catzilla::base
