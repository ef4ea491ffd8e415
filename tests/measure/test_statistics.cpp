#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include "measure/statistics.hpp"

namespace elkhorn::measure {
namespace {

std::vector<double> one_to(int n) {
  std::vector<double> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), 1.0);
  std::shuffle(values.begin(), values.end(), std::mt19937(7));
  return values;
}

TEST(MedianInterval, OfFewSamples) {
  EXPECT_EQ(median_interval({}).n, 0);
  EXPECT_TRUE(std::isnan(median_interval({}).median));
  EXPECT_EQ(median_interval({3}).median, 3);
  EXPECT_EQ(median_interval({4, 2}).median, 3);
  EXPECT_EQ(median_interval({9, 1, 5}).median, 5);
  for (int n = 0; n <= 5; ++n) {
    const MedianInterval few = median_interval(one_to(n));
    EXPECT_FALSE(few.has_interval()) << n;
    EXPECT_TRUE(std::isnan(few.low) && std::isnan(few.high) && std::isnan(few.coverage_most)) << n;
    EXPECT_EQ(few.relative_width(), std::numeric_limits<double>::infinity()) << n;
  }
  const MedianInterval six = median_interval(one_to(6));
  EXPECT_EQ(six.low, 1);
  EXPECT_EQ(six.min, 1);
  EXPECT_EQ(six.max, 6);
  EXPECT_NEAR(six.coverage_most, 0.96875, 1e-12);
  EXPECT_NEAR(six.coverage_least, 0.875, 1e-12);
  // The share (0.96875 − 0.95) / (0.96875 − 0.875) = 0.2 of the probability is 5·0.2 / (1 + 4·0.2) of the way.
  EXPECT_NEAR(six.high, 6 - 1 / 1.8, 1e-12);
  EXPECT_NEAR(six.relative_width(), (six.high - 1) / 3.5, 1e-12);
}

// Orders k of [x_(k), x_(n+1-k)] and coverages as in printed tables of the sign test's interval: the one interval that is
// moved inwards starts from there.
TEST(MedianInterval, StartsFromTheIntervalsInTables) {
  struct Row {
    int n, k;
    double coverage;
  };
  for (const Row& row : {Row{6, 1, 0.969}, Row{9, 2, 0.961}, Row{12, 3, 0.961}, Row{15, 4, 0.965}, Row{17, 5, 0.951},
                         Row{20, 6, 0.959}}) {
    const MedianInterval interval = median_interval(one_to(row.n));
    EXPECT_EQ(interval.low, row.k) << row.n;
    EXPECT_LT(interval.high, row.n + 1 - row.k) << row.n;
    EXPECT_GT(interval.high, row.n - row.k) << row.n;
    EXPECT_NEAR(interval.coverage_most, row.coverage, 5e-4) << row.n;
  }
  // Where that covers too much, the upper end moves in whole and the lower one in part: 99.2 % at n = 8.
  const MedianInterval eight = median_interval(one_to(8));
  EXPECT_EQ(eight.high, 7);
  EXPECT_GT(eight.low, 1);
  EXPECT_LT(eight.low, 2);
  EXPECT_NEAR(eight.coverage_most, 1 - 10.0 / 256, 1e-12);
  EXPECT_NEAR(eight.coverage_least, 1 - 18.0 / 256, 1e-12);
}

TEST(MedianInterval, LargeSamplesFollowTheNormalApproximation) {
  for (const int n : {1000, 10000, 100000}) {
    const MedianInterval interval = median_interval(one_to(n));
    EXPECT_NEAR(interval.low, (n - 1.96 * std::sqrt(n)) / 2, 2) << n;
    EXPECT_GE(interval.coverage_most, 0.95) << n;
    EXPECT_LE(interval.coverage_least, 0.95) << n;
    EXPECT_LT(interval.coverage_most - interval.coverage_least, 0.004) << n;
  }
}

TEST(MedianInterval, OtherConfidences) {
  EXPECT_TRUE(median_interval(one_to(5), 0.9).has_interval());
  EXPECT_FALSE(median_interval(one_to(6), 0.99).has_interval());
  EXPECT_THROW(median_interval(one_to(6), 1.0), std::invalid_argument);
  EXPECT_THROW(median_interval({1, std::numeric_limits<double>::quiet_NaN()}), std::invalid_argument);
}

