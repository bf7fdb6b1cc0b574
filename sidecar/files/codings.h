// Content codings of files: which variant of an entry a request gets, and gzip made by ourselves.
//
// Threads: pure; any. SelectVariant() allocates nothing; GzipWhole() takes long: off the loop.
// Limits:  GzipWhole() holds the input and a result that is at most 15/16 of it.
// Fails:   GzipWhole() returns an empty string when there is no memory or nothing to be gained.
#pragma once

#include <string>
#include <string_view>

#include "sidecar/files/entry.h"
#include "sidecar/http/accept_encoding.h"
#include "sidecar/http/request_head.h"

namespace catzilla::files {

// ".br", ".zst", ".gz"; empty for identity.
std::string_view SiblingSuffix(http::Coding coding);
// What stands before the closing quote of a coded representation's ETag.
std::string_view TagSuffix(http::Coding coding);

// Whether a media type is worth compressing; images, video, fonts and archives already are.
bool IsCompressibleType(std::string_view type);

// `level` is 1 to 9.
std::string GzipWhole(std::string_view bytes, int level);

// The entry's variant of highest quality for the client, br before zstd before gzip among equals;
// the entry itself where the client prefers identity, or accepts nothing that there is: as nginx
// and Caddy do, and RFC 9110 section 12.5.3 allows, identity is better than 406.
Entry& SelectVariant(Entry& entry, const http::RequestHead& request);

}  // namespace catzilla::files
