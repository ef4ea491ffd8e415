/// Wall-clock seconds from a clock that never jumps.
#pragma once

#include <algorithm>
#include <chrono>

namespace elkhorn::measure {

class Timer {
 public:
  void restart() { start_ = Clock::now(); }
  /// Since construction or the last restart.
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

/// What the clock itself does to a measurement, measured.
struct TimerQuality {
  double resolution_s = 0;  ///< smallest step it was seen to make
  double overhead_s = 0;    ///< of one reading
};
inline TimerQuality measure_timer() {
  constexpr int readings = 20000;
  const Timer timer;
  TimerQuality quality{1e300, 0};
  double before = timer.seconds();
  for (int i = 0; i < readings; ++i) {
    const double now = timer.seconds();
    if (now > before) quality.resolution_s = std::min(quality.resolution_s, now - before);
    before = now;
  }
  quality.overhead_s = before / readings;
  if (quality.resolution_s > before) quality.resolution_s = before;  // it never moved in between
  return quality;
}

}  // namespace elkhorn::measure
