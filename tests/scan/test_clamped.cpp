// Bounded increments: the algebra of clamped maps, every engine against plain loops, and what bounds do to numbers that
// are infinite, not numbers or about to overflow.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "problem.hpp"
#include "scan/clamped.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::scan;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Bounds (B, D) between 0.3 and 2, each of them a number of both precisions.
struct Bounds {
  std::vector<double> host;

  Bounds(long B, int D, unsigned seed) {
    std::mt19937_64 rng(seed);
    std::uniform_real_distribution<float> uniform(0.3F, 2.0F);
    host.resize(std::size_t(B * D));
    for (double& x : host) x = double(uniform(rng));
  }
  template <class Real>
  StepBound<Real> on(const LaneMap& map, int D) const {
    Matrix<Real> bounds("bounds", std::size_t(map.batch), std::size_t(D));
    const auto mirror = Kokkos::create_mirror_view(bounds);
    for (long b = 0; b < map.batch; ++b)
      for (int i = 0; i < D; ++i) mirror(b, i) = Real(host[std::size_t(b * D + i)]);
    Kokkos::deep_copy(bounds, mirror);
    StepBound<Real> out;
    spread_bounds(map, bounds, out);
    return out;
  }
};

template <class F>
void every_engine(const F& f) {
  for (const Engine engine : {Engine::serial, Engine::flat, Engine::chunked})
    for (const long chunks : {1L, 3L, 16L}) {
      SCOPED_TRACE("engine " + std::to_string(int(engine)) + " chunks " + std::to_string(chunks));
      f(engine, chunks);
      if (::testing::Test::HasFatalFailure()) return;
    }
}

double scale_of(const std::vector<double>& numbers) {
  double scale = 1;
  for (const double x : numbers) scale = std::max(scale, std::fabs(x));
  return scale;
}

/// δ_t for all (t, b, i), time-major.
template <class Real>
std::vector<double> increments(const Problem& p, const Panels<Real>& panels) {
  Kokkos::fence();
  const auto R = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), panels.increment);
  std::vector<double> out(p.r.size());
  panels.each(p, [&](long t, long b, long g, long k, long w) {
    for (int i = 0; i < p.D; ++i) out[std::size_t((t * p.B + b) * p.D + i)] = double(R(g, k, i, w));
  });
  return out;
}

template <class Real>
AffineDiagonalClamped<Real> clamped(const Panels<Real>& panels, int D, const StepBound<Real>& bound) {
  return {{panels.jacobian, panels.increment, D}, bound};
}

template <class Real>
std::vector<double> run_clamped(const Problem& p, Engine engine, long chunks, const Bounds& bounds) {
  Panels<Real> panels(p, chunks);
  const auto element = clamped(panels, p.D, bounds.on<Real>(panels.map, p.D));
  Scan<AffineDiagonalClamped<Real>>(engine, panels.map, element).run(element, Active{});
  return increments(p, panels);
}

/// A quarter of the slopes zero or huge; the others of either sign, and steps that the bounds cut and that they do not.
Problem rough(long T, long B, int D, unsigned seed) {
  Problem p(T, B, D, false, seed, 1.2);
  std::mt19937_64 rng(seed + 1000);
  for (double& a : p.a) {
    const unsigned kind = unsigned(rng() % 12);
    if (kind < 2) a = 0;
    if (kind == 2) a *= 1e4;
  }
  for (double& r : p.r)
    if (rng() % 8 == 0) r *= 10;  // beyond any bound: the images of one step and the next do not meet
  return p;
}

/// Eight maps at a time, one a component, whose numbers make every operation below exact.
std::vector<double> random_maps(std::mt19937_64& rng) {
  const double largest = std::numeric_limits<double>::max();
  const double slopes[] = {0, 0.5, -0.5, 1, -1, 2, -2};
  std::vector<double> m(32);
  for (std::size_t i = 0; i < 8; ++i) {
    const auto integer = [&](long most) { return double(long(rng() % std::uint64_t(2 * most + 1)) - most); };
    m[i] = slopes[rng() % 7];
    m[8 + i] = integer(30);
    double lo = integer(20), hi = integer(20);
    if (lo > hi) std::swap(lo, hi);
    const unsigned kind = unsigned(rng() % 8);
    if (kind == 0) lo = hi;                     // a constant
    if (kind == 1 || kind == 2) lo = -largest;  // no bound
    if (kind == 2 || kind == 3) hi = largest;
    m[16 + i] = lo;
    m[24 + i] = hi;
  }
  return m;
}

