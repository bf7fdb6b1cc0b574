// What the block `control` says: where the control plane listens, and who may use it.
// Reads the system's groups; any thread.
#pragma once

#include "catzilla/config/v1/config.pb.h"
#include "sidecar/schema/validate_serving.h"

namespace catzilla::schema {

// REQUIRES: defaults are filled in.
void ValidateControl(const config::v1::Control& control, const ReportError& report);

}  // namespace catzilla::schema
