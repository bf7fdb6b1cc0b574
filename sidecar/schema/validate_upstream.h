// A pool of other servers: its targets, and what contradicts being one. Pure; any thread.
#pragma once

#include <string>

#include "catzilla/config/v1/config.pb.h"
#include "sidecar/schema/validate_serving.h"

namespace catzilla::schema {

// `path` is the pool's own. REQUIRES: defaults are filled in.
void ValidateUpstream(const config::v1::Pool& pool, const std::string& path,
                      const ReportError& report);

}  // namespace catzilla::schema
