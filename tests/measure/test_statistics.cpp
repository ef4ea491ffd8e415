#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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
    EXPECT_TRUE(std::isnan(few.low) && std::isnan(few.high) && std::isnan(few.coverage)) << n;
    EXPECT_EQ(few.relative_width(), std::numeric_limits<double>::infinity()) << n;
  }
  const MedianInterval six = median_interval(one_to(6));
  EXPECT_EQ(six.low, 1);
  EXPECT_EQ(six.high, 6);
  EXPECT_EQ(six.min, 1);
  EXPECT_EQ(six.max, 6);
  EXPECT_NEAR(six.coverage, 0.96875, 1e-12);
  EXPECT_NEAR(six.relative_width(), 5 / 3.5, 1e-12);
}

// Orders k of x_(k) and coverages as in printed tables of the sign test's interval.
TEST(MedianInterval, AgreesWithTables) {
  struct Row {
    int n, k;
    double coverage;
  };
  for (const Row& row : {Row{6, 1, 0.969}, Row{8, 1, 0.992}, Row{9, 2, 0.961}, Row{12, 3, 0.961}, Row{15, 4, 0.965},
                         Row{17, 5, 0.951}, Row{20, 6, 0.959}, Row{100, 40, 0.965}}) {
    const MedianInterval interval = median_interval(one_to(row.n));
    EXPECT_EQ(interval.low, row.k) << row.n;
    EXPECT_EQ(interval.high, row.n + 1 - row.k) << row.n;
    EXPECT_NEAR(interval.coverage, row.coverage, 5e-4) << row.n;
  }
}

TEST(MedianInterval, LargeSamplesFollowTheNormalApproximation) {
  for (const int n : {1000, 10000, 100000}) {
    const MedianInterval interval = median_interval(one_to(n));
    EXPECT_NEAR(interval.low, (n - 1.96 * std::sqrt(n)) / 2, 2) << n;
    EXPECT_GE(interval.coverage, 0.95) << n;
    EXPECT_LT(interval.coverage, 0.955) << n;
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

// The interval must hold the true median as often as it says, whatever the distribution.
TEST(MedianInterval, CoverageBySimulation) {
  constexpr int trials = 20000;
  struct Distribution {
    const char* name;
    double median;
    std::function<double(std::mt19937_64&)> draw;
  };
  const Distribution distributions[] = {
      {"normal", 0.0, [d = std::normal_distribution<>()](auto& g) mutable { return d(g); }},
      {"exponential", std::log(2.0), [d = std::exponential_distribution<>()](auto& g) mutable { return d(g); }},
      {"lognormal", 1.0, [d = std::lognormal_distribution<>(0, 2)](auto& g) mutable { return d(g); }}};
  for (const Distribution& distribution : distributions) {
    for (const int n : {6, 7, 10, 25, 101}) {
      std::mt19937_64 generator(1234 + n);
      int below = 0, above = 0;
      double stated = 0;
      for (int trial = 0; trial < trials; ++trial) {
        std::vector<double> samples(static_cast<std::size_t>(n));
        for (double& x : samples) x = distribution.draw(generator);
        const MedianInterval interval = median_interval(samples);
        if (interval.high < distribution.median) ++below;
        if (interval.low > distribution.median) ++above;
        stated = interval.coverage;
      }
      // Four standard deviations of the two counts.
      const double tail = (1 - stated) / 2;
      const double slack = 4 * std::sqrt(tail * (1 - tail) / trials);
      EXPECT_GE(stated, 0.95);
      EXPECT_NEAR(1.0 * below / trials, tail, slack) << distribution.name << ", n = " << n;
      EXPECT_NEAR(1.0 * above / trials, tail, slack) << distribution.name << ", n = " << n;
    }
  }
}

}  // namespace
}  // namespace elkhorn::measure
