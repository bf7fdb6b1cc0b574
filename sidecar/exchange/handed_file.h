// A file that an app's answer names instead of having a body: X-Accel-Redirect (a path under the
// prefix of an internal mount, as nginx has it) and X-Sendfile (a path of the file system under
// the root of one, as Apache and lighttpd have it).
//
// The file answers with the app's fields: its own stand in for what only it can say (ETag,
// Last-Modified, Content-Length, ranges). Without an internal mount both fields are as any other.
//
// Threads: values; the loop's.
// Owns:    copies of everything: the answer that named it is over when the file is there.
// Limits:  as an app's head.
// Fails:   with a literal for the log: the answer is 502, and what lies outside is never looked at.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sidecar/exchange/plan.h"
#include "sidecar/files/answer.h"
#include "sidecar/origin/call.h"

namespace catzilla::exchange {

struct HandedFile {
  std::shared_ptr<const MountTarget> mount;
  std::string path;                          // Decoded, with the mount's prefix.
  std::string lines;                         // The app's fields, whole lines.
  std::optional<uint64_t> rate_bytes_per_s;  // X-Accel-Limit-Rate; 0: any. None: the mount's.

  // The head of `answer` with the app's fields; `head` is what it lies in.
  void Dress(files::Answer* answer);
  std::string head;
};

struct Handed {
  std::unique_ptr<HandedFile> file;  // Null: `error`, or the answer names none.
  std::string_view error;
};

// The fields that say so, in lower case: where there are internal mounts no client sees them.
bool IsHandOverField(std::string_view lower_name);

// Whether an answer hands over to a file. Only one that is 2xx may.
Handed FindHandedFile(const Plan& plan, const origin::ResponseHead& response);

}  // namespace catzilla::exchange
