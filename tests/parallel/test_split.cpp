#include <gtest/gtest.h>

#include <algorithm>
#include <climits>
#include <stdexcept>
#include <string>

#include "parallel/split.hpp"

namespace elkhorn::parallel {
namespace {

TEST(Split, CoversAllItemsOnceInOrderAndIsBalanced) {
  for (long n = 0; n <= 20; ++n) {
    for (long parts = 1; parts <= 8; ++parts) {
      SCOPED_TRACE("n = " + std::to_string(n) + ", parts = " + std::to_string(parts));
      long next = 0, smallest = LONG_MAX, largest = 0, previous = LONG_MAX;
      for (long index = 0; index < parts; ++index) {
        const Range range = split(n, parts, index);
        EXPECT_EQ(range.begin, next);
        EXPECT_LE(range.begin, range.end);
        EXPECT_LE(range.size(), previous) << "longer parts come first";
        EXPECT_EQ(range.empty(), range.size() == 0);
        for (long item = range.begin; item < range.end; ++item) EXPECT_EQ(part_of(n, parts, item), index);
        next = range.end;
        previous = range.size();
        smallest = std::min(smallest, range.size());
        largest = std::max(largest, range.size());
      }
      EXPECT_EQ(next, n);
      EXPECT_LE(largest - smallest, 1);
      EXPECT_EQ(largest, (n + parts - 1) / parts);
    }
  }
}

TEST(Split, FollowsWeights) {
  const auto sizes = [](long n, const std::vector<long>& weights) {
    std::vector<long> out;
    long next = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const Range range = split(n, weights, static_cast<long>(i));
      EXPECT_EQ(range.begin, next);
      next = range.end;
      out.push_back(range.size());
    }
    EXPECT_EQ(next, n);
    return out;
  };
  using V = std::vector<long>;
  EXPECT_EQ(sizes(12, {1, 2}), (V{4, 8}));
  EXPECT_EQ(sizes(10, {3, 1, 1}), (V{6, 2, 2}));
  EXPECT_EQ(sizes(5, {1, 4, 1}), (V{1, 3, 1}));
  EXPECT_EQ(sizes(0, {1, 4}), (V{0, 0}));
  EXPECT_EQ(sizes(1, {1, 4}), (V{0, 1}));
  for (long n = 0; n <= 20; ++n)
    for (long parts = 1; parts <= 8; ++parts)
      for (long index = 0; index < parts; ++index)
        EXPECT_EQ(split(n, V(static_cast<std::size_t>(parts), 3), index), split(n, parts, index));
  EXPECT_THROW(split(4, V{}, 0), std::invalid_argument);
  EXPECT_THROW(split(4, V{1, 0}, 0), std::invalid_argument);
}

TEST(Split, KeepsLargeNumbers) {
  const long n = 3'000'000'000'001;
  EXPECT_EQ(split(n, 7, 6).end, n);
  EXPECT_EQ(part_of(n, 7, n - 1), 6);
}

TEST(Split, RefusesNonsense) {
  EXPECT_THROW(split(-1, 2, 0), std::invalid_argument);
  EXPECT_THROW(split(4, 0, 0), std::invalid_argument);
  EXPECT_THROW(split(4, 2, 2), std::invalid_argument);
  EXPECT_THROW(split(4, 2, -1), std::invalid_argument);
  EXPECT_THROW(part_of(4, 2, 4), std::invalid_argument);
  EXPECT_THROW(part_of(0, 2, 0), std::invalid_argument);
}

TEST(RankGrid, TimeRunsFastest) {
  const RankGrid grid = rank_grid(6, 4, 3);
  EXPECT_EQ(grid.batch_ranks, 2);
  EXPECT_EQ(grid.time_ranks, 3);
  EXPECT_EQ(grid.batch_index, 1);
  EXPECT_EQ(grid.time_index, 1);
  EXPECT_EQ(rank_grid(4, 3, 1).batch_index, 3);
  EXPECT_EQ(rank_grid(4, 3, 4).time_index, 3);
}

TEST(RankGrid, TimeRanksMustDivide) {
  for (const long bad : {0L, -1L, 3L, 8L, 1L << 40}) EXPECT_THROW(rank_grid(4, 0, bad), InputError) << bad;
  try {
    rank_grid(4, 0, 3, {"a.toml", "parallel.time_ranks", 12});
    FAIL() << "3 does not divide 4";
  } catch (const InputError& error) {
    const std::string what = error.what();
    EXPECT_EQ(what.rfind("a.toml:12: parallel.time_ranks: ", 0), 0u) << what;
    EXPECT_NE(what.find("4 MPI ranks"), std::string::npos) << what;
  }
}

}  // namespace
}  // namespace elkhorn::parallel
