/// The one place of statistics: median with a non-parametric confidence interval.
#pragma once

#include <limits>
#include <vector>

namespace elkhorn::measure {

/// The median of n samples and an interval that holds the true median with probability `coverage`.
///
/// low and high are order statistics x_(k) and x_(n+1-k): the true median lies below x_(k) where fewer than k
/// of n samples fall below it, and that count is binomial(n, 1/2) whatever the distribution (continuous,
/// samples independent). k is the largest with 2 P(Bin(n, 1/2) ≤ k-1) ≤ 5 %, computed exactly; so the coverage is
/// at least 95 %. Up to n = 5 even [min, max] covers only 1 - 2^(1-n) < 95 %: then there is no interval, and
/// low, high and coverage are NaN. Hoefler & Belli (SC'15, §4.2.2) say the same: n > 5 measurements are needed to
/// assess confidence intervals non-parametrically. (They give k by a normal approximation, §3.1.3.)
struct MedianInterval {
  long n = 0;
  double median = std::numeric_limits<double>::quiet_NaN();  ///< mean of the middle two where n is even
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
  double coverage = std::numeric_limits<double>::quiet_NaN();  ///< of [low, high], exact, ≥ the one asked for
  double min = std::numeric_limits<double>::quiet_NaN();
  double max = std::numeric_limits<double>::quiet_NaN();

  bool has_interval() const { return low <= high; }
  /// (high - low) / median; infinite where there is no interval.
  double relative_width() const;
};

/// Of samples in any order and unit. None: all NaN. Throws std::invalid_argument where one is NaN or
/// `confidence` is not between 0 and 1.
MedianInterval median_interval(std::vector<double> samples, double confidence = 0.95);

}  // namespace elkhorn::measure
