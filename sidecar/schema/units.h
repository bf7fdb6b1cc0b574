// Durations and sizes as people write them, and back.
//
// Durations: "30s", "1m30s", "250ms", "10us", "2h", "1d"; whole numbers or one decimal point per
//            part ("1.5s").
// Sizes:     "512B", "64KiB", "64MiB", "1GiB", "1GB" (1000), "25%" of the container's memory.
// A bare number has no unit and is refused, but 0 is 0 in any unit. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sidecar/base/result.h"

namespace catzilla::schema {

// What is wrong, as a sentence that names the accepted forms.
base::Result<int64_t, std::string> ParseDuration(std::string_view text);  // Microseconds.

// `memory_limit_bytes` is what "%" is of; 0: percentages are refused.
base::Result<uint64_t, std::string> ParseSize(std::string_view text, uint64_t memory_limit_bytes);

// The shortest exact form: "1m30s", "64MiB".
std::string FormatDuration(int64_t microseconds);
std::string FormatSize(uint64_t bytes);

}  // namespace catzilla::schema
