#include "sidecar/http/header_id.h"

#include <array>
#include <cstddef>

#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

constexpr std::string_view kNames[] = {"",
#define CATZILLA_HEADER_NAME(identifier, name) name,
                                       CATZILLA_HEADER_LIST(CATZILLA_HEADER_NAME)
#undef CATZILLA_HEADER_NAME
};
constexpr size_t kCount = static_cast<size_t>(HeaderId::kCount);
constexpr size_t kSlots = 1024;
constexpr size_t kNameBytesMax = 32;

constexpr uint32_t Slot(uint32_t factor, const char* name, size_t length) {
  // |0x20 folds the letters; what it folds besides is sorted out by the comparison.
  const uint32_t key = static_cast<uint32_t>(length) | static_cast<uint32_t>(name[0] | 0x20) << 6 |
                       static_cast<uint32_t>(name[length - 1] | 0x20) << 13 |
                       static_cast<uint32_t>(name[length / 2] | 0x20) << 20;
  const uint32_t mixed = (key ^ static_cast<uint32_t>(name[length * 3 / 4] | 0x20) << 9) * factor;
  return mixed >> 22;
}

struct Table {
  uint32_t factor = 0;  // 0: none was found.
  std::array<uint8_t, kSlots> ids{};
};

// A perfect hash, looked for by the compiler: no two names of the list share a slot.
constexpr Table MakeTable() {
  for (uint32_t factor = 0x9E3779B1; factor < 0x9E3779B1 + 2 * 2000; factor += 2) {
    Table table;
    bool free = true;
    for (size_t id = 1; free && id < kCount; ++id) {
      uint8_t& slot = table.ids[Slot(factor, kNames[id].data(), kNames[id].size())];
      free = slot == 0;
      slot = static_cast<uint8_t>(id);
    }
    table.factor = factor;
    if (free) return table;
  }
  return {};
}

constexpr Table kTable = MakeTable();
static_assert(kTable.factor != 0, "no collision-free factor: widen the key or the table");
static_assert(std::size(kNames) == kCount && kCount < 256);

}  // namespace

HeaderId FindHeaderId(std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax) return HeaderId::kOther;
  const uint8_t id = kTable.ids[Slot(kTable.factor, name.data(), name.size())];
  if (id == 0 || !EqualsLower(name, kNames[id])) return HeaderId::kOther;
  return static_cast<HeaderId>(id);
}

std::string_view HeaderName(HeaderId id) { return kNames[static_cast<size_t>(id)]; }

}  // namespace catzilla::http
