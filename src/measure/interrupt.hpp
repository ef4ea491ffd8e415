/// Ending a run early, and in good order: signals, and a time limit that comes near.
#pragma once

#include <string>

#include "core/error.hpp"
#include "parallel/comm.hpp"

namespace elkhorn::measure {

/// While it lives, SIGINT, SIGTERM and SIGUSR1 ask the run to stop instead of ending the process, and a time limit is
/// kept. A second signal ends the process at once, as if nobody had caught it; one that comes within a second of the
/// first counts as the same, since launchers and schedulers often send it twice.
///
/// Signals belong to the process and so does this: at most one may live at a time, and `stop_if_asked` finds it.
class Interruptible {
 public:
  /// `time_limit`: how long the run may take from now, as --time-limit has it ("90", "90s", "15m", "2h", "1:30:00");
  /// "none": no limit; empty: what the scheduler tells in the environment (SLURM_JOB_END_TIME, PBS_WALLTIME), if it
  /// does. Throws InputError.
  explicit Interruptible(const std::string& time_limit = "none");
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;
};

/// Throws parallel::AgreedStop on every rank where any rank was asked to stop, or where rank 0 has less than `needed_s`
/// seconds left until the time limit, beside a reserve for the rest: 5 % of the limit, at most a minute. Collective;
/// without an Interruptible nothing asks.
void stop_if_asked(const parallel::Comm& comm, double needed_s = 0);

/// Seconds of "90", "90s", "15m", "2h", "30:00" or "1:30:00"; InputError, naming `origin`, for anything else.
double seconds_of(const std::string& text, const Origin& origin);

}  // namespace elkhorn::measure
