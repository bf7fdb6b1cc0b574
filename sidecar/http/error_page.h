// The sidecar's own error bodies: small, JSON or HTML, without internals.
// Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sidecar/http/request_head.h"

namespace catzilla::http {

// The best quality that Accept gives to `type` ("text/html", with "text/*" as `any_of_kind`), in
// thousandths; 0: none, also when there is no Accept.
int AcceptQuality(const RequestHead& request, std::string_view type, std::string_view any_of_kind);

enum class ErrorFormat : uint8_t { kJson, kHtml };

// HTML for who prefers it in Accept (browsers), JSON for everyone else. `request` may be null: the
// head was malformed.
ErrorFormat ChooseErrorFormat(const RequestHead* request);
std::string_view ContentTypeOf(ErrorFormat format);

// {"error":{"status":404,"reason":"Not Found","detail":…,"request_id":…}} or a page that says the
// same. `detail` and `request_id` may be empty; both are escaped.
void AppendErrorPage(ErrorFormat format, uint16_t status, std::string_view detail,
                     std::string_view request_id, std::string& out);

}  // namespace catzilla::http
