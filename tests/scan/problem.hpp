// What the tests of the scans share: random problems, their answers step by step, and panels that hold them.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "scan/panel.hpp"

namespace elkhorn::scan {

/// Residuals and Jacobians of a random problem, time-major, in doubles.
struct Problem {
  long T, B;
  int D;
  bool dense;
  std::vector<double> r, a;  // (T, B, D), (T, B, D or D·D)

  int components() const { return dense ? D * D : D; }
  Problem(long T_, long B_, int D_, bool dense_, unsigned seed, double gain = 0.9)
      : T(T_), B(B_), D(D_), dense(dense_) {
    std::mt19937_64 rng(seed);
    std::normal_distribution<double> normal;
    r.resize(std::size_t(T * B * D));
    a.resize(std::size_t(T * B * components()));
    for (double& x : r) x = normal(rng);
    for (double& x : a) x = gain * normal(rng) / (dense ? std::sqrt(double(D)) : 1.0);
  }
  double res(long t, long b, int i) const { return r[std::size_t((t * B + b) * D + i)]; }
  double jac(long t, long b, int i) const { return a[std::size_t((t * B + b) * components() + i)]; }
};

/// δ_t by the recursions of the affine elements (sigma2 = 0) and of the filter, step by step and with full matrices.
/// `bounds` (B, D), unless empty, holds what |δ_{t,d}| may not exceed.
inline std::vector<double> reference(const Problem& p, double sigma2, const std::vector<double>& bounds = {}) {
  const int D = p.D;
  std::vector<double> out(p.r.size());
  for (long b = 0; b < p.B; ++b) {
    std::vector<double> m(std::size_t(D), 0.0), P(std::size_t(D * D), 0.0);
    for (long t = 0; t < p.T; ++t) {
      std::vector<double> A(std::size_t(D * D), 0.0), mean(m.size()), AP(A.size(), 0.0), pred(A.size(), 0.0);
      for (int i = 0; i < D; ++i)
        for (int j = 0; j < D; ++j)
          A[std::size_t(i * D + j)] = p.dense ? p.jac(t, b, i * D + j) : (i == j ? p.jac(t, b, i) : 0.0);
      for (int i = 0; i < D; ++i) {
        mean[std::size_t(i)] = -p.res(t, b, i);
        for (int j = 0; j < D; ++j) mean[std::size_t(i)] += A[std::size_t(i * D + j)] * m[std::size_t(j)];
      }
      if (sigma2 > 0) {
        for (int i = 0; i < D; ++i)
          for (int j = 0; j < D; ++j)
            for (int k = 0; k < D; ++k)
              AP[std::size_t(i * D + j)] += A[std::size_t(i * D + k)] * P[std::size_t(k * D + j)];
        for (int i = 0; i < D; ++i)
          for (int j = 0; j < D; ++j) {
            pred[std::size_t(i * D + j)] = i == j;
            for (int k = 0; k < D; ++k)
              pred[std::size_t(i * D + j)] += AP[std::size_t(i * D + k)] * A[std::size_t(j * D + k)];
          }
        // gain K = pred (pred + σ²)⁻¹ by Gauss–Jordan on [pred + σ² | pred] (the two commute)
        std::vector<double> S = pred, K = pred;
        for (int i = 0; i < D; ++i) S[std::size_t(i * D + i)] += sigma2;
        for (int c = 0; c < D; ++c) {
          int best = c;
          for (int i = c; i < D; ++i)
            if (std::fabs(S[std::size_t(i * D + c)]) > std::fabs(S[std::size_t(best * D + c)])) best = i;
          for (int j = 0; j < D; ++j) {
            std::swap(S[std::size_t(c * D + j)], S[std::size_t(best * D + j)]);
            std::swap(K[std::size_t(c * D + j)], K[std::size_t(best * D + j)]);
          }
          const double pivot = S[std::size_t(c * D + c)];
          for (int j = 0; j < D; ++j) {
            S[std::size_t(c * D + j)] /= pivot;
            K[std::size_t(c * D + j)] /= pivot;
          }
          for (int i = 0; i < D; ++i) {
            if (i == c) continue;
            const double f = S[std::size_t(i * D + c)];
            for (int j = 0; j < D; ++j) {
              S[std::size_t(i * D + j)] -= f * S[std::size_t(c * D + j)];
              K[std::size_t(i * D + j)] -= f * K[std::size_t(c * D + j)];
            }
          }
        }
        for (int i = 0; i < D; ++i) {
          m[std::size_t(i)] = mean[std::size_t(i)];
          for (int j = 0; j < D; ++j) m[std::size_t(i)] -= K[std::size_t(i * D + j)] * mean[std::size_t(j)];
          for (int j = 0; j < D; ++j) P[std::size_t(i * D + j)] = sigma2 * K[std::size_t(i * D + j)];
        }
      } else {
        m = mean;
      }
      if (!bounds.empty())
        for (int i = 0; i < D; ++i) {
          const double most = bounds[std::size_t(b * D + i)];
          m[std::size_t(i)] = std::max(-most, std::min(most, m[std::size_t(i)]));
        }
      for (int i = 0; i < D; ++i) out[std::size_t((t * p.B + b) * D + i)] = m[std::size_t(i)];
    }
  }
  return out;
}

template <class Real>
struct Panels {
  LaneMap map;
  Panel<Real> jacobian, increment;

  Panels(const Problem& p, long chunks) : map(p.T, p.B, chunks) {
    jacobian = Panel<Real>("jacobian", std::size_t(map.groups), std::size_t(map.steps), std::size_t(p.components()),
                           lane_width);
    increment = Panel<Real>("increment", std::size_t(map.groups), std::size_t(map.steps), std::size_t(p.D), lane_width);
    const auto J = Kokkos::create_mirror_view(jacobian);
    const auto R = Kokkos::create_mirror_view(increment);
    // Padding holds numbers that would spoil everything if they were used.
    Kokkos::deep_copy(J, Real(1e30));
    Kokkos::deep_copy(R, Real(1e30));
    each(p, [&](long t, long b, long g, long k, long w) {
      for (int i = 0; i < p.components(); ++i) J(g, k, i, w) = Real(p.jac(t, b, i));
      for (int i = 0; i < p.D; ++i) R(g, k, i, w) = Real(p.res(t, b, i));
    });
    Kokkos::deep_copy(jacobian, J);
    Kokkos::deep_copy(increment, R);
  }
  template <class F>
  void each(const Problem& p, const F& f) const {
    for (long t = 0; t < p.T; ++t)
      for (long b = 0; b < p.B; ++b) {
        const long lane = t / map.steps * p.B + b;
        f(t, b, lane / lane_width, t % map.steps, lane % lane_width);
      }
  }
  /// max |δ − expected|, infinity where δ is not a number.
  double error(const Problem& p, const std::vector<double>& expected) const {
    const auto R = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), increment);
    double worst = 0;
    each(p, [&](long t, long b, long g, long k, long w) {
      for (int i = 0; i < p.D; ++i) {
        const double e = std::fabs(double(R(g, k, i, w)) - expected[std::size_t((t * p.B + b) * p.D + i)]);
        worst = e <= worst ? worst : (std::isnan(e) ? INFINITY : e);
      }
    });
    return worst;
  }
};

}  // namespace elkhorn::scan
