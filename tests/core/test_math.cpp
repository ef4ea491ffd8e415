// The vectorised transcendental functions against the libm in higher precision, in units in the last place.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "core/kokkos.hpp"
#include "core/math.hpp"
#include "systems/widened.hpp"

namespace {

using namespace elkhorn;

template <class Real>
double ulps(Real got, long double exact) {
  const Real rounded = static_cast<Real>(exact);
  const Real ulp = std::nextafter(std::fabs(rounded), std::numeric_limits<Real>::infinity()) - std::fabs(rounded);
  return static_cast<double>(std::fabs(static_cast<long double>(got) - exact) / ulp);
}

template <class Real>
class Math : public ::testing::Test {
 protected:
  /// Largest error over [low, high] and over small arguments, of packs.
  template <class F, class G>
  double worst(double low, double high, const F& f, const G& exact) {
    using P = Pack<Real, 8>;
    std::mt19937_64 rng(7);
    std::uniform_real_distribution<double> wide(low, high), near(-2, 2), exponent(-30, 1);
    std::uniform_real_distribution<double> middle(std::max(low, -50.0), std::min(high, 50.0));
    double result = 0;
    for (int i = 0; i < 200000; ++i) {
      P x;
      for (int w = 0; w < 8; ++w)
        x.set(w, Real(i % 4 == 0   ? std::min(high, std::max(low, (w % 2 ? -1 : 1) * std::exp2(exponent(rng))))
                      : i % 4 == 1 ? near(rng)
                      : i % 4 == 2 ? middle(rng)
                                   : wide(rng)));
      const P y = f(x);
      for (int w = 0; w < 8; ++w) result = std::max(result, ulps<Real>(y[w], exact(static_cast<long double>(x[w]))));
    }
    return result;
  }
};
using Reals = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Math, Reals);

TYPED_TEST(Math, ErrorsAreWithinTheStatedBounds) {
  using Real = TypeParam;
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  constexpr double bound_of_doubles = 1.9;
#else
  constexpr double bound_of_doubles = 2.1;  // every product is rounded before it is added
#endif
  const double bound = sizeof(Real) == 8 ? bound_of_doubles : 3.3;
  const double range = sizeof(Real) == 8 ? 700 : 85;
  const double e = this->worst(
      -range, range, [](auto x) { return exponential(x); }, [](long double x) { return std::exp(x); });
  const double t = this->worst(
      -25, 25, [](auto x) { return hyperbolic_tangent(x); }, [](long double x) { return std::tanh(x); });
  const double s = this->worst(
      -range, range, [](auto x) { return sigmoid(x); }, [](long double x) { return 1.0L / (1.0L + std::exp(-x)); });
  const double p = this->worst(
      -range, range, [](auto x) { return softplus(x); },
      [](long double x) { return std::fmax(x, 0.0L) + std::log1p(std::exp(-std::fabs(x))); });
  std::printf("ulp: exp %.2f tanh %.2f sigmoid %.2f softplus %.2f\n", e, t, s, p);
  EXPECT_LE(e, bound);
  EXPECT_LE(t, bound);
  EXPECT_LE(s, bound);
  EXPECT_LE(p, 3.5);
}

// What a float is rounded from: of doubles, hundreds of times closer than a float resolves.
TEST(MathOfDoubles, ForFloatsIsFarWithinTheirRounding) {
  double worst = 0;
  for (int i = -8000; i <= 8000; ++i) {
    const double x = i * 0.005;
    const Pack<double, 8> lanes(x);
    const auto see = [&](double got, double exact) {
      worst = std::max(worst, std::fabs(got - exact) / std::fabs(exact));
    };
    see(exponential<float>(lanes)[1], std::exp(x));
    see(sigmoid<float>(lanes)[2], 1 / (1 + std::exp(-x)));
    see(softplus<float>(lanes)[3], std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))));
    if (i != 0) see(hyperbolic_tangent<float>(lanes)[4], std::tanh(x));
  }
  std::printf("relative: %.2g\n", worst);
  EXPECT_LE(worst, 1e-10);
}

TYPED_TEST(Math, ExtremesSaturateAndNaNSurvivesTanh) {
  using Real = TypeParam;
  const Real inf = std::numeric_limits<Real>::infinity();
  using P = Pack<Real, 8>;
  EXPECT_EQ(hyperbolic_tangent(P(Real(1e30)))[0], Real(1));
  EXPECT_EQ(hyperbolic_tangent(P(Real(-1e30)))[3], Real(-1));
  EXPECT_EQ(hyperbolic_tangent(P(Real(0)))[3], Real(0));
  EXPECT_TRUE(std::isnan(hyperbolic_tangent(P(std::numeric_limits<Real>::quiet_NaN()))[5]));
  EXPECT_EQ(sigmoid(P(inf))[1], Real(1));
  EXPECT_LT(sigmoid(P(-inf))[1], Real(1e-30));
  EXPECT_TRUE(std::isfinite(exponential(P(Real(1e30)))[0]));
}