TEST(ClampedMaps, ComposeExactlyAndAssociatively) {
  const AffineDiagonalClamped<double> e{{{}, {}, 8}, {}};
  using S = WorkStrip<double>;
  const auto composed = [&](std::vector<double> first, std::vector<double> second) {
    e.compose(S{first.data()}, S{second.data()}, 0, S{nullptr});
    return first;
  };
  const auto applied = [&](std::vector<double> map, std::vector<double> x) {
    e.apply(S{map.data()}, S{x.data()}, Site{}, 0, S{nullptr});
    return x;
  };
  std::mt19937_64 rng(1);
  long constants = 0, orders = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    const auto m1 = random_maps(rng), m2 = random_maps(rng), m3 = random_maps(rng);
    const auto left = composed(composed(m1, m2), m3), right = composed(m1, composed(m2, m3));
    ASSERT_EQ(left, right);
    std::vector<double> x(8);
    for (double& number : x) number = double(long(rng() % 101) - 50);
    ASSERT_EQ(applied(left, x), applied(m3, applied(m2, applied(m1, x))));
    for (std::size_t i = 0; i < 8; ++i) constants += left[16 + i] == left[24 + i];
    orders += composed(m1, m2) != composed(m2, m1);
  }
  // crossing bounds do occur, and so do maps that remain maps
  EXPECT_GT(constants, 20000);
  EXPECT_LT(constants, 140000);
  EXPECT_GT(orders, 19000);
}

template <class Real>
class ClampedTest : public ::testing::Test {};
using Precisions = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ClampedTest, Precisions);

TYPED_TEST(ClampedTest, EveryEngineAgreesWithTheBoundedRecursion) {
  const double tolerance = sizeof(TypeParam) == 8 ? 1e-11 : 2e-3;
  unsigned seed = 1;
  for (const long T : {0L, 1L, 7L, 100L, 1000L})
    for (long B = 1; B <= 9; ++B) {
      const int D = int(1 + 4 * (seed % 3));  // 1, 5, 9
      const Problem p = rough(T, B, D, seed++);
      const Bounds bounds(B, D, seed);
      const std::vector<double> expected = reference(p, 0.0, bounds.host);
      every_engine([&](Engine engine, long chunks) {
        const std::vector<double> got = run_clamped<TypeParam>(p, engine, chunks, bounds);
        for (std::size_t i = 0; i < got.size(); ++i)
          ASSERT_NEAR(got[i], expected[i], tolerance) << i << " T " << T << " B " << B << " D " << D;
      });
      if (this->HasFatalFailure()) return;
    }
}

TYPED_TEST(ClampedTest, InfiniteBoundsChangeNothingAtAll) {
  using Real = TypeParam;
  for (const long T : {1L, 100L, 1000L})
    for (const bool constant : {false, true}) {
      Problem p = rough(T, 5, 9, unsigned(T));
      for (double& a : p.a) a = std::fabs(a) > 100 ? a * 1e-4 : a;  // nothing overflows
      Bounds infinite(5, 9, 1);
      for (double& x : infinite.host) x = std::numeric_limits<double>::infinity();
      every_engine([&](Engine engine, long chunks) {
        Panels<Real> plain(p, chunks), with(p, chunks), spread(p, chunks);
        AffineDiagonal<Real> affine{plain.jacobian, plain.increment, 9};
        auto element = clamped(with, 9, StepBound<Real>{});
        auto each = clamped(spread, 9, infinite.on<Real>(spread.map, 9));
        if (constant) {
          affine.jacobian = element.jacobian = each.jacobian = {};
          affine.constant = element.constant = each.constant = Real(0.9);
        }
        Scan<AffineDiagonal<Real>>(engine, plain.map, affine).run(affine, Active{});
        Scan<AffineDiagonalClamped<Real>>(engine, with.map, element).run(element, Active{});
        Scan<AffineDiagonalClamped<Real>>(engine, with.map, each).run(each, Active{});
        ASSERT_EQ(increments(p, plain), increments(p, with)) << "T " << T << " constant " << constant;
        ASSERT_EQ(increments(p, plain), increments(p, spread)) << "T " << T << " constant " << constant;
      });
      if (this->HasFatalFailure()) return;
    }
}

