// How long requests wait for whoever answers them, as histograms tell it. Constants.
#pragma once

#include <array>

namespace catzilla::origin {

// Upper bounds in seconds; one more bucket is everything above.
inline constexpr std::array<double, 12> kQueueWaitBounds = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0};

}  // namespace catzilla::origin
