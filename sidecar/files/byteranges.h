// Several ranges of a file in one answer: multipart/byteranges (RFC 9110 section 14.6).
//
// Threads: any. Reads the kernel's randomness: nobody may write a file that ends its part early.
// Limits:  http::kRangesMax parts; never a body that is longer than the file.
#pragma once

#include "sidecar/files/answer.h"
#include "sidecar/http/range.h"

namespace catzilla::files {

// The 206 with a part for each range, in the order of the set. False, and `answer` untouched: send
// the whole, for it is not longer, or is in a content coding. REQUIRES: set.count > 1.
bool RespondWithParts(Entry& entry, const http::RangeSet& set, AnswerScratch& scratch,
                      Answer* answer);

}  // namespace catzilla::files