/// Slopes of 3: the products over a chunk overflow in either precision, and the maps of chunks become jumps. Residuals of
/// up to 2.2 times the bound leave most of those as jumps (larger ones make constants) and some increments unbounded.
TYPED_TEST(ClampedTest, JumpsOfExpandingChunksStayWhereTheyAre) {
  using Real = TypeParam;
  const long T = sizeof(Real) == 8 ? 4200 : 600;
  Problem p(T, 40, 3, false, 3);
  std::mt19937_64 rng(4);
  std::uniform_real_distribution<float> uniform(-2.2F, 2.2F);
  for (double& a : p.a) a = rng() % 2 ? 3 : -3;
  for (double& r : p.r) r = double(uniform(rng));
  Bounds one(40, 3, 1);
  for (double& x : one.host) x = 1;
  const std::vector<double> serial = run_clamped<Real>(p, Engine::serial, 1, one);
  long inside = 0;
  for (const double x : serial) inside += std::fabs(x) < 1;
  EXPECT_GT(inside, long(serial.size()) / 50);
  EXPECT_LT(inside, long(serial.size()) / 10);
  every_engine([&](Engine engine, long chunks) {
    const std::vector<double> got = run_clamped<Real>(p, engine, chunks, one);
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], serial[i], sizeof(Real) == 8 ? 1e-9 : 1e-2) << i;
  });
}

/// What is not a number stops where it appears.
TYPED_TEST(ClampedTest, WhatIsNotANumberBecomesZero) {
  using Real = TypeParam;
  Problem p = rough(200, 9, 3, 8);
  const Bounds bounds(9, 3, 9);
  std::mt19937_64 rng(10);
  for (std::size_t i = 0; i < p.r.size(); ++i) {
    const unsigned kind = unsigned(rng() % 20);
    if (kind == 0) p.r[i] = nan;
    if (kind == 1) p.a[i] = nan;
    if (kind == 2) p.r[i] = INFINITY;
    if (kind == 3) p.r[i] = -INFINITY;
  }
  std::vector<double> expected(p.r.size());
  for (long b = 0; b < p.B; ++b)
    for (int i = 0; i < p.D; ++i) {
      double x = 0;
      const double most = bounds.host[std::size_t(b * p.D + i)];
      for (long t = 0; t < p.T; ++t) {
        x = p.jac(t, b, i) * x - p.res(t, b, i);
        x = std::isnan(x) ? 0 : std::max(-most, std::min(most, x));
        expected[std::size_t((t * p.B + b) * p.D + i)] = x;
      }
    }
  every_engine([&](Engine engine, long chunks) {
    const std::vector<double> got = run_clamped<Real>(p, engine, chunks, bounds);
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], expected[i], sizeof(Real) == 8 ? 1e-11 : 2e-3) << i;
  });
}

// ------------------------------------------------------------------------------------------------ the filter

/// σ² of every step and sequence, (T, B), over four decades around `middle`.
std::vector<double> trust(const Problem& p, double middle, unsigned seed) {
  std::mt19937_64 rng(seed);
  std::uniform_real_distribution<double> decade(-2, 2);
  std::vector<double> out(std::size_t(p.T * p.B));
  for (double& x : out) x = middle * std::pow(10.0, decade(rng));
  return out;
}

template <class Real>
TrustRegion<Real> on_panel(const Problem& p, const Panels<Real>& panels, const std::vector<double>& sigma2) {
  TrustRegion<Real> region;
  region.each = Panel<Real>("sigma2", std::size_t(panels.map.groups), std::size_t(panels.map.steps), 1, lane_width);
  const auto mirror = Kokkos::create_mirror_view(region.each);
  panels.each(
      p, [&](long t, long b, long g, long k, long w) { mirror(g, k, 0, w) = Real(sigma2[std::size_t(t * p.B + b)]); });
  Kokkos::deep_copy(region.each, mirror);
  return region;
}

std::vector<double> bounded_filter(const Problem& p, const std::vector<double>& sigma2,
                                   const std::vector<double>& bounds) {
  std::vector<double> out(p.r.size());
  for (long b = 0; b < p.B; ++b)
    for (int i = 0; i < p.D; ++i) {
      double m = 0, variance = 0;
      const double most = bounds[std::size_t(b * p.D + i)];
      for (long t = 0; t < p.T; ++t) {
        const double s2 = sigma2[std::size_t(t * p.B + b)], a = p.jac(t, b, i);
        const double predicted = a * a * variance + 1;
        m = s2 / (predicted + s2) * (a * m - p.res(t, b, i));
        m = std::max(-most, std::min(most, m));
        variance = s2 * predicted / (predicted + s2);
        out[std::size_t((t * p.B + b) * p.D + i)] = m;
      }
    }
  return out;
}

