// YAML or JSON text to a Config, by our own walk over protobuf's reflection.
//
// Every finding is reported, with its path and line; protobuf's own JSON reader stops at the first.
// Threads: pure; any thread. Owns: nothing.
// Limits:  4 MiB of text, 100,000 visited nodes (aliases can make more of them than there are
//          bytes).
// Fails:   never throws; what is wrong is in `diagnostics`, and `config` has whatever was right. A
//          document or a section that says nothing is wrong: empty ones are written {} and [].
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "catzilla/config/v1/config.pb.h"
#include "sidecar/schema/diagnostic.h"

namespace catzilla::schema {

inline constexpr size_t kDocumentBytesMax = 4u << 20;
inline constexpr size_t kDocumentNodesMax = 100'000;

// Path of a field or resource ("mounts[assets].root") -> its line. Resources are keyed by name.
using LineMap = std::unordered_map<std::string, uint32_t>;

// The line of `path`, or of what encloses it; 0 if nothing is known.
uint32_t FindLine(const LineMap& lines, std::string path);

struct Document {
  config::v1::Config config;
  LineMap lines;
  Diagnostics diagnostics;
};

// `file` is only written into diagnostics.
Document ReadDocument(std::string_view text, const std::string& file = "");

// The same walk for any message of ours.
void ReadMessage(std::string_view text, const std::string& file, google::protobuf::Message* message,
                 LineMap* lines, Diagnostics* diagnostics);

// Sets one field of a singleton block, as a flag or the environment does: SetField(&config,
// "limits.idle_timeout", "5s", ...). Lists take one comma-separated text.
void SetField(config::v1::Config* config, const std::string& path, const std::string& text,
              Diagnostics* diagnostics);

}  // namespace catzilla::schema
