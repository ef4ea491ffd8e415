// The smoother against a dense solve of the least-squares problem it stands for.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "scan/smoother.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::scan;

/// x of a x = b by Gauss elimination with pivoting; a is n×n row by row.
std::vector<double> solve(std::vector<double> a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t c = 0; c < n; ++c) {
    std::size_t best = c;
    for (std::size_t i = c; i < n; ++i)
      if (std::fabs(a[i * n + c]) > std::fabs(a[best * n + c])) best = i;
    for (std::size_t j = 0; j < n; ++j) std::swap(a[c * n + j], a[best * n + j]);
    std::swap(b[c], b[best]);
    for (std::size_t i = c + 1; i < n; ++i) {
      const double f = a[i * n + c] / a[c * n + c];
      for (std::size_t j = c; j < n; ++j) a[i * n + j] -= f * a[c * n + j];
      b[i] -= f * b[c];
    }
  }
  for (std::size_t c = n; c-- > 0;) {
    for (std::size_t j = c + 1; j < n; ++j) b[c] -= a[c * n + j] * b[j];
    b[c] /= a[c * n + c];
  }
  return b;
}

template <class Filter>
class SmootherTest : public ::testing::Test {};
using Filters =
    ::testing::Types<KalmanDiagonal<float>, KalmanDiagonal<double>, KalmanDense<float>, KalmanDense<double>>;
TYPED_TEST_SUITE(SmootherTest, Filters);

TYPED_TEST(SmootherTest, IsTheLevenbergMarquardtStepOnEveryEngine) {
  using Real = typename TypeParam::Real;
  constexpr bool dense = std::is_same_v<TypeParam, KalmanDense<Real>>;
  const double sigma2 = 3.0, tolerance = sizeof(Real) == 8 ? 1e-11 : 2e-4;
  for (const long T : {1L, 2L, 13L})
    for (const long B : {1L, 9L})
      for (const int D : {1, 4}) {
        std::mt19937_64 rng(unsigned(T * 100 + B * 10 + D));
        std::normal_distribution<double> normal;
        const std::size_t n = std::size_t(T * D);
        std::vector<std::vector<double>> A(std::size_t(B), std::vector<double>(std::size_t(T * D * D), 0.0)), r,
            expected;
        for (long b = 0; b < B; ++b) {
          std::vector<double>& a = A[std::size_t(b)];
          for (long t = 0; t < T; ++t)
            for (int i = 0; i < D; ++i)
              for (int j = 0; j < D; ++j)
                if (dense || i == j) a[std::size_t((t * D + i) * D + j)] = normal(rng);
          r.emplace_back(n);
          for (double& x : r.back()) x = normal(rng);
          // normal equations of |L δ + r|² + |δ|²/σ² with L block bidiagonal
          std::vector<double> L(n * n, 0.0), N(n * n, 0.0), right(n, 0.0);
          for (std::size_t i = 0; i < n; ++i) L[i * n + i] = 1;
          for (long t = 1; t < T; ++t)
            for (int i = 0; i < D; ++i)
              for (int j = 0; j < D; ++j)
                L[std::size_t(t * D + i) * n + std::size_t((t - 1) * D + j)] = -a[std::size_t((t * D + i) * D + j)];
          for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j < n; ++j)
              for (std::size_t k = 0; k < n; ++k) N[i * n + j] += L[k * n + i] * L[k * n + j];
            N[i * n + i] += 1 / sigma2;
            for (std::size_t k = 0; k < n; ++k) right[i] -= L[k * n + i] * r.back()[k];
          }
          expected.push_back(solve(N, right));
        }
        for (const Engine engine : {Engine::serial, Engine::flat, Engine::chunked})
          for (const long chunks : {1L, 3L, 8L}) {
            const LaneMap map(T, B, chunks);
            const std::size_t G = std::size_t(map.groups), K = std::size_t(map.steps), d = std::size_t(D);
            Panel<Real> jacobian("jacobian", G, K, dense ? d * d : d, lane_width), increment("r", G, K, d, lane_width);
            const auto J = Kokkos::create_mirror_view(jacobian);
            const auto R = Kokkos::create_mirror_view(increment);
            for (long t = 0; t < T; ++t)
              for (long b = 0; b < B; ++b) {
                const long lane = t / map.steps * B + b;
                for (int i = 0; i < D; ++i) {
                  R(lane / lane_width, t % map.steps, i, lane % lane_width) =
                      Real(r[std::size_t(b)][std::size_t(t * D + i)]);
                  for (int j = 0; j < D; ++j)
                    if (dense || i == j)
                      J(lane / lane_width, t % map.steps, dense ? i * D + j : i, lane % lane_width) =
                          Real(A[std::size_t(b)][std::size_t((t * D + i) * D + j)]);
                }
              }
            Kokkos::deep_copy(jacobian, J);
            Kokkos::deep_copy(increment, R);
            TrustRegion<Real> region;
            region.value = Real(sigma2);
            Smoother<TypeParam>(engine, map, TypeParam{jacobian, increment, D, region, {}}).run(Active{});
            Kokkos::fence();
            const auto out = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), increment);
            for (long t = 0; t < T; ++t)
              for (long b = 0; b < B; ++b)
                for (int i = 0; i < D; ++i) {
                  const long lane = t / map.steps * B + b;
                  ASSERT_NEAR(out(lane / lane_width, t % map.steps, i, lane % lane_width),
                              expected[std::size_t(b)][std::size_t(t * D + i)], tolerance)
                      << "T " << T << " B " << B << " D " << D << " engine " << int(engine) << " chunks " << chunks;
                }
          }
      }
}

}  // namespace
