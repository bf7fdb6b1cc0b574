// What is known of every configuration field: its kind, default, bounds and whether it changes
// live.
//
// One table; defaults are filled from it, values are checked by it, docs/configuration.md is
// printed from it, and a test holds it against config.proto field by field. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "catzilla/config/v1/config.pb.h"

namespace catzilla::schema {

enum class Kind : uint8_t {
  kText,
  kDuration,  // min and max in microseconds
  kSize,      // min and max in bytes
  kCount,     // a whole number
  kBool,
  kEnum,
  kTexts,  // a list of texts
  kTextMap,
  kBlock,  // a message of its own
};

enum class Change : uint8_t {
  kLive,
  kRestart,  // Keeps its value while the sidecar runs.
};

struct Field {
  std::string_view path;  // "limits.max_headers", "mounts[].root"
  Kind kind = Kind::kText;
  std::string_view fallback;  // As one would write it; empty: unset stays unset.
  Change change = Change::kLive;
  uint64_t min = 0;  // Of a number; 0 and 0: any.
  uint64_t max = 0;
  std::string_view description;
};

std::span<const Field> Fields();

// `path` as in the table, "[]" for any element. Null: there is none.
const Field* FindField(std::string_view path);

// Turns "mounts[assets].root" into "mounts[].root".
std::string GenericPath(std::string_view path);

// Sets every unset field that has a default, in the singletons and in every resource.
void FillDefaults(config::v1::Config* config);

// docs/configuration.md
std::string ConfigurationReference();

}  // namespace catzilla::schema
