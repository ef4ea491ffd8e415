/// What the machine does besides this run while it measures: other programs, frequencies, throttling; and the energy it
/// takes. Readings that a machine does not offer are "unavailable: why", never a number.
#pragma once

#include <string>
#include <vector>

#include "measure/timer.hpp"
#include "parallel/comm.hpp"

namespace elkhorn::measure {

/// The processors (hardware threads) that this run's ranks on a host may use, by the system's numbers, sorted.
/// `allowed`: lists such as "0-3,8", one a rank.
std::vector<long> processors_of(const std::vector<std::string>& allowed);

/// Seconds these processors have been busy since the host started, stolen ones included; negative where it cannot be
/// read. `root` replaces "/" in tests.
double busy_seconds(const std::vector<long>& processors, const std::string& root = "/");

/// Times a processor of these was slowed for its temperature, cores and packages together; negative where it cannot be
/// read (virtual machines, other architectures).
long throttle_events(const std::vector<long>& processors, const std::string& root = "/");

/// Governors and drivers of these processors: "performance (intel_pstate)"; "unavailable: why".
std::string frequency_governor(const std::vector<long>& processors, const std::string& root = "/");
/// A governor that leaves the frequency low, or raises it late: what a benchmark should not run under. Where the hardware
/// itself chooses (intel_pstate, amd-pstate), none is.
bool slows_down(const std::string& governor);

/// Watches whether the hosts are quiet. Members are collective over the communicator it was made with.
class QuietWatch {
 public:
  explicit QuietWatch(const parallel::Comm& comm);

  struct Reading {
    double wall_s = 0, busy_s = 0, own_s = 0;  ///< of this rank's host; own: its ranks together
    long throttled = 0;
  };
  Reading read() const;
  /// The same once `shortest_s` have passed since `from`.
  Reading read_after(const Reading& from) const;

  /// Hardware threads that others kept busy between two readings, on the busiest host. NaN where they lie less than
  /// `shortest_s` apart (processor time is counted in ticks of 10 ms), or the hosts do not tell.
  double others(const Reading& from, const Reading& to) const;
  /// Throttling between two readings, all hosts.
  long throttled(const Reading& from, const Reading& to) const;

  /// More than this is not quiet: a tenth of a processor and a hundredth of all.
  double allowance() const { return 0.1 + 0.01 * static_cast<double>(processors_.size()); }
  const std::vector<long>& processors() const { return processors_; }

  static constexpr double shortest_s = 0.2;

 private:
  const parallel::Comm& comm_;
  parallel::Comm node_;
  std::vector<long> processors_;
  Timer timer_;
};

/// Energy counters of the processor packages (Linux powercap: RAPL). A rank reads those of its host if it is the host's
/// first.
class EnergyMeter {
 public:
  explicit EnergyMeter(const parallel::Comm& comm, const std::string& root = "/");

  /// "powercap: 2 packages", or "unavailable: why"; the first host's.
  const std::string& source() const { return source_; }
  /// On every rank: whether all hosts can be read.
  bool available() const { return available_; }

  void start();
  /// Joules since start(), this rank's host; 0 where this rank does not read. Counters wrap at most once in between.
  double stop();

 private:
  struct Zone {
    std::string file;
    double range = 0;  ///< µJ at which it wraps
    double before = 0;
  };
  std::vector<Zone> zones_;
  std::string source_;
  bool available_ = false;
};

}  // namespace elkhorn::measure
