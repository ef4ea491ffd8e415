/// The one place of statistics: the median with a distribution-free interval, spread, outliers, drift, bimodality.
#pragma once

#include <limits>
#include <vector>

namespace elkhorn::measure {

/// The median of n samples and an interval that holds the true median with probability 95 %.
///
/// The true median lies below the k-th smallest sample x_(k) where fewer than k of n samples fall below it, and that
/// count is binomial(n, 1/2) whatever the distribution (continuous, samples independent). [x_(k), x_(n+1-k)] with the
/// largest k that covers at least the confidence is the usual choice (Hoefler & Belli, SC'15, §3.1.3), but covers up to
/// 99.2 % instead of 95 %. So one end moves in, the upper one first, towards the next order statistic, with which the
/// interval would cover less than asked for; how far is Hettmansperger & Sheather's weight (Statistics & Probability
/// Letters 4, 1986), made for one end. Coverage is then the one asked for where the density is smooth about the median,
/// and between `coverage_least` and `coverage_most` whatever the distribution: exact, as both ends of the move are.
///
/// Up to n = 5 even [min, max] covers only 1 - 2^(1-n) < 95 %: then there is no interval, and the numbers are NaN
/// (Hoefler & Belli, §4.2.2: n > 5 measurements are needed).
struct MedianInterval {
  long n = 0;
  double median = std::numeric_limits<double>::quiet_NaN();  ///< mean of the middle two where n is even
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
  double coverage_least = std::numeric_limits<double>::quiet_NaN();
  double coverage_most = std::numeric_limits<double>::quiet_NaN();
  double min = std::numeric_limits<double>::quiet_NaN();
  double max = std::numeric_limits<double>::quiet_NaN();

  bool has_interval() const { return low <= high; }
  /// (high - low) / median; infinite where there is no interval.
  double relative_width() const;
};

/// Of samples in any order and unit. None: all NaN. Throws std::invalid_argument where one is NaN or
/// `confidence` is not between 0 and 1.
MedianInterval median_interval(std::vector<double> samples, double confidence = 0.95);

/// How samples lie about their median. Nothing is ever dropped: outliers are counted and stay.
struct Spread {
  double q1 = std::numeric_limits<double>::quiet_NaN();  ///< quartiles, interpolated linearly (type 7: numpy, R)
  double q3 = std::numeric_limits<double>::quiet_NaN();
  double mad = std::numeric_limits<double>::quiet_NaN();  ///< median of |x − median|, not scaled
  long outliers = -1;  ///< outside [q1 − 1.5 (q3 − q1), q3 + 1.5 (q3 − q1)] (Tukey's fences); −1 without samples
};
Spread spread(std::vector<double> samples);

/// The fewest samples that drift and bimodality are looked for in.
inline constexpr long fewest_for_shape = 10;

/// Whether samples go up or down in the order taken.
struct Drift {
  double relative = std::numeric_limits<double>::quiet_NaN();  ///< change from first to last, by the median; Theil–Sen
  double p = std::numeric_limits<double>::quiet_NaN();         ///< of the Mann–Kendall test, two-sided
  /// Significant at 1 %, and at least 1 % of the median: smaller changes are real, but nobody's concern.
  bool found() const { return p < 0.01 && (relative >= 0.01 || relative <= -0.01); }
};
/// Theil–Sen slope × (n − 1) / median. All pairs of at most 1000 samples: more are averaged over blocks of equal length,
/// in order. All NaN below `fewest_for_shape`.
Drift drift(const std::vector<double>& samples);

/// Whether samples gather about more than one value.
struct Dip {
  double dip = std::numeric_limits<double>::quiet_NaN();
  bool bimodal = false;  ///< a uniform distribution, the worst of the unimodal ones, gives such a dip in less than 1 %
};
/// Hartigan & Hartigan (Annals of Statistics 13, 1985): the largest difference between the empirical distribution and the
/// nearest unimodal one; their algorithm AS 217 with the corrections of R's package diptest. Without a result below
/// `fewest_for_shape`.
Dip dip(std::vector<double> samples);

}  // namespace elkhorn::measure
