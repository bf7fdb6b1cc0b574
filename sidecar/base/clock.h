// Time as a value. Nothing below main and the loop reads a clock; everything else is handed a Now.
#pragma once

#include <cstdint>
#include <ctime>

namespace catzilla::base {

struct Now {
  int64_t monotonic_us = 0;  // CLOCK_MONOTONIC; deadlines, ages in memory.
  int64_t wall_us = 0;       // CLOCK_REALTIME since 1970; Date, Last-Modified, ages on disk.

  int64_t wall_s() const { return wall_us / 1'000'000; }
};

inline int64_t ReadClockMicros(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<int64_t>(time.tv_sec) * 1'000'000 + time.tv_nsec / 1000;
}

// For the edges only: the loop's turn, main, tests of real time.
inline Now ReadClock() {
  return {ReadClockMicros(CLOCK_MONOTONIC), ReadClockMicros(CLOCK_REALTIME)};
}

}  // namespace catzilla::base