// Kernels take numbers in packs of any width, alone or side by side, and must find the same.
TYPED_TEST(Math, EveryWidthGivesTheSameNumbers) {
  using Real = TypeParam;
  using P = Pack<Real, 8>;
  using Half = Pack<Real, 4>;
  std::mt19937_64 rng(3);
  std::normal_distribution<double> normal(0, 6);
  const auto differ = [&](const auto& f) {
    long different = 0;
    for (int i = 0; i < 1500; ++i) {
      Several<P, 11> x;  // more than any registers hold at a time
      for (P& one : x.part)
        for (int w = 0; w < 8; ++w) one.set(w, Real(normal(rng)));
      const Several<P, 11> y = f(x);
      for (int k = 0; k < x.count; ++k) {
        const P alone = f(x.part[k]);
        Real numbers[8];
        store<P>(numbers, x.part[k]);
        const Half first = f(load<Half>(numbers)), second = f(load<Half>(numbers + 4));
        for (int w = 0; w < 8; ++w)
          different += y.part[k][w] != alone[w] || alone[w] != (w < 4 ? first[w] : second[w - 4]);
      }
    }
    return different;
  };
  EXPECT_EQ(differ([](auto x) { return sigmoid(x); }), 0);
  EXPECT_EQ(differ([](auto x) { return hyperbolic_tangent(x); }), 0);
  EXPECT_EQ(differ([](auto x) { return exponential(x); }), 0);
}

TEST(Pack, IsWidenedAndNarrowedLaneByLane) {
  using P = Pack<float, 8>;
  P x;
  for (int w = 0; w < 8; ++w) x.set(w, 0.1f * float(w + 1));
  const auto wide = systems::widen(x);
  const P again = systems::narrow<P>(wide + wide);
  for (int w = 0; w < 8; ++w) {
    EXPECT_EQ(wide[w], double(0.1f * float(w + 1)));
    EXPECT_EQ(again[w], 2 * x[w]);
  }
}

TEST(Pack, LimitsKeepTheFirstWhereEitherIsNoNumber) {
  using P = Pack<float, 8>;
  P x(1.0f);
  x.set(2, std::nanf(""));
  const P low(-3.0f), high(2.0f);
  EXPECT_TRUE(std::isnan(larger(x, low)[2]) && std::isnan(smaller(x, high)[2]));
  EXPECT_EQ(larger(low, x)[2], -3.0f);
  EXPECT_EQ(smaller(high, x)[2], 2.0f);
  EXPECT_EQ(larger(x, high)[0], 2.0f);
  EXPECT_EQ(smaller(x, low)[7], -3.0f);
}

TEST(Pack, MagnitudeNeverLosesNaN) {
  using P = Pack<double, 8>;
  P x(1.0);
  x.set(3, std::nan(""));
  x.set(4, -2.0);
  const P m = larger(P(5.0), magnitude(x));
  EXPECT_EQ(m[3], INFINITY);
  EXPECT_EQ(m[4], 5.0);
}

TEST(Pack, MaximaOfMagnitudesKeepWhatIsNotANumber) {
  const auto look = [](auto zero) {
    using P = decltype(zero);
    P x(-3), bad(1), small(2);
    bad.set(1, -std::numeric_limits<real_of<P>>::quiet_NaN());
    bad.set(2, -std::numeric_limits<real_of<P>>::infinity());
    const P most = larger_magnitude(larger_magnitude(larger_magnitude(zero, x), bad), small);
    EXPECT_EQ(most[0], 3);
    EXPECT_TRUE(std::isnan(most[1]));
    EXPECT_EQ(magnitude(most)[1], INFINITY);
    EXPECT_EQ(most[2], INFINITY);
    EXPECT_EQ(most[P::width - 1], 3);
  };
  look(Pack<float, 8>(0));
  look(Pack<float, 16>(0));
  look(Pack<double, 8>(0));
  EXPECT_EQ(larger_magnitude(1.0, std::nan("")), INFINITY);
  EXPECT_EQ(larger_magnitude(1.0, -2.0), 2.0);
}

TEST(Pack, StoresPastCachesAreStores) {
  const auto look = [](auto value) {
    using P = decltype(value);
    using Real = real_of<P>;
    for (int i = 0; i < P::width; ++i) value.set(i, Real(i + 1));
    alignas(64) Real memory[4 * P::width];
    for (int shift = 0; shift < 2 * P::width; ++shift) {
      std::fill(std::begin(memory), std::end(memory), Real(-1));
      store_past_caches<P>(memory + shift, value);
      end_of_streams();
      for (int i = 0; i < 4 * P::width; ++i)
        ASSERT_EQ(memory[i], i < shift || i >= shift + P::width ? Real(-1) : Real(i - shift + 1));
    }
  };
  look(Pack<float, 8>(0));
  look(Pack<float, 16>(0));
  look(Pack<double, 8>(0));
}

}  // namespace