TEST(MedianInterval, WidthOfEqualSamplesIsZero) {
  EXPECT_EQ(median_interval(std::vector<double>(6, 0.0)).relative_width(), 0);
  EXPECT_EQ(median_interval(std::vector<double>(9, 2.0)).relative_width(), 0);
}

double normal_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

/// A fast mode N(0, 1) with probability `share`, and a slow one N(at, 1).
struct Mixture {
  double share, at;
  double draw(std::mt19937_64& g) const {
    const bool fast = std::uniform_real_distribution<>()(g) < share;
    return std::normal_distribution<>(fast ? 0.0 : at)(g);
  }
  double median() const {
    double low = -10, high = at + 10;
    for (int i = 0; i < 200; ++i) {
      const double x = (low + high) / 2;
      (share * normal_below(x) + (1 - share) * normal_below(x - at) < 0.5 ? low : high) = x;
    }
    return low;
  }
};

// The interval holds the true median as often as it says, whatever the distribution.
TEST(MedianInterval, CoverageBySimulation) {
  constexpr int trials = 10000;
  const Mixture seldom_slow{0.7, 8}, often_slow{0.6, 8}, half{0.5, 4};
  struct Distribution {
    const char* name;
    double median;
    std::function<double(std::mt19937_64&)> draw;
  };
  const Distribution distributions[] = {
      {"normal", 0.0, [d = std::normal_distribution<>()](auto& g) mutable { return d(g); }},
      {"lognormal", 1.0, [d = std::lognormal_distribution<>(0, 1)](auto& g) mutable { return d(g); }},
      {"bimodal 70:30", seldom_slow.median(), [=](auto& g) { return seldom_slow.draw(g); }},
      {"bimodal 60:40", often_slow.median(), [=](auto& g) { return often_slow.draw(g); }},
      {"bimodal 50:50", half.median(), [=](auto& g) { return half.draw(g); }},
      // A machine that slows down by 30 %, looked at at random moments: independent samples of what it does.
      {"drifting", 1.15, [](auto& g) {
         return 1 + 0.3 * std::uniform_real_distribution<>()(g) + std::normal_distribution<>(0, 0.02)(g);
       }}};
  for (const Distribution& distribution : distributions) {
    double least = 1, most = 0;
    for (const int n : {6, 7, 8, 9, 10, 11, 12, 15, 20, 30, 50, 100}) {
      std::mt19937_64 generator(1234 + n);
      int held = 0;
      MedianInterval interval;
      for (int trial = 0; trial < trials; ++trial) {
        std::vector<double> samples(static_cast<std::size_t>(n));
        for (double& x : samples) x = distribution.draw(generator);
        interval = median_interval(samples);
        held += interval.low <= distribution.median && distribution.median <= interval.high ? 1 : 0;
      }
      const double coverage = 1.0 * held / trials;
      EXPECT_GE(coverage, 0.93) << distribution.name << ", n = " << n;
      EXPECT_LE(coverage, 0.97) << distribution.name << ", n = " << n;
      const double slack = 4 * std::sqrt(0.05 * 0.95 / trials);
      EXPECT_GE(coverage, interval.coverage_least - slack) << distribution.name << ", n = " << n;
      EXPECT_LE(coverage, interval.coverage_most + slack) << distribution.name << ", n = " << n;
      least = std::min(least, coverage);
      most = std::max(most, coverage);
    }
    std::printf("%-13s %.1f to %.1f %% of %d intervals hold the median, 6 to 100 samples\n", distribution.name,
                100 * least, 100 * most, trials);
  }
}

