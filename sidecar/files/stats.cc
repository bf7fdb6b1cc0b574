#include "sidecar/files/stats.h"

namespace catzilla::files {

const char* CounterName(Counter counter) {
  static constexpr const char* kNames[] = {
#define CATZILLA_FILES_LABEL(name, label) label,
      CATZILLA_FILES_COUNTERS(CATZILLA_FILES_LABEL)
#undef CATZILLA_FILES_LABEL
  };
  return kNames[static_cast<int>(counter)];
}

Counter ResultOf(uint16_t status) {
  switch (status) {
    case 200:
    case 204:
      return Counter::kOk;
    case 206:
      return Counter::kPartial;
    case 301:
      return Counter::kRedirect;
    case 304:
      return Counter::kNotModified;
    case 400:
      return Counter::kBadRequest;
    case 403:
      return Counter::kForbidden;
    case 404:
      return Counter::kNotFound;
    case 405:
      return Counter::kMethod;
    case 412:
      return Counter::kPrecondition;
    case 416:
      return Counter::kBadRange;
    case 503:
      return Counter::kOverload;
    default:
      return Counter::kError;
  }
}

}  // namespace catzilla::files
