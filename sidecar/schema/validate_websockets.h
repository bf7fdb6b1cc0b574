// What the block `websockets` says, as far as its table of fields cannot tell.
// Pure; any thread.
#pragma once

#include "catzilla/config/v1/config.pb.h"
#include "sidecar/schema/validate_serving.h"

namespace catzilla::schema {

// REQUIRES: defaults are filled in.
void ValidateWebSockets(const config::v1::WebSockets& websockets, const ReportError& report);

}  // namespace catzilla::schema
