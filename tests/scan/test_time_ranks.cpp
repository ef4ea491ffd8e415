// Scans whose time segments lie on several ranks, against a plain loop over all steps.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "parallel/time_line.hpp"
#include "problem.hpp"
#include "scan/clamped.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::scan;

Problem segment_of(const Problem& p, parallel::Range steps) {
  Problem out = p;
  out.T = steps.size();
  const auto cut = [&](std::vector<double>& values, long each) {
    values = std::vector<double>(values.begin() + steps.begin * each, values.begin() + steps.end * each);
  };
  cut(out.r, p.B * p.D);
  cut(out.a, p.B * p.components());
  return out;
}

/// What runs a problem's panels, and the numbers of a state between ranks.
struct Case {
  const char* name;
  bool dense;
  double sigma2;  ///< 0: undamped
  double bound;   ///< infinity: none
  long state(long D) const {
    const long tiles = (D + 7) / 8 * 8;
    return dense ? D + (sigma2 > 0 ? D * D : 0) : (sigma2 > 0 ? 2 : 1) * tiles;
  }
};
constexpr double infinity = std::numeric_limits<double>::infinity();
const Case cases[] = {{"affine diagonal", false, 0, infinity},
                      {"affine dense", true, 0, infinity},
                      {"Kalman diagonal", false, 10, infinity},
                      {"Kalman dense", true, 10, infinity},
                      {"clamped", false, 0, 0.7},
                      {"clamped filter", false, 10, 0.7}};

void run(const Case& c, Engine engine, const Panels<double>& panels, int D, const parallel::TimeLine& line) {
  const auto scan = [&](const auto& element) {
    Scan<std::decay_t<decltype(element)>>(engine, panels.map, element, line).run(element, Active{});
  };
  TrustRegion<double> region;
  region.value = c.sigma2;
  StepBound<double> bound;
  bound.value = c.bound;
  const AffineDiagonal<double> diagonal{panels.jacobian, panels.increment, D};
  const KalmanDiagonal<double> filter{panels.jacobian, panels.increment, D, region, {}};
  if (c.dense && c.sigma2 > 0) return scan(KalmanDense<double>{panels.jacobian, panels.increment, D, region, {}, {}});
  if (c.dense) return scan(AffineDense<double>{panels.jacobian, panels.increment, D, {}});
  if (bound.any() && c.sigma2 > 0) return ClampedFilter<double>(engine, panels.map, filter, bound, line).run(Active{});
  if (bound.any()) return scan(AffineDiagonalClamped<double>{diagonal, bound});
  c.sigma2 > 0 ? scan(filter) : scan(diagonal);
}

TEST(TimeRanks, EveryElementAgreesWithTheRecursion) {
  const parallel::Comm row;
  unsigned seed = 1;
  for (const Case& c : cases)
    for (const long T : {0L, 1L, 2L, 3L, 9L, 50L, 101L})
      for (const long B : {1L, 3L, 11L})
        for (const int D : {1, 3, 9}) {
          const Problem whole(T, B, D, c.dense, seed++, c.dense ? 0.6 : 0.8);
          const std::vector<double> bounds(std::isfinite(c.bound) ? std::size_t(B * D) : 0, c.bound);
          const std::vector<double> all = reference(whole, c.sigma2, bounds);
          const parallel::TimeLine line(row, T);
          const Problem mine = segment_of(whole, line.steps());
          const std::vector<double> expected(all.begin() + line.steps().begin * B * D,
                                             all.begin() + line.steps().end * B * D);
          double scale = 1;
          for (const double x : expected) scale = std::max(scale, std::fabs(x));
          for (const Engine engine : {Engine::serial, Engine::chunked})
            for (const long chunks : {1L, 2L, 4L, 7L}) {
              const Panels<double> panels(mine, chunks);
              const parallel::Traffic before = line.traffic();
              run(c, engine, panels, D, line);
              Kokkos::fence();
              ASSERT_LE(panels.error(mine, expected) / scale, 1e-11)
                  << c.name << " T " << T << " B " << B << " D " << D << " engine " << int(engine) << " chunks "
                  << chunks;
              const parallel::Traffic sent = line.traffic() - before;
              const long scans = std::isfinite(c.bound) && c.sigma2 > 0 ? 2 : 1;
              ASSERT_EQ(sent.messages, line.has_next() ? scans : 0);
              ASSERT_EQ(sent.bytes, line.has_next() ? 8 * B * c.state(D) : 0) << c.name;
            }
        }
}

// Where segments hold equally many chunks, ranks change not a bit: the summaries are applied in the same order.
TEST(TimeRanks, SegmentsAreChunksOfChunks) {
  const parallel::Comm row;
  const int D = 3;
  const long B = 5, chunks = 4, T = 6 * chunks * row.size();
  for (const Case& c : cases) {
    const Problem whole(T, B, D, c.dense, 7, 0.6);
    const Panels<double> together(whole, chunks * row.size());
    run(c, Engine::chunked, together, D, parallel::TimeLine(T));
    const parallel::TimeLine line(row, T);
    const Problem mine = segment_of(whole, line.steps());
    const Panels<double> apart(mine, chunks);
    run(c, Engine::chunked, apart, D, line);
    Kokkos::fence();
    const auto R = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), together.increment);
    std::vector<double> expected(mine.r.size());
    together.each(whole, [&](long t, long b, long g, long k, long w) {
      if (t < line.steps().begin || t >= line.steps().end) return;
      for (int i = 0; i < D; ++i) expected[std::size_t(((t - line.steps().begin) * B + b) * D + i)] = R(g, k, i, w);
    });
    EXPECT_EQ(apart.error(mine, expected), 0.0) << c.name;
  }
}

TEST(TimeRanks, FlatIsRefused) {
  const parallel::Comm row;
  if (row.size() == 1) return;
  const Panels<double> panels(Problem(4, 1, 1, false, 1), 1);
  const AffineDiagonal<double> element{panels.jacobian, panels.increment, 1};
  EXPECT_THROW(Scan<AffineDiagonal<double>>(Engine::flat, panels.map, element, parallel::TimeLine(row, 4 * row.size())),
               std::invalid_argument);
}

}  // namespace