TYPED_TEST(ClampedTest, FilterAgreesWithTheBoundedRecursionOnEveryEngine) {
  using Real = TypeParam;
  const double tolerance = sizeof(Real) == 8 ? 1e-11 : 2e-3;
  unsigned seed = 1;
  for (const long T : {0L, 1L, 7L, 100L, 1000L})
    for (long B = 1; B <= 9; ++B) {
      const int D = int(1 + 4 * (seed % 3));
      const Problem p = rough(T, B, D, seed++);
      const Bounds bounds(B, D, seed);
      const std::vector<double> sigma2 = trust(p, B % 2 ? 1.0 : 1e4, seed);
      const std::vector<double> expected = bounded_filter(p, sigma2, bounds.host);
      every_engine([&](Engine engine, long chunks) {
        Panels<Real> panels(p, chunks);
        const KalmanDiagonal<Real> filter{panels.jacobian, panels.increment, D, on_panel(p, panels, sigma2), {}};
        ClampedFilter<Real>(engine, panels.map, filter, bounds.on<Real>(panels.map, D)).run(Active{});
        ASSERT_LE(panels.error(p, expected), tolerance) << "T " << T << " B " << B << " D " << D;
      });
      if (this->HasFatalFailure()) return;
    }
}

TYPED_TEST(ClampedTest, FilterWithoutBoundIsTheFilter) {
  using Real = TypeParam;
  const Problem p(300, 5, 9, false, 6, 1.5);
  const std::vector<double> expected = reference(p, 50.0);
  const double scale = scale_of(expected);
  TrustRegion<Real> region;
  region.value = Real(50);
  every_engine([&](Engine engine, long chunks) {
    Panels<Real> panels(p, chunks);
    ClampedFilter<Real>(engine, panels.map, {panels.jacobian, panels.increment, 9, region, {}}, {}).run(Active{});
    ASSERT_LE(panels.error(p, expected) / scale, sizeof(Real) == 8 ? 1e-11 : 1e-4);
  });
}

TYPED_TEST(ClampedTest, FilterSurvivesNumbersThatOverflow) {
  using Real = TypeParam;
  Problem p(300, 9, 3, false, 12, 2.0), cut = p;
  std::mt19937_64 rng(13);
  const double huge[] = {1e12, -1e25, 1e38, 1e200, INFINITY, -INFINITY, nan};
  const double cap = double(KalmanVariance<Real>::cap);
  for (std::size_t i = 0; i < p.a.size(); ++i) {
    if (rng() % 10 == 0) p.a[i] = huge[rng() % 7];
    cut.a[i] = std::isnan(p.a[i]) ? 0 : std::max(-cap, std::min(cap, p.a[i]));
  }
  std::vector<double> sigma2(std::size_t(p.T * p.B));
  for (double& x : sigma2) x = rng() % 2 ? 1e-2 : 1e16;
  const Bounds bounds(9, 3, 14);
  const std::vector<double> expected = bounded_filter(cut, sigma2, bounds.host);
  every_engine([&](Engine engine, long chunks) {
    Panels<Real> panels(p, chunks);
    const KalmanDiagonal<Real> filter{panels.jacobian, panels.increment, 3, on_panel(p, panels, sigma2), {}};
    ClampedFilter<Real>(engine, panels.map, filter, bounds.on<Real>(panels.map, 3)).run(Active{});
    ASSERT_LE(panels.error(p, expected), sizeof(Real) == 8 ? 1e-9 : 2e-3);
  });
}

// ------------------------------------------------------------------------------------------------ dense elements

template <class Element>
Element dense_element(const Panels<typename Element::Real>& panels, int D,
                      const StepBound<typename Element::Real>& bound) {
  using Real = typename Element::Real;
  if constexpr (std::is_same_v<Element, AffineDense<Real>>) {
    return {panels.jacobian, panels.increment, D, bound};
  } else {
    TrustRegion<Real> region;
    region.value = Real(1e4);
    return {panels.jacobian, panels.increment, D, region, {}, bound};
  }
}
template <class Element>
constexpr double dense_sigma2 = std::is_same_v<Element, KalmanDense<typename Element::Real>> ? 1e4 : 0.0;

