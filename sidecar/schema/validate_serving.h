// What a mount serves and what not: the checks of its names, patterns and their combinations.
// Pure; any thread.
#pragma once

#include <functional>
#include <string>

#include "catzilla/config/v1/config.pb.h"
#include "sidecar/schema/diagnostic.h"

namespace catzilla::schema {

// Told of each error: its code, the field's path, what is wrong, what to do.
using ReportError =
    std::function<void(Code, const std::string&, const std::string&, const std::string&)>;

// `path` is the mount's own. REQUIRES: defaults are filled in.
void ValidateServingRules(const config::v1::Mount& mount, const std::string& path,
                          const ReportError& report);

}  // namespace catzilla::schema
