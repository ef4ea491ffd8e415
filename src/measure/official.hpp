/// Which results are official: the rules of docs/results.md ("Official results"), in one place.
#pragma once

#include <string>
#include <vector>

#include "measure/environment.hpp"
#include "measure/sampling.hpp"
#include "record/result.hpp"

namespace elkhorn::measure {

/// What an official result needs of its samples.
inline constexpr long official_samples = 10;
inline constexpr double official_width = 0.05;                     ///< of the 95 % interval, relative to the median
inline constexpr double official_time_s = StopRule::least_time_s;  ///< all samples of a case together
inline constexpr double official_resolutions = 1000;               ///< of the clock in the median

/// Why no result of this run is official; empty where nothing stands against it. Complete where the environment is: on
/// rank 0. `watched`: a QuietWatch sees what other programs do, case by case; else the load average has to do, in which
/// an earlier run of one's own lingers for minutes. Sentences without numbers of a single case, so that equal ones can be counted.
std::vector<std::string> reasons_of_run(const Environment& environment, bool watched);

/// What was seen while a case was measured.
struct Disturbance {
  double other_cpu = record::not_a_number;  ///< QuietWatch::others
  double allowance = 0;                     ///< QuietWatch::allowance
  long throttled = 0;                       ///< QuietWatch::throttled
};
/// Why this result is not official, beside the run's reasons. `clock_s`: the coarser of the clock's resolution and overhead.
std::vector<std::string> reasons_of_case(const record::CaseResult& result, const Disturbance& seen, double clock_s);

}  // namespace elkhorn::measure
