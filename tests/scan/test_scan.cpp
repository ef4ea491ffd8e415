// Every element on every engine against a plain loop written from the formulas, and the algebra of the summaries.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "problem.hpp"
#include "scan/clamped.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::scan;

template <class Element>
Element make_element(const Panels<typename Element::Real>& panels, int dim, double sigma2) {
  using Real = typename Element::Real;
  if constexpr (std::is_same_v<Element, AffineDiagonal<Real>> || std::is_same_v<Element, AffineDense<Real>>) {
    (void)sigma2;
    return Element{panels.jacobian, panels.increment, dim};
  } else if constexpr (std::is_same_v<Element, AffineDiagonalClamped<Real>>) {
    StepBound<Real> bound;
    bound.value = Real(0.6);
    return Element{{panels.jacobian, panels.increment, dim}, bound};
  } else if constexpr (std::is_same_v<Element, KalmanVariance<Real>>) {
    TrustRegion<Real> region;
    region.value = Real(sigma2);
    return Element{panels.jacobian, panels.increment, dim, region};
  } else {
    TrustRegion<Real> region;
    region.value = Real(sigma2);
    return Element{panels.jacobian, panels.increment, dim, region, {}};
  }
}

template <class Element>
struct Traits;
template <class R>
struct Traits<AffineDiagonal<R>> {
  static constexpr bool dense = false, damped = false;
};
template <class R>
struct Traits<AffineDense<R>> {
  static constexpr bool dense = true, damped = false;
};
template <class R>
struct Traits<KalmanDiagonal<R>> {
  static constexpr bool dense = false, damped = true;
};
template <class R>
struct Traits<KalmanDense<R>> {
  static constexpr bool dense = true, damped = true;
};

template <class Element>
class ScanTest : public ::testing::Test {};
using Elements =
    ::testing::Types<AffineDiagonal<float>, AffineDiagonal<double>, AffineDense<float>, AffineDense<double>,
                     KalmanDiagonal<float>, KalmanDiagonal<double>, KalmanDense<float>, KalmanDense<double>>;
TYPED_TEST_SUITE(ScanTest, Elements);

TYPED_TEST(ScanTest, EveryEngineAgreesWithTheRecursion) {
  using Real = typename TypeParam::Real;
  using Is = Traits<TypeParam>;
  const double tolerance = sizeof(Real) == 8 ? 1e-11 : 2e-4;
  unsigned seed = 1;
  for (const long T : {0L, 1L, 2L, 7L, 33L, 100L})
    for (const long B : {1L, 3L, 8L, 11L})
      for (const int D : {1, 2, 5, 9}) {
        const Problem p(T, B, D, Is::dense, seed++);
        const double sigma2 = !Is::damped ? 0.0 : seed % 2 ? 1.0 : 100.0;
        const std::vector<double> expected = reference(p, sigma2);
        double scale = 1;
        for (const double x : expected) scale = std::max(scale, std::fabs(x));
        for (const Engine engine : {Engine::serial, Engine::flat, Engine::chunked})
          for (const long chunks : {1L, 2L, 3L, 8L, 17L}) {
            Panels<Real> panels(p, chunks);
            const TypeParam element = make_element<TypeParam>(panels, D, sigma2);
            Scan<TypeParam>(engine, panels.map, element).run(element, Active{});
            Kokkos::fence();
            ASSERT_LE(panels.error(p, expected) / scale, tolerance)
                << "T " << T << " B " << B << " D " << D << " engine " << int(engine) << " chunks " << chunks;
          }
      }
}

