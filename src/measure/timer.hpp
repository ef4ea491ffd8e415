/// Wall-clock seconds from a clock that never jumps.
#pragma once

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

}  // namespace elkhorn::measure