template <class Element>
class DenseBoundTest : public ::testing::Test {};
using Dense = ::testing::Types<AffineDense<float>, AffineDense<double>, KalmanDense<float>, KalmanDense<double>>;
TYPED_TEST_SUITE(DenseBoundTest, Dense);

TYPED_TEST(DenseBoundTest, OneChunkIsTheBoundedRecursion) {
  using Real = typename TypeParam::Real;
  for (const long T : {1L, 7L, 100L})
    for (const long B : {1L, 5L, 9L})
      for (const int D : {1, 4}) {
        const Problem p(T, B, D, true, unsigned(T + B + D), 0.8);
        const Bounds bounds(B, D, unsigned(T));
        const std::vector<double> expected = reference(p, dense_sigma2<TypeParam>, bounds.host);
        for (const long chunks : {1L, 3L})
          for (const Engine engine : {Engine::serial, Engine::chunked}) {
            if (engine == Engine::chunked && chunks > 1) continue;
            Panels<Real> panels(p, chunks);
            const TypeParam e = dense_element<TypeParam>(panels, D, bounds.on<Real>(panels.map, D));
            Scan<TypeParam>(engine, panels.map, e).run(e, Active{});
            Kokkos::fence();
            ASSERT_LE(panels.error(p, expected), sizeof(Real) == 8 ? 1e-10 : 1e-3)
                << "T " << T << " B " << B << " D " << D;
          }
      }
}

TYPED_TEST(DenseBoundTest, EveryEngineObeysTheBoundAndKeepsZero) {
  using Real = typename TypeParam::Real;
  const Problem p(200, 9, 4, true, 20, 2.0);  // expanding
  Problem still = p;
  std::fill(still.r.begin(), still.r.end(), 0.0);
  const Bounds bounds(9, 4, 21);
  every_engine([&](Engine engine, long chunks) {
    for (const Problem* q : {&p, static_cast<const Problem*>(&still)}) {
      Panels<Real> panels(*q, chunks);
      const TypeParam e = dense_element<TypeParam>(panels, 4, bounds.on<Real>(panels.map, 4));
      Scan<TypeParam>(engine, panels.map, e).run(e, Active{});
      const std::vector<double> got = increments(*q, panels);
      long at_bound = 0;
      for (std::size_t i = 0; i < got.size(); ++i) {
        const double most = q == &p ? bounds.host[i % (9 * 4)] : 0.0;
        ASSERT_LE(std::fabs(got[i]), most) << i;
        at_bound += std::fabs(got[i]) == most;
      }
      ASSERT_GT(at_bound, long(got.size()) / 10);
    }
  });
}

/// The state that enters a chunk obeys the bound too: the image under the linear summary, bounded.
TYPED_TEST(DenseBoundTest, SummariesAreLinearAndTheirImagesBounded) {
  using Real = typename TypeParam::Real;
  const int D = 3;
  const Problem p(6, 1, D, true, 30, 3.0);
  Bounds bounds(1, D, 31);
  Panels<Real> panels(p, 1);
  const TypeParam with = dense_element<TypeParam>(panels, D, bounds.on<Real>(panels.map, D));
  const TypeParam without = dense_element<TypeParam>(panels, D, {});
  const auto image = [&](const TypeParam& e) {
    std::vector<Real> sum(std::size_t(e.summary_size())), x(std::size_t(e.state_size())),
        work(std::size_t(e.scratch_size()));
    using S = WorkStrip<Real>;
    without.advance(S{x.data()}, Site{0, 0, 0}, 0, S{work.data()}, false);
    e.identity(S{sum.data()}, 0);
    for (long k = 1; k < 6; ++k) e.append(S{sum.data()}, Site{0, k, 0}, 0, S{work.data()});
    e.apply(S{sum.data()}, S{x.data()}, Site{0, 5, 0}, 0, S{work.data()});
    return x;
  };
  const std::vector<Real> free = image(without), cut = image(with);
  for (std::size_t i = 0; i < free.size(); ++i) {
    const Real most = i < std::size_t(D) ? Real(bounds.host[i]) : std::numeric_limits<Real>::max();
    ASSERT_EQ(cut[i], std::max(-most, std::min(most, free[i]))) << i;
  }
  ASSERT_NE(cut, free);
}

TEST(SpreadBounds, RejectsAnotherBatch) {
  StepBound<float> bound;
  EXPECT_THROW(spread_bounds(LaneMap(10, 3, 1), Matrix<float>("bounds", 2, 4), bound), std::invalid_argument);
}

}  // namespace
