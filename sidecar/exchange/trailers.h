// Which trailers reach which client (RFC 9110 section 6.5). Pure; any thread.
#pragma once

#include <string_view>

#include "sidecar/http/request_head.h"

namespace catzilla::exchange {

// Whether who asks understands them: TE: trailers.
bool TakesTrailers(const http::RequestHead& request);

// Whether a field may come so late. `lower_name` in lower case.
bool MayTrail(std::string_view lower_name);

}  // namespace catzilla::exchange
