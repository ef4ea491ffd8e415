/// The timed region, and how often it is repeated.
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "deck/case.hpp"
#include "measure/statistics.hpp"
#include "parallel/comm.hpp"

namespace elkhorn::measure {

/// Seconds that `solve` took on this rank: fence, barrier, start, solve, fence, stop. What counts is the largest
/// over ranks. Collective. Where `solve` throws on any rank, every rank throws parallel::AgreedError; so a
/// `solve` that communicates must end the job on an error itself (parallel::Comm::or_abort).
double timed(const parallel::Comm& comm, const std::function<void()>& solve);

/// The timings of one case, the same on every rank.
struct Samples {
  /// Of the very first solve, which meets cold caches and untouched memory: a warm-up, or, without any, also time_s[0].
  double first_s = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> time_s;       ///< [samples], one solve each, the largest over ranks
  std::vector<double> rank_time_s;  ///< [samples, ranks], row-major
  long ranks = 1;
  std::string stopped_because;  ///< ci_width | max_repetitions | time_limit
  MedianInterval median;        ///< of time_s, once sampling has stopped
};

/// When sampling of a case ends: as soon as one of these holds after a sample.
///  - `ci_width`: the relative width of the 95 % interval of the median has been ≤ ci_width once, at n samples, half as
///    many have been taken since, and there are min_repetitions of them and `least_time_s` together. There is no such
///    interval below six samples, so this takes nine at least;
///  - `max_repetitions` samples are taken;
///  - `time_limit`: sampling has taken time_limit_s and min_repetitions samples are taken, or the last sample alone took
///    longer than time_limit_s (then there may be one sample only, and no interval).
///
/// To look at the interval after every sample and stop at once (Hoefler & Belli, SC'15, §4.2.2) picks intervals for being
/// narrow, and these miss the true median more often: simulated, 95 % intervals held it in 88 to 95 % of runs. The half
/// that comes after has no say in when to stop (tests/measure/test_sampling.cpp simulates what remains: 92 to 96 %).
class StopRule {
 public:
  /// A narrow interval of a few milliseconds tells of these milliseconds only.
  static constexpr double least_time_s = 0.1;
  explicit StopRule(const deck::MeasureConfig& config) : config_(config) {}
  /// Why sampling ends after these times (seconds, in the order taken, `elapsed_s` spent on sampling), or nothing where it
  /// goes on. To be asked after every sample.
  std::string reason(const std::vector<double>& time_s, double elapsed_s);

 private:
  deck::MeasureConfig config_;
  double total_s_ = 0;
  long enough_ = 0;  ///< samples to take for ci_width; 0: the interval has not been narrow yet
};

/// Times `solve`, one solve a call, so that the samples of several cases can take turns; the time of other cases' turns is
/// not counted. Warm-up solves are not kept; they end early once they have taken time_limit_s together. So a solve slower
/// than the limit runs twice.
///
/// Rank 0 decides and broadcasts, so all ranks stop together. All members are collective; where `solve` throws on any
/// rank, every rank throws parallel::AgreedError (see `timed`). Where the run is asked to stop, every rank throws
/// parallel::AgreedStop before the next solve (interrupt.hpp).
class Sampler {
 public:
  Sampler(const parallel::Comm& comm, const deck::MeasureConfig& config, std::function<void()> solve);

  void warm_up();
  void take();
  bool finished() const { return !samples_.stopped_because.empty(); }
  const Samples& samples() const { return samples_; }

 private:
  const parallel::Comm& comm_;
  deck::MeasureConfig config_;
  std::function<void()> solve_;
  StopRule rule_;
  Samples samples_;
  double spent_s_ = 0;  ///< on samples
  double last_s_ = 0;   ///< the next solve will take as long
};

/// Warms up and takes all samples.
Samples sample(const parallel::Comm& comm, const deck::MeasureConfig& config, const std::function<void()>& solve);

}  // namespace elkhorn::measure
