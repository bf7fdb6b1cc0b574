// Objects of a loop that something outside it wants to find again.
//
// Threads: the loop's. Owns: the objects, used or not; Give() makes one free for the next.
// A ticket names a slot and its epoch: when the slot has been used again since, or is free, the
// ticket finds nobody, and the message it came with is dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "sidecar/base/check.h"
#include "sidecar/base/ticket.h"

namespace catzilla::exchange {

template <typename T>
class SlotTable {
 public:
  // Of loop `loop`; its tickets are of `kind`.
  SlotTable(int loop, base::Ticket::Kind kind) : loop_(static_cast<uint16_t>(loop)), kind_(kind) {}
  ~SlotTable() { CATZILLA_CHECK(in_use_ == 0, "a loop's slots were destroyed while in use"); }
  SlotTable(const SlotTable&) = delete;
  SlotTable& operator=(const SlotTable&) = delete;

  T* Take() {
    if (free_.empty()) {
      free_.push_back(static_cast<uint32_t>(slots_.size()));
      slots_.push_back({std::make_unique<T>(), 1, false});
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    Slot& slot = slots_[index];
    slot.used = true;
    slot.object->set_ticket({index, slot.epoch, loop_, kind_});
    ++in_use_;
    return slot.object.get();
  }

  void Give(T* object) {
    Slot& slot = slots_[object->ticket().slot];
    CATZILLA_CHECK(slot.used && slot.object.get() == object, "a slot was given back twice");
    slot.used = false;
    ++slot.epoch;
    free_.push_back(object->ticket().slot);
    --in_use_;
  }

  T* Find(base::Ticket ticket) {
    if (ticket.kind != kind_ || ticket.slot >= slots_.size()) return nullptr;
    Slot& slot = slots_[ticket.slot];
    return slot.used && slot.epoch == ticket.epoch ? slot.object.get() : nullptr;
  }

  size_t in_use() const { return in_use_; }

 private:
  struct Slot {
    std::unique_ptr<T> object;
    uint32_t epoch = 1;
    bool used = false;
  };
  const uint16_t loop_;
  const base::Ticket::Kind kind_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  size_t in_use_ = 0;
};

}  // namespace catzilla::exchange