TYPED_TEST(ScanTest, InactiveSequencesAreLeftAlone) {
  using Real = typename TypeParam::Real;
  using Is = Traits<TypeParam>;
  const Problem p(40, 10, 3, Is::dense, 5);
  const double sigma2 = Is::damped ? 10.0 : 0.0;
  const std::vector<double> expected = reference(p, sigma2);
  for (const Engine engine : {Engine::serial, Engine::flat, Engine::chunked}) {
    // sequences 0..7 fill one group of lanes where there is one chunk; they stop
    Panels<Real> panels(p, 1);
    Active active;
    active.sequences = Vector<int>("active", 10);
    const auto flags = Kokkos::create_mirror_view(active.sequences);
    for (int b = 0; b < 10; ++b) flags(b) = b >= 8;
    Kokkos::deep_copy(active.sequences, flags);
    const TypeParam element = make_element<TypeParam>(panels, 3, sigma2);
    Scan<TypeParam>(engine, panels.map, element).run(element, active);
    Kokkos::fence();
    const auto R = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), panels.increment);
    panels.each(p, [&](long t, long b, long g, long k, long w) {
      for (int i = 0; i < 3; ++i) {
        const double got = double(R(g, k, i, w));
        if (b < 8)
          ASSERT_EQ(got, double(Real(p.res(t, b, i))));
        else
          ASSERT_NEAR(got, expected[std::size_t((t * 10 + b) * 3 + i)], sizeof(Real) == 8 ? 1e-10 : 1e-2);
      }
    });
  }
}

// Settled steps have r = 0 and A = 0. Whether a scan starts before them or with the last of them changes no bit.
TYPED_TEST(ScanTest, SettledStepsMayBeLeftOut) {
  using Real = typename TypeParam::Real;
  using Is = Traits<TypeParam>;
  const long T = 70, B = 19;
  const double sigma2 = Is::damped ? 30.0 : 0.0;
  for (const bool alike : {false, true}) {
    Problem p(T, B, 3, Is::dense, 11);
    Active active;
    active.settled = Vector<long>("settled", B);
    const auto fronts = Kokkos::create_mirror_view(active.settled);
    for (long b = 0; b < B; ++b) fronts(b) = alike ? 41 : 17 + 7 * (b % 8);
    Kokkos::deep_copy(active.settled, fronts);
    for (long t = 0; t < T; ++t)
      for (long b = 0; b < B; ++b) {
        if (t >= fronts(b)) continue;
        for (int i = 0; i < 3; ++i) p.r[std::size_t((t * B + b) * 3 + i)] = 0;
        for (int i = 0; i < p.components(); ++i) p.a[std::size_t((t * B + b) * p.components() + i)] = 0;
      }
    for (const Engine engine : {Engine::serial, Engine::chunked})
      for (const long chunks : {1L, 3L, 8L}) {
        Panels<Real> all(p, chunks), rest(p, chunks);
        const TypeParam element = make_element<TypeParam>(all, 3, sigma2);
        Scan<TypeParam>(engine, all.map, element).run(element, Active{});
        if (alike && chunks == 1) {  // steps that are left out are not read either
          const auto a = Kokkos::create_mirror_view(rest.jacobian);
          rest.each(p, [&](long t, long b, long g, long k, long w) {
            for (int i = 0; i < p.components(); ++i) a(g, k, i, w) = t < 40 ? Real(NAN) : Real(p.jac(t, b, i));
          });
          Kokkos::deep_copy(rest.jacobian, a);
        }
        const TypeParam shorter = make_element<TypeParam>(rest, 3, sigma2);
        Scan<TypeParam>(engine, rest.map, shorter).run(shorter, active);
        Kokkos::fence();
        const auto x = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), all.increment);
        const auto y = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), rest.increment);
        all.each(p, [&](long t, long b, long g, long k, long w) {
          for (int i = 0; i < 3; ++i)
            ASSERT_EQ(x(g, k, i, w), y(g, k, i, w)) << "engine " << int(engine) << " chunks " << chunks << " t " << t
                                                    << " sequence " << b << " front " << fronts(b);
        });
      }
  }
}

template <class Element>
class SummaryTest : public ::testing::Test {};
using AllElements = ::testing::Types<AffineDiagonal<float>, AffineDiagonal<double>, AffineDiagonalClamped<float>,
                                     AffineDiagonalClamped<double>, AffineDense<float>, AffineDense<double>,
                                     KalmanDiagonal<float>, KalmanDiagonal<double>, KalmanVariance<float>,
                                     KalmanVariance<double>, KalmanDense<float>, KalmanDense<double>>;
TYPED_TEST_SUITE(SummaryTest, AllElements);

