#include "sidecar/runtime/end_process.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "sidecar/runtime/process_log.h"

namespace catzilla::runtime {
namespace {

// S17: whatever hangs, leaving ends.
TEST(EndProcess, S17WhatHangsIsEnded) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        EndProcessAfter(1000);
        for (;;) ::pause();
      },
      testing::ExitedWithCode(kEndedByForce), "");
}

TEST(EndProcess, S17WhatHasEndedIsLeftAlone) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        AllHasEnded();
        EndProcessAfter(1000);
        ::usleep(100'000);
        ::_exit(0);
      },
      testing::ExitedWithCode(0), "");
}

TEST(ProcessLog, O12ControlCharactersOfEveryKindAreEscaped) {
  EXPECT_EQ(process_log::Escaped("a\nb\r\x1b[31m\x7f\t"), "a\\nb\\x0d\\x1b[31m\\x7f\\t");
  // C1 controls, which a terminal obeys like ESC; other letters stay.
  EXPECT_EQ(process_log::Escaped("\xc2\x9b"
                                 "31m \xc3\xa9 \xc2\xa0"),
            "\\xc2\\x9b31m \xc3\xa9 \xc2\xa0");
  // Ends of lines for those who split by Unicode's.
  EXPECT_EQ(process_log::Escaped("a\xe2\x80\xa8"
                                 "b\xe2\x80\xa9 \xe2\x80\xa6"),
            "a\\xe2\\x80\\xa8b\\xe2\\x80\\xa9 \xe2\x80\xa6");
}

}  // namespace
}  // namespace catzilla::runtime