// Samples in the order of a drift are independent and not alike: their interval is too wide, if anything, and the drift is
// found. Where the drift itself is random they depend on each other, and no interval of theirs knows how far they are off;
// docs/results.md says so.
TEST(MedianInterval, CoverageOfSamplesInTheOrderOfADrift) {
  constexpr int trials = 10000, n = 30;
  std::mt19937_64 generator(77);
  std::normal_distribution<> normal;
  int held = 0, held_random = 0, found = 0, found_random = 0;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> line, walk;
    double level = normal(generator);
    for (int i = 0; i < n; ++i) {
      line.push_back(1 + 0.3 * (i + 0.5) / n + 0.02 * normal(generator));
      walk.push_back(1 + 0.02 * level);
      level = 0.9 * level + std::sqrt(1 - 0.9 * 0.9) * normal(generator);
    }
    const MedianInterval of_line = median_interval(line), of_walk = median_interval(walk);
    held += of_line.low <= 1.15 && 1.15 <= of_line.high ? 1 : 0;
    held_random += of_walk.low <= 1 && 1 <= of_walk.high ? 1 : 0;
    if (trial % 10 == 0) {
      found += drift(line).found() ? 1 : 0;
      found_random += drift(walk).found() ? 1 : 0;
    }
  }
  std::printf("drifts in order: held by %.1f %%, found in %.1f %%; random ones: held by %.1f %%, found in %.1f %%\n",
              100.0 * held / trials, 1000.0 * found / trials, 100.0 * held_random / trials,
              1000.0 * found_random / trials);
  EXPECT_GE(held, 0.95 * trials);
  EXPECT_GE(found, 0.99 * trials / 10);
}

TEST(Spread, QuartilesDeviationAndOutliers) {
  // numpy.quantile([1, 2, 3, 4, 10], [0.25, 0.75]) is [2, 4]; so 10 lies beyond 4 + 1.5 · 2.
  const Spread odd = spread({10, 3, 1, 4, 2});
  EXPECT_EQ(odd.q1, 2);
  EXPECT_EQ(odd.q3, 4);
  EXPECT_EQ(odd.mad, 1);
  EXPECT_EQ(odd.outliers, 1);
  // … of [1, 2, 3, 4]: [1.75, 3.25]
  const Spread even = spread({1, 2, 3, 4});
  EXPECT_EQ(even.q1, 1.75);
  EXPECT_EQ(even.q3, 3.25);
  EXPECT_EQ(even.mad, 1);
  EXPECT_EQ(even.outliers, 0);
  EXPECT_EQ(spread({7}).q1, 7);
  EXPECT_EQ(spread({7}).outliers, 0);
  EXPECT_EQ(spread({}).outliers, -1);
  EXPECT_TRUE(std::isnan(spread({}).q1) && std::isnan(spread({}).mad));
}

/// How often `test` says yes to n samples of `draw(i, generator)`.
double rate(int trials, int n, const std::function<double(int, std::mt19937_64&)>& draw,
            const std::function<bool(const std::vector<double>&)>& test) {
  std::mt19937_64 generator(99);
  int yes = 0;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> samples;
    for (int i = 0; i < n; ++i) samples.push_back(draw(i, generator));
    yes += test(samples) ? 1 : 0;
  }
  return 1.0 * yes / trials;
}

TEST(Drift, IsTheSlopeBetweenFirstAndLast) {
  std::vector<double> line;
  for (int i = 0; i < 20; ++i) line.push_back(100 + i);
  const Drift up = drift(line);
  EXPECT_NEAR(up.relative, 19 / 109.5, 1e-12);
  EXPECT_LT(up.p, 1e-9);
  EXPECT_TRUE(up.found());
  std::reverse(line.begin(), line.end());
  EXPECT_NEAR(drift(line).relative, -19 / 109.5, 1e-12);
  EXPECT_TRUE(drift(line).found());
  // S = 43 of 45 at n = 10: z = 42 / √125, as tables of the Mann–Kendall test have it.
  EXPECT_NEAR(drift({1, 2, 3, 4, 5, 6, 7, 8, 10, 9}).p, std::erfc(42 / std::sqrt(2 * 125.0)), 1e-12);
  // Five ties of two: S = 40, the variance 120 instead of 125.
  EXPECT_NEAR(drift({1, 1, 2, 2, 3, 3, 4, 4, 5, 5}).p, std::erfc(39 / std::sqrt(2 * 120.0)), 1e-12);
  EXPECT_TRUE(std::isnan(drift({1, 2, 3, 4, 5, 6, 7, 8, 9}).relative)) << "too few";
  EXPECT_FALSE(drift(std::vector<double>(30, 2.0)).found());
  EXPECT_EQ(drift(std::vector<double>(30, 2.0)).relative, 0);
  // A drift of 0.5 % is seen, but none to speak of.
  std::vector<double> slight;
  for (int i = 0; i < 100; ++i) slight.push_back(100 + 0.005 * i);
  EXPECT_LT(drift(slight).p, 1e-9);
  EXPECT_FALSE(drift(slight).found());
  // Very many samples: blocks of them.
  std::vector<double> many;
  for (int i = 0; i < 25000; ++i) many.push_back(1 + 0.3 * i / 25000.0 + (i % 2) * 0.5);
  EXPECT_NEAR(drift(many).relative, 0.3 / 1.4, 0.01);
}