/// Summaries of single steps, composed in both groupings and applied to a state.
TYPED_TEST(SummaryTest, CompositionIsAssociativeAndAgreesWithAppendingAndAdvancing) {
  using Real = typename TypeParam::Real;
  constexpr bool dense = std::is_same_v<TypeParam, AffineDense<Real>> || std::is_same_v<TypeParam, KalmanDense<Real>>;
  const double tolerance = sizeof(Real) == 8 ? 1e-10 : 5e-3;
  for (const int D : {1, 3, 7}) {
    const Problem p(5, 1, D, dense, 77 + unsigned(D), 1.3);
    Panels<Real> panels(p, 1);
    const TypeParam e = make_element<TypeParam>(panels, D, 50.0);
    using S = WorkStrip<Real>;
    std::vector<Real> memory(std::size_t(12 * (e.summary_size() + e.state_size()) + e.scratch_size()), Real(0));
    Real* next = memory.data();
    const auto take = [&](int n) {
      S s{next};
      next += n;
      return s;
    };
    const S scratch = take(e.scratch_size());
    const auto step = [&](long k) {
      const S s = take(e.summary_size());
      e.identity(s, 0);
      e.append(s, Site{0, k, 0}, 0, scratch);
      return s;
    };
    const auto clone = [&](S from) {
      const S s = take(e.summary_size());
      for (int i = 0; i < e.summary_size(); ++i) s.set(i, from[i]);
      return s;
    };
    const auto near = [&](S x, S y, int n, const char* what) {
      double scale = 1;
      for (int i = 0; i < n; ++i) scale = std::max(scale, std::fabs(double(y[i])));
      for (int i = 0; i < n; ++i) ASSERT_NEAR(x[i] / scale, y[i] / scale, tolerance) << what << " " << i << " D " << D;
    };
    const S s1 = step(1), s2 = step(2), s3 = step(3);
    const S left = clone(s1);  // s3 ∘ (s2 ∘ s1)
    e.compose(left, s2, 0, scratch);
    e.compose(left, s3, 0, scratch);
    const S right = clone(s1), tail = clone(s2);  // (s3 ∘ s2) ∘ s1
    e.compose(tail, s3, 0, scratch);
    e.compose(right, tail, 0, scratch);
    near(left, right, e.summary_size(), "associativity");
    const S appended = step(1);
    e.append(appended, Site{0, 2, 0}, 0, scratch);
    e.append(appended, Site{0, 3, 0}, 0, scratch);
    near(appended, left, e.summary_size(), "append");
    // order matters: the reverse composition differs
    const S reversed = clone(s3);
    e.compose(reversed, s2, 0, scratch);
    e.compose(reversed, s1, 0, scratch);
    double difference = 0;
    for (int i = 0; i < e.summary_size(); ++i)
      difference = std::max(difference, std::fabs(double(reversed[i] - left[i])));
    ASSERT_GT(difference, 0.01);
    // a state after step 0, then through steps 1..3 one by one and at once
    const S x = take(e.state_size()), y = take(e.state_size());
    for (int i = 0; i < e.state_size(); ++i) x.set(i, Real(0));
    e.advance(x, Site{0, 0, 0}, 0, scratch, false);
    for (int i = 0; i < e.state_size(); ++i) y.set(i, x[i]);
    for (long k = 1; k <= 3; ++k) e.advance(x, Site{0, k, 0}, 0, scratch, false);
    e.apply(left, y, Site{0, 3, 0}, 0, scratch);
    near(y, x, e.state_size(), "apply");
  }
}

TEST(Choose, IsIndependentOfRanksAndFillsLanes) {
  EXPECT_EQ(choose("serial", Job{1000, 16, 2, false}).text(), "serial");
  EXPECT_EQ(choose("flat", Job{1000, 1, 2, true}).text(), "flat");
  EXPECT_EQ(choose("chunked:7", Job{1000, 3, 2, true}).text(), "chunked:7");
  EXPECT_EQ(choose("chunked:70", Job{10, 3, 2, true}).chunks, 10);
  EXPECT_EQ(choose("auto", Job{1000, 64, 2, true}).chunks, 1);
  EXPECT_GE(choose("auto", Job{10000, 1, 2, false}).chunks, 2 * lane_width);
  EXPECT_EQ(choose("auto", Job{1, 1, 2, false}).chunks, 1);
  EXPECT_EQ(choose("auto", Job{64, 1, 8, false}).chunks, 4) << "chunks of less than 16 steps";
  EXPECT_EQ(choose("auto", Job{1000, lane_width, 8, true}).chunks, 1) << "dense summaries where lanes are full";
  EXPECT_THROW(choose("banana", Job{1, 1, 1, false}), std::invalid_argument);
}

