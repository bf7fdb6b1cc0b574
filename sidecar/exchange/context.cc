#include "sidecar/exchange/context.h"

#include "sidecar/base/check.h"
#include "sidecar/exchange/exchange.h"

namespace catzilla::exchange {

ExchangeTable::ExchangeTable() = default;

ExchangeTable::~ExchangeTable() {
  CATZILLA_CHECK(in_use_ == 0, "the exchanges of a loop were destroyed under their connections");
}

Exchange* ExchangeTable::Take() {
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.push_back({std::make_unique<Exchange>(), 1, false});
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.used = true;
  slot.exchange->set_ticket({index, slot.epoch});
  ++in_use_;
  return slot.exchange.get();
}

void ExchangeTable::Give(Exchange* exchange) {
  Slot& slot = slots_[exchange->ticket().slot];
  CATZILLA_CHECK(slot.used && slot.exchange.get() == exchange, "an exchange was given back twice");
  slot.used = false;
  ++slot.epoch;
  free_.push_back(exchange->ticket().slot);
  --in_use_;
}

Exchange* ExchangeTable::Find(Ticket ticket) {
  if (ticket.slot >= slots_.size()) return nullptr;
  Slot& slot = slots_[ticket.slot];
  return slot.used && slot.epoch == ticket.epoch ? slot.exchange.get() : nullptr;
}

}  // namespace catzilla::exchange
