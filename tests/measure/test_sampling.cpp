#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "measure/sampling.hpp"
#include "measure/timer.hpp"

namespace elkhorn::measure {
namespace {

void nap(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

deck::MeasureConfig config(long warmup, long min, long max, double width, double limit_s) {
  deck::MeasureConfig c;
  c.warmup = warmup;
  c.min_repetitions = min;
  c.max_repetitions = max;
  c.ci_width = width;
  c.time_limit_s = limit_s;
  return c;
}

constexpr double never = -1;    // no relative width is below it
constexpr double always = 1e9;  // every width is, once there is an interval
constexpr double long_time = 1e6;

/// How many of these samples are taken, and why no more.
std::pair<std::size_t, std::string> stops(const std::vector<double>& times, const deck::MeasureConfig& c) {
  StopRule rule(c);
  std::vector<double> taken;
  double elapsed = 0;
  for (const double t : times) {
    taken.push_back(t);
    elapsed += t;
    const std::string reason = rule.reason(taken, elapsed);
    if (!reason.empty()) return {taken.size(), reason};
  }
  return {taken.size(), ""};
}

TEST(StopRule, FollowsItsRulesInOrder) {
  using Stop = std::pair<std::size_t, std::string>;
  const std::vector<double> steady(30, 1.0);
  std::vector<double> wild;
  for (int i = 0; i < 30; ++i) wild.push_back(i % 2 ? 10.0 - 0.1 * i : 1.0 + 0.1 * i);
  EXPECT_EQ(StopRule(config(0, 1, 10, always, long_time)).reason({}, 0), "");
  EXPECT_EQ(stops(steady, config(0, 5, 100, 0.05, long_time)), Stop(9, "ci_width")) << "six, and half as many again";
  EXPECT_EQ(stops(steady, config(0, 1, 100, 0.05, long_time)), Stop(9, "ci_width")) << "no interval below six";
  EXPECT_EQ(stops(steady, config(0, 20, 100, 0.05, long_time)), Stop(20, "ci_width")) << "at least min_repetitions";
  EXPECT_EQ(stops(std::vector<double>(300, 0.001), config(0, 5, 400, 0.05, long_time)), Stop(100, "ci_width"))
      << "a tenth of a second at least";
  EXPECT_EQ(stops(steady, config(0, 5, 8, 0.05, long_time)), Stop(8, "max_repetitions"));
  EXPECT_EQ(stops(wild, config(0, 5, 100, 0.05, long_time)), Stop(30, ""));
  EXPECT_EQ(stops(wild, config(0, 5, 10, 0.05, long_time)), Stop(10, "max_repetitions"));
  EXPECT_EQ(stops(wild, config(0, 5, 100, 0.05, 50)), Stop(10, "time_limit"));
  EXPECT_EQ(stops(wild, config(0, 20, 100, 0.05, 50)), Stop(20, "time_limit")) << "min_repetitions come first";
  EXPECT_EQ(stops({60, 1}, config(0, 20, 100, 0.05, 50)), Stop(1, "time_limit")) << "one sample exceeds the limit";
  // Narrow once is enough: what comes after decides nothing.
  std::vector<double> calm_then_wild(6, 5.0);
  calm_then_wild.insert(calm_then_wild.end(), wild.begin(), wild.end());
  EXPECT_EQ(stops(calm_then_wild, config(0, 5, 100, 0.05, long_time)), Stop(9, "ci_width"));
}

// Intervals at the end of a run hold the true median as often as this, though the samples themselves say when it ends.
TEST(StopRule, IntervalsCoverAllTheSame) {
  if (parallel::Comm().size() > 1) GTEST_SKIP() << "needs no second rank";
  constexpr int trials = 4000;
  for (const bool tail : {false, true})
    for (const double noise : {0.01, 0.03, 0.05, 0.1, 0.2}) {
      std::mt19937_64 generator(31);
      std::lognormal_distribution<> lognormal(0, noise);
      std::exponential_distribution<> delay(1 / noise);
      const double truth = tail ? 1 + noise * std::log(2.0) : 1;
      int held = 0;
      for (int trial = 0; trial < trials; ++trial) {
        StopRule rule(config(0, 5, 100, 0.05, long_time));
        std::vector<double> times;
        do {
          times.push_back(tail ? 1 + delay(generator) : lognormal(generator));
        } while (rule.reason(times, 0).empty());
        const MedianInterval interval = median_interval(times);
        held += interval.low <= truth && truth <= interval.high ? 1 : 0;
      }
      const double coverage = 1.0 * held / trials;
      EXPECT_GE(coverage, 0.915) << (tail ? "1 + exponential, " : "lognormal, ") << noise;
      EXPECT_LE(coverage, 0.97) << (tail ? "1 + exponential, " : "lognormal, ") << noise;
    }
}

TEST(Sampling, StopsByIntervalWidth) {
  const parallel::Comm comm;
  const Samples samples = sample(comm, config(0, 2, 100, always, long_time), [] { nap(0.012); });
  EXPECT_EQ(samples.stopped_because, "ci_width");
  EXPECT_EQ(samples.time_s.size(), 9u);  // the fewest that have an interval, and half as many
  EXPECT_TRUE(samples.median.has_interval());
}

TEST(Sampling, StopsByRepetitionsAndKeepsRawTimes) {
  const parallel::Comm comm;
  long calls = 0;
  const double slow = 4e-3;
  const Samples samples = sample(comm, config(3, 2, 7, never, long_time), [&] {
    ++calls;
    if (comm.rank() == comm.size() - 1) nap(slow);
  });
  EXPECT_EQ(samples.stopped_because, "max_repetitions");
  EXPECT_EQ(calls, 3 + 7);
  EXPECT_EQ(samples.ranks, comm.size());
  ASSERT_EQ(samples.time_s.size(), 7u);
  const std::size_t ranks = static_cast<std::size_t>(comm.size());
  ASSERT_EQ(samples.rank_time_s.size(), 7 * ranks);
  for (std::size_t i = 0; i < 7; ++i) {
    const auto row = samples.rank_time_s.begin() + static_cast<std::ptrdiff_t>(i * ranks);
    EXPECT_GE(row[static_cast<std::ptrdiff_t>(ranks) - 1], slow) << "the last rank is the slow one";
    EXPECT_EQ(samples.time_s[i], *std::max_element(row, row + static_cast<std::ptrdiff_t>(ranks)));
  }
  EXPECT_EQ(samples.median.median, median_interval(samples.time_s).median);
  // The same on every rank.
  EXPECT_EQ(comm.max(samples.median.median), comm.min(samples.median.median));
}

TEST(Sampling, TheFirstSolveIsToldApart) {
  const parallel::Comm comm;
  for (const long warmup : {0L, 2L}) {
    long calls = 0;
    const Samples samples = sample(comm, config(warmup, 7, 7, never, long_time), [&] {
      if (calls++ == 0 && comm.rank() == comm.size() - 1) nap(0.02);
    });
    EXPECT_GE(samples.first_s, 0.02) << "the largest over ranks";
    EXPECT_EQ(comm.max(samples.first_s), comm.min(samples.first_s));
    EXPECT_EQ(samples.first_s == samples.time_s[0], warmup == 0) << "a warm-up is no sample";
    EXPECT_LT(samples.median.median, 0.02);
  }
}

TEST(Sampler, LetsTwoCasesTakeTurns) {
  const parallel::Comm comm;
  std::string order;
  Sampler a(comm, config(1, 3, 3, never, long_time), [&] { order += "a"; });
  Sampler b(comm, config(1, 5, 5, never, long_time), [&] { order += "b"; });
  a.warm_up();
  b.warm_up();
  while (!a.finished() || !b.finished()) {
    if (!a.finished()) a.take();
    if (!b.finished()) b.take();
  }
  EXPECT_EQ(order,
            "ab"
            "ab"
            "ab"
            "ab"
            "bb");
  EXPECT_EQ(a.samples().time_s.size(), 3u);
  EXPECT_EQ(b.samples().stopped_because, "max_repetitions");
}

TEST(Sampler, OtherTurnsDoNotCountAgainstItsTime) {
  const parallel::Comm comm;
  Sampler sampler(comm, config(0, 1, 1000, never, 0.4), [] { nap(5e-3); });
  for (int i = 0; i < 4; ++i) {  // far from the limit without the naps, on busy machines too
    sampler.take();
    nap(0.15);
  }
  EXPECT_FALSE(sampler.finished());
  while (!sampler.finished()) sampler.take();
  EXPECT_EQ(sampler.samples().stopped_because, "time_limit");
}

TEST(Sampling, StopsByTime) {
  const parallel::Comm comm;
  const Samples samples = sample(comm, config(0, 3, 1'000'000, never, 0.05), [] { nap(2e-3); });
  EXPECT_EQ(samples.stopped_because, "time_limit");
  EXPECT_GE(samples.time_s.size(), 3u);
  EXPECT_LE(samples.time_s.size(), 25u);  // each takes at least 2 ms
}

TEST(Sampling, ASolveSlowerThanTheLimitRunsTwice) {
  const parallel::Comm comm;
  long calls = 0;
  const Samples samples = sample(comm, config(5, 10, 20, never, 0.01), [&] {
    ++calls;
    if (comm.rank() == comm.size() - 1) nap(0.02);
  });
  EXPECT_EQ(samples.stopped_because, "time_limit");
  EXPECT_EQ(samples.time_s.size(), 1u);
  EXPECT_EQ(calls, 2);
  EXPECT_FALSE(samples.median.has_interval());
  EXPECT_GE(samples.median.median, 0.02);
}

TEST(Sampling, AnExceptionOnAnyRankEndsItOnAll) {
  const parallel::Comm comm;
  for (int bad = 0; bad < comm.size(); ++bad) {
    for (const long fail_at : {1L, 2L, 5L}) {  // in the warm-up, its end, and a sample
      long calls = 0;
      try {
        sample(comm, config(2, 8, 8, never, long_time), [&] {
          if (++calls == fail_at && comm.rank() == bad) throw std::runtime_error("burnt");
        });
        FAIL() << "no error on this rank";
      } catch (const parallel::AgreedError& error) {
        const std::string expected = comm.size() > 1 ? "rank " + std::to_string(bad) + ": burnt" : "burnt";
        EXPECT_EQ(error.what(), expected);
      }
      EXPECT_EQ(calls, fail_at);
      EXPECT_EQ(comm.sum(1L), comm.size());  // all are in step
    }
  }
}

TEST(Timed, StartsWhenTheLastRankHasArrived) {
  const parallel::Comm comm;
  if (comm.size() == 1) GTEST_SKIP() << "needs two ranks";
  // A solve that communicates waits for the slowest rank. Lateness before the timed region must not count.
  if (comm.is_root()) nap(0.5);
  const double seconds = timed(comm, [&] { comm.barrier(); });
  EXPECT_LT(seconds, 0.4);
}

}  // namespace
}  // namespace elkhorn::measure