TEST(Choose, WeighsChunksOfDenseElementsByTheirCost) {
  if (!exec_is_host) GTEST_SKIP() << "times are modelled for hosts only";
  const auto job = [](long length, long batch, int threads, long dim, bool damped) {
    Job one{length, batch, threads, true};
    one.dim = dim;
    one.damped = damped;
    return one;
  };
  // Products of wide Jacobians cost more than lanes that idle, those of narrow ones less.
  EXPECT_EQ(choose("auto", job(100, 4, 1, 64, false), true).text(), "chunked:1");
  EXPECT_GT(choose("auto", job(10000, 1, 1, 4, false), true).chunks, 1);
  // The first group of chunks costs twice: among several it weighs less.
  EXPECT_GT(choose("auto", job(10000, 1, 1, 8, true)).chunks, lane_width);
  // One lane after the other, which fused passes and "chunked" rule out.
  EXPECT_EQ(choose("auto", job(100, 1, 1, 64, false)).text(), "serial");
  EXPECT_EQ(choose("auto", job(100, 1, 1, 64, false), true).engine, Engine::chunked);
  EXPECT_EQ(choose("chunked", job(100, 1, 1, 64, false)).engine, Engine::chunked);
  for (const long length : {20L, 60L, 200L})
    EXPECT_LE(8 * choose("auto", job(length, 1, 2, 1, false), true).chunks, length);
  // Where sequences fill a group, its first chunk is summarised as all others are; threads share out the sequences.
  const Choice two{Engine::chunked, 2}, serial{Engine::serial, 2};
  EXPECT_GT(modelled_ns(job(1000, lane_width - 1, 1, 8, true), two, true),
            modelled_ns(job(1000, lane_width, 1, 8, true), two, true));
  EXPECT_LT(modelled_ns(job(1000, 4, 4, 64, false), serial, false),
            0.8 * modelled_ns(job(1000, 4, 2, 64, false), serial, false));
  // Along ranks in time nothing is serial; a rank may have no sequences.
  Job shared = job(100, 1, 1, 64, false);
  shared.shared = true;
  EXPECT_EQ(choose("auto", shared).engine, Engine::chunked);
  EXPECT_GE(choose("auto", job(100, 0, 1, 8, false)).chunks, 1);
  // Jacobians that no cache holds had better not be stored.
  const auto gain = [&](long length) {
    const Job one = job(length, 16, 1, 8, false);
    return modelled_ns(one, choose("auto", one), false) / modelled_ns(one, choose("auto", one, true), true);
  };
  EXPECT_GT(gain(100000), gain(100));
}

TEST(LaneMap, CoversEveryStepOnce) {
  for (long T = 0; T <= 40; ++T)
    for (long B = 1; B <= 5; ++B)
      for (long C = 1; C <= 12; ++C) {
        const LaneMap map(T, B, C);
        long steps = 0;
        for (long lane = 0; lane < map.groups * lane_width; ++lane) steps += map.steps_of(lane);
        ASSERT_EQ(steps, T * B) << T << " " << B << " " << C;
      }
}

TEST(Panel, LargestMagnitudesOfEachLane) {
  const long rows = 3, dim = 3;  // an odd number of packs
  const Panel<float> panel("panel", 1, rows, dim, lane_width);
  for (std::size_t i = 0; i < panel.size(); ++i) panel.data()[i] = float(int(i * 37 % 101) - 50);
  panel(0, 2, 2, 5) = -1000;  // in the last pack
  panel(0, 0, 1, 3) = std::nanf("");
  using P = LanePack<float>;
  for (long count = 0; count <= rows * dim; ++count) {
    const P got = magnitude(largest_magnitudes<P>(panel.data(), count));
    for (int w = 0; w < lane_width; ++w) {
      float expected = 0;
      for (long m = 0; m < count; ++m) {
        const float x = std::fabs(panel.data()[m * lane_width + w]);
        expected = std::isnan(x) ? INFINITY : std::max(expected, x);
      }
      EXPECT_EQ(got[w], expected) << count << " " << w;
    }
  }
}

}  // namespace