TEST(Drift, IsFoundInDriftingSamplesAndSeldomInOthers) {
  const auto found = [](const std::vector<double>& x) { return drift(x).found(); };
  for (const int n : {10, 30, 100}) {
    const auto still = [](int, auto& g) { return std::lognormal_distribution<>(0, 0.1)(g); };
    EXPECT_LE(rate(2000, n, still, found), 0.02) << n;
    // 30 % in the course of the samples, noise of 2 %
    const auto moving = [n](int i, auto& g) { return (1 + 0.3 * i / n) * std::lognormal_distribution<>(0, 0.02)(g); };
    EXPECT_GE(rate(500, n, moving, found), 0.95) << n;
  }
}

TEST(Dip, AgreesWithPublishedValues) {
  // The data set `statfaculty` of R's package diptest, whose manual gives dip = 0.05952381.
  const std::vector<double> faculty = {30, 33, 35, 36, 37, 37, 39, 39, 39, 39, 39, 40, 40, 40, 40, 41,
                                       42, 43, 43, 43, 44, 44, 45, 45, 46, 47, 47, 47, 48, 48, 48, 49,
                                       50, 50, 51, 52, 52, 53, 53, 53, 53, 53, 54, 54, 57, 57, 59, 60,
                                       60, 60, 61, 61, 61, 61, 62, 62, 62, 62, 63, 66, 70, 72, 72};
  EXPECT_NEAR(dip(faculty).dip, 0.05952381, 1e-8);
  EXPECT_FALSE(dip(faculty).bimodal) << "p is 0.08 by the same manual";
  EXPECT_TRUE(std::isnan(dip({1, 2, 3}).dip));
  EXPECT_FALSE(dip({1, 2, 3}).bimodal);
  EXPECT_EQ(dip(std::vector<double>(20, 3.0)).dip, 0);
  // Two points of equal weight are as far from unimodal as can be: a quarter.
  std::vector<double> two(20, 1.0);
  std::fill(two.begin() + 10, two.end(), 2.0);
  EXPECT_NEAR(dip(two).dip, 0.25, 1e-12);
  EXPECT_TRUE(dip(two).bimodal);
}

TEST(Dip, FindsTwoModesAndSeldomOneTooMany) {
  const auto bimodal = [](const std::vector<double>& x) { return dip(x).bimodal; };
  for (const int n : {10, 14, 25, 60, 300}) {
    // The level is that of the uniform distribution, the worst case; a skewed one with a long tail stays far below it.
    const double uniform = rate(
        10000, n, [](int, auto& g) { return std::uniform_real_distribution<>()(g); }, bimodal);
    EXPECT_GE(uniform, 0.006) << n;
    EXPECT_LE(uniform, 0.014) << n;
    EXPECT_LE(rate(
                  3000, n, [](int, auto& g) { return std::lognormal_distribution<>(0, 1)(g); }, bimodal),
              0.01)
        << n;
  }
  // Twenty samples show two far modes every other time only, as it takes that many to rule out chance.
  const Mixture modes{0.6, 8};
  const auto draw = [&](int, auto& g) { return modes.draw(g); };
  EXPECT_GE(rate(500, 20, draw, bimodal), 0.5);
  EXPECT_GE(rate(500, 60, draw, bimodal), 0.95);
  EXPECT_GE(rate(500, 100, draw, bimodal), 0.99);
}

}  // namespace
}  // namespace elkhorn::measure
