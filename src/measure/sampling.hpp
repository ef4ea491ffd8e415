/// The timed region, and how often it is repeated.
#pragma once

#include <functional>
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
  std::vector<double> time_s;       ///< [samples], one solve each, the largest over ranks
  std::vector<double> rank_time_s;  ///< [samples, ranks], row-major
  long ranks = 1;
  std::string stopped_because;  ///< ci_width | max_repetitions | time_limit
  MedianInterval median;        ///< of time_s
};

/// Warms up, then times `solve` until one of these holds, tested in this order after every sample:
///  - `ci_width`: at least min_repetitions samples, and the relative width of the 95 % interval of the median is
///    ≤ ci_width. There is no such interval below six samples, so this takes at least six;
///  - `max_repetitions` samples are taken;
///  - `time_limit`: time_limit_s have passed since the first sample began and min_repetitions samples are taken,
///    or the last sample alone took longer than time_limit_s (then there may be one sample only, and no interval).
/// Warm-up solves are not kept; they end early once they have taken time_limit_s together. So a solve slower than
/// the limit runs twice.
///
/// Rank 0 decides and broadcasts, so all ranks stop together. Collective; where `solve` throws on any rank,
/// every rank throws parallel::AgreedError (see `timed`).
///
/// Looking at the interval after each sample and stopping once it is narrow (Hoefler & Belli, SC'15, §4.2.2)
/// makes it slightly optimistic: simulated with log-normal noise of 1 to 30 % and the default limits, it held the
/// true median in 92 to 97 % of runs. Samples are independent only as far as the machine is quiet.
Samples sample(const parallel::Comm& comm, const deck::MeasureConfig& config, const std::function<void()>& solve);

/// Why sampling ends after these times (seconds, in the order taken, `elapsed_s` since sampling began), by the
/// rules above, or nothing where it goes on.
std::string stop_reason(const std::vector<double>& time_s, double elapsed_s, const deck::MeasureConfig& config);

}  // namespace elkhorn::measure
