#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
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

TEST(StopReason, FollowsTheRulesInOrder) {
  const std::vector<double> steady(10, 1.0);
  const std::vector<double> wild = {1, 9, 2, 8, 3, 7, 4, 6, 5, 10};
  EXPECT_EQ(stop_reason({}, 0, config(0, 1, 10, always, long_time)), "");
  EXPECT_EQ(stop_reason(steady, 10, config(0, 5, 100, 0.05, long_time)), "ci_width");
  EXPECT_EQ(stop_reason(steady, 10, config(0, 11, 100, 0.05, long_time)), "") << "fewer than min_repetitions";
  EXPECT_EQ(stop_reason(wild, 55, config(0, 5, 100, 0.05, long_time)), "");
  EXPECT_EQ(stop_reason(wild, 55, config(0, 5, 10, 0.05, long_time)), "max_repetitions");
  EXPECT_EQ(stop_reason(wild, 55, config(0, 5, 100, 0.05, 50)), "time_limit");
  EXPECT_EQ(stop_reason(wild, 55, config(0, 20, 100, 0.05, 50)), "") << "min_repetitions come before the limit";
  EXPECT_EQ(stop_reason({60}, 60, config(0, 20, 100, 0.05, 50)), "time_limit") << "one sample exceeds the limit";
  EXPECT_EQ(stop_reason({1, 1, 1, 1, 1}, 5, config(0, 1, 100, 0.05, long_time)), "") << "no interval below six";
}

TEST(Sampling, StopsByIntervalWidth) {
  const parallel::Comm comm;
  const Samples samples = sample(comm, config(0, 2, 100, always, long_time), [] { nap(1e-4); });
  EXPECT_EQ(samples.stopped_because, "ci_width");
  EXPECT_EQ(samples.time_s.size(), 6u);  // the fewest that have an interval
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
