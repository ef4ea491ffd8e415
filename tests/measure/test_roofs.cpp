#include "measure/roofs.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace elkhorn::measure {
namespace {

TEST(Roofs, TheScarcestResourceBounds) {
  const Roofs roofs{10e9, 200e9, 100e9, 1e9};
  EXPECT_NEAR(roofs.seconds(1e9, 1e9), 0.1, 1e-12);
  EXPECT_STREQ(roofs.limit(1e9, 1e9), "bandwidth");
  EXPECT_NEAR(roofs.seconds(1e9, 50e9), 0.5, 1e-12);
  EXPECT_STREQ(roofs.limit(1e9, 50e9), "flops");
  EXPECT_STREQ(roofs.limit(1e9, 50e9, 1e9), "functions");
}

/// Loose bounds that hold on any machine; a rate that is wrong by the sizes it is made of is off by far more.
template <class Real>
void expect_sane(const Roofs& roofs, int ranks) {
  for (const double rate : {roofs.bandwidth, roofs.flops, roofs.gemm, roofs.transcendentals}) {
    EXPECT_TRUE(std::isfinite(rate));
    EXPECT_GT(rate, 1e4 * ranks);
    EXPECT_LT(rate, 1e15);
  }
  // The BLAS cannot beat multiply-adds in registers by much, nor these an evaluation of exp by less than it takes. In a
  // portable build the BLAS alone uses registers four times as wide, and fuses; in one for sanitizers it alone is optimised.
  EXPECT_LT(roofs.gemm, 100 * roofs.flops);
  EXPECT_LT(roofs.transcendentals, roofs.flops);
}

TEST(Roofs, OfAllRanksTogether) {
  const parallel::Comm comm;
  expect_sane<float>(measure_roofs<float>(comm), comm.size());
  const Roofs all = measure_roofs<double>(comm);
  expect_sane<double>(all, comm.size());
  EXPECT_EQ(comm.max(all.bandwidth), comm.min(all.bandwidth)) << "every rank knows the sum";
}

TEST(Latencies, GrowToAllRanks) {
  const parallel::Comm comm;
  const Latencies latencies = measure_latencies(comm);
  ASSERT_EQ(latencies.ranks.size(), latencies.allreduce_s.size());
  ASSERT_EQ(latencies.ranks.size(), latencies.exscan_s.size());
  EXPECT_EQ(latencies.ranks.front(), 1);
  EXPECT_EQ(latencies.ranks.back(), comm.size());
  for (std::size_t i = 1; i < latencies.ranks.size(); ++i) EXPECT_GT(latencies.ranks[i], latencies.ranks[i - 1]);
  for (const auto* times : {&latencies.allreduce_s, &latencies.exscan_s})
    for (const double s : *times) {
      EXPECT_GT(s, 0);
      EXPECT_LT(s, 10);
      EXPECT_EQ(comm.max(s), comm.min(s));
    }
  EXPECT_EQ(comm.size() > 1, latencies.message_s > 0);
  EXPECT_EQ(comm.size() > 1, latencies.message_bytes_s > 0);
  EXPECT_GT(latencies.launch_s, 0);
  EXPECT_LT(latencies.launch_s, 1);
}

}  // namespace
}  // namespace elkhorn::measure
