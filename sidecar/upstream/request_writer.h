// A request as bytes for an HTTP/1.1 server: the request line in origin form, the client's fields
// without those of its own connection, what proxies say of the client, and framing made anew.
//
// Pure; any thread. Owns: nothing. Limits: as the request's own head, and what is added.
// Fails: never; the request parser and the link between proxies have checked every part.
#pragma once

#include <string>
#include <string_view>

#include "sidecar/config/snapshot.h"
#include "sidecar/origin/request.h"

namespace catzilla::upstream {

// The head up to and without the Host field of targets that have their own: `*line` is the request
// line, `*fields` all the rest with the empty line.
void WriteRequest(const origin::RequestSpec& spec, const config::Upstream& config,
                  std::string* line, std::string* fields);

// Whether the body goes in chunks: streamed, and nobody knows how long it will be.
inline bool IsChunked(const origin::RequestSpec& spec) {
  return spec.body_mode == origin::BodyMode::kStreaming &&
         spec.body_length == origin::kLengthUnknown;
}

}  // namespace catzilla::upstream
