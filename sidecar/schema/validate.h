// Whether a merged configuration may be served: every finding, never only the first.
//
// Threads: any; looks at the file system if asked to (mount roots), changes nothing.
// Limits:  kFindingsMax findings; the last says that there are more.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sidecar/schema/diagnostic.h"
#include "sidecar/schema/layers.h"

namespace catzilla::schema {

inline constexpr size_t kFindingsMax = 500;
inline constexpr int kAppRoutesMax = 50'000;

struct ValidateContext {
  uint64_t memory_limit_bytes = 0;  // What "%" is of; 0: percentages are refused.
  bool check_files = true;          // Whether directories must exist.
};

// Appends to `diagnostics`, without file and line (see Locate).
void Validate(const Layers& layers, const Merged& merged, const ValidateContext& context,
              Diagnostics* diagnostics);

// Gives `wanted` the running values of the fields that are marked restart-required, with a finding
// for each that differs: a warning, or, with `refuse`, an error. Both have their defaults.
void KeepRunning(const config::v1::Config& running, bool refuse, config::v1::Config* wanted,
                 Diagnostics* diagnostics);

// ---- What the checks are made of.

bool IsName(std::string_view text);
bool IsToken(std::string_view text);       // RFC 9110
bool IsFieldValue(std::string_view text);  // Visible characters, spaces and tabs inside.
bool ParseAddress(const std::string& text, uint8_t out[16], bool* is_v4);
bool ParseRange(const std::string& text, config::AddressRange* out);
// What is wrong with a prefix; empty: nothing.
std::string WrongPrefix(std::string_view prefix);
bool PrefixHolds(std::string_view prefix, std::string_view path);  // On segment boundaries.

// ---- Parts, one file each.

void ValidateValues(const Merged& merged, const ValidateContext& context, Diagnostics* diagnostics);
void ValidateResources(const Merged& merged, const ValidateContext& context,
                       Diagnostics* diagnostics);
void ValidateApps(const Layers& layers, const Merged& merged, Diagnostics* diagnostics);

}  // namespace catzilla::schema
