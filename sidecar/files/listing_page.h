// The two faces of a listing as text. Pure; any thread.
//
// Every name is escaped for the place it stands in; links are relative ("./name"), so they hold
// behind any prefix a proxy strips. The page needs nothing from anywhere: its style and script are
// inside, and allowed by their hashes alone.
#pragma once

#include <string>
#include <string_view>

#include "sidecar/files/listing.h"

namespace catzilla::files {

std::string ListingHtml(const Listing& listing);
std::string ListingJson(const Listing& listing);

// The Content-Security-Policy of the page.
std::string_view ListingPolicy();

// "1.4 MiB"; "812 B".
std::string ReadableSize(uint64_t bytes);

}  // namespace catzilla::files
