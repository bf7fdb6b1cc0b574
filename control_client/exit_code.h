// What catzillactl's exit status says. One list, also printed by `catzillactl help`.
#pragma once

namespace catzilla::control_client {

enum ExitCode : int {
  kOk = 0,
  kFailure = 1,
  kUsage = 2,
  kDiffers = 3,
  kNotFound = 4,
  kVersionConflict = 5,
  kInvalidConfig = 6,
  kUnreachable = 7,
  kDenied = 8,
  kTimeout = 9,
};

inline constexpr const char* kExitCodesHelp =
    "Exit codes: 0 ok, 1 failure, 2 usage, 3 differs, 4 not found, 5 version conflict,\n"
    "            6 invalid configuration, 7 unreachable, 8 denied, 9 timeout";

}  // namespace catzilla::control_client
