#include "analysis/conditioning.hpp"

#include <algorithm>
#include <cmath>
#include <random>

namespace elkhorn::analysis {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
using Numbers = std::vector<double>;

std::size_t at(long i) { return static_cast<std::size_t>(i); }

/// x ← J⁻¹ x: e_t = A_t e_{t−1} + v_t. A_1 acts on s_0, which is known.
void solve(const Trajectory& trajectory, Numbers& x) {
  const long T = trajectory.length, D = trajectory.dim;
  for (long t = 1; t < T; ++t)
    for (long i = 0; i < D; ++i)
      for (long j = 0; j < D; ++j) x[at(t * D + i)] += trajectory.jacobian(t)[i * D + j] * x[at((t - 1) * D + j)];
}

/// x ← J⁻ᵀ x.
void solve_transposed(const Trajectory& trajectory, Numbers& x) {
  const long T = trajectory.length, D = trajectory.dim;
  for (long t = T - 1; t > 0; --t)
    for (long i = 0; i < D; ++i)
      for (long j = 0; j < D; ++j) x[at((t - 1) * D + j)] += trajectory.jacobian(t)[i * D + j] * x[at(t * D + i)];
}

/// a ← a⁻¹ for a symmetric positive definite matrix: Gauss–Jordan, which needs no pivots then.
void invert(Numbers& a, long dim) {
  for (long k = 0; k < dim; ++k) {
    const double pivot = 1 / a[at(k * dim + k)];
    a[at(k * dim + k)] = 1;
    for (long j = 0; j < dim; ++j) a[at(k * dim + j)] *= pivot;
    for (long i = 0; i < dim; ++i) {
      if (i == k) continue;
      const double factor = a[at(i * dim + k)];
      a[at(i * dim + k)] = 0;
      for (long j = 0; j < dim; ++j) a[at(i * dim + j)] -= factor * a[at(k * dim + j)];
    }
  }
}

void multiply(const double* a, const double* b, double* c, long dim, bool transposed) {
  for (long i = 0; i < dim; ++i)
    for (long j = 0; j < dim; ++j) {
      double sum = 0;
      for (long k = 0; k < dim; ++k) sum += a[i * dim + k] * (transposed ? b[j * dim + k] : b[k * dim + j]);
      c[i * dim + j] = sum;
    }
}

/// I − K_t of the filter with process noise I and observations of variance σ², first state of variance 1 a priori.
Numbers dense_gains(const Trajectory& trajectory, double sigma2) {
  const long T = trajectory.length, D = trajectory.dim, DD = D * D;
  Numbers gains(at(T * DD)), before(at(DD), 0.0), after(at(DD)), work(at(DD));
  for (long i = 0; i < D; ++i) before[at(i * (D + 1))] = 1;
  for (long t = 0; t < T; ++t) {
    if (t > 0) {
      multiply(trajectory.jacobian(t), after.data(), work.data(), D, false);
      multiply(work.data(), trajectory.jacobian(t), before.data(), D, true);
      for (long i = 0; i < D; ++i) before[at(i * (D + 1))] += 1;
    }
    work = before;
    for (long i = 0; i < D; ++i) work[at(i * (D + 1))] += sigma2;
    invert(work, D);
    double* const gain = gains.data() + t * DD;
    for (long i = 0; i < DD; ++i) gain[i] = sigma2 * work[at(i)];
    multiply(gain, before.data(), after.data(), D, false);
    for (long i = 0; i < D; ++i)  // rounding must not make it unsymmetric
      for (long j = 0; j < i; ++j)
        after[at(i * D + j)] = after[at(j * D + i)] = (after[at(i * D + j)] + after[at(j * D + i)]) / 2;
  }
  return gains;
}

Numbers diagonal_gains(const Trajectory& trajectory, double sigma2) {
  const long T = trajectory.length, D = trajectory.dim;
  Numbers gains(at(T * D));
  for (long i = 0; i < D; ++i) {
    double after = 0;
    for (long t = 0; t < T; ++t) {
      const double a = trajectory.jacobian(t)[i * (D + 1)];
      const double before = t > 0 ? a * a * after + 1 : 1;
      gains[at(t * D + i)] = std::isinf(before) ? 0 : sigma2 / (before + sigma2);
      after = std::isinf(before) ? sigma2 : before * gains[at(t * D + i)];
    }
  }
  return gains;
}

}  // namespace

Conditioning conditioning(const Trajectory& trajectory) {
  const long T = trajectory.length, D = trajectory.dim;
  const std::size_t n = at(T * D);
  if (n == 0) return {};
  Conditioning out;
  Numbers y, z(n);
  // Higham's climb: to better and better rows of J⁻¹, from x. False where it overflows.
  const auto climb = [&](Numbers x) {
    for (int iteration = 0; iteration < 5; ++iteration) {
      y = x;
      solve_transposed(trajectory, y);
      double norm = 0;
      for (const double v : y) norm += std::abs(v);
      for (std::size_t i = 0; i < n; ++i) z[i] = y[i] < 0 ? -1 : 1;
      solve(trajectory, z);
      std::size_t largest = 0;
      double here = 0;
      for (std::size_t i = 0; i < n; ++i) {
        if (!std::isfinite(z[i])) return false;
        if (std::abs(z[i]) > std::abs(z[largest])) largest = i;
        here += z[i] * x[i];
      }
      if (!std::isfinite(norm)) return false;
      out.worst = std::max({out.worst, norm, std::abs(z[largest])});
      if (std::abs(z[largest]) <= here) break;
      std::fill(x.begin(), x.end(), 0.0);
      x[largest] = 1;
    }
    return true;
  };
  Numbers x(n);
  std::mt19937_64 generator(1);
  for (double& v : x) v = (generator() >> 63) != 0 ? 1 : -1;
  z = x;
  solve(trajectory, z);
  out.random = 0;
  for (const double v : z) out.random = std::abs(v) <= out.random ? out.random : std::abs(v);
  bool finite = std::isfinite(out.random) && climb(Numbers(n, 1.0 / double(n)));
  // Alternating signs cancel in that start, so rows of J⁻¹ at some times, too: the last one often is the worst.
  for (long quarter = 1; finite && quarter <= 4; ++quarter) {
    const long row = std::max(0L, T * quarter / 4 - 1) * D;
    std::fill(x.begin(), x.end(), 0.0);
    x[at(std::max_element(z.begin() + row, z.begin() + row + D,
                          [](double a, double b) { return std::abs(a) < std::abs(b); }) -
         z.begin())] = 1;
    finite = climb(x);
  }
  if (!finite) out.worst = infinity;
  if (std::isnan(out.random)) out.random = infinity;
  return out;
}

LinearIteration linear_iterations(const Trajectory& trajectory, bool diagonal, std::optional<double> sigma2,
                                  double tolerance, long max_iterations, double overflow) {
  const long T = trajectory.length, D = trajectory.dim;
  LinearIteration out;
  if (sigma2) out.sigma2 = *sigma2;
  const Numbers gains = !sigma2    ? Numbers{}
                        : diagonal ? diagonal_gains(trajectory, *sigma2)
                                   : dense_gains(trajectory, *sigma2);
  Numbers error(at(T * D));
  for (long i = 0; i < T * D; ++i) error[at(i)] = -trajectory.states[at(D + i)];
  Numbers before(at(D)), old(at(D)), delta(at(D)), forecast(at(D));
  for (long iteration = 0;; ++iteration) {
    double residual = 0, largest = 0;
    std::fill(before.begin(), before.end(), 0.0);
    std::fill(delta.begin(), delta.end(), 0.0);
    for (long t = 0; t < T; ++t) {
      const double* const a = trajectory.jacobian(t);
      double* const e = error.data() + t * D;
      for (long i = 0; i < D; ++i) {
        double carried = 0, increment = 0;
        if (t > 0)
          for (long j = 0; j < D; ++j) {
            carried += a[i * D + j] * before[at(j)];
            if (!diagonal) increment += a[i * D + j] * delta[at(j)];
          }
        if (diagonal && t > 0) increment = a[i * (D + 1)] * delta[at(i)];
        const double r = e[i] - carried;
        residual = std::abs(r) <= residual ? residual : std::abs(r);
        forecast[at(i)] = increment - r;
        old[at(i)] = e[i];
      }
      for (long i = 0; i < D; ++i) {
        double d = forecast[at(i)];
        if (sigma2 && diagonal) d *= gains[at(t * D + i)];
        if (sigma2 && !diagonal) {
          d = 0;
          for (long j = 0; j < D; ++j) d += gains[at((t * D + i) * D + j)] * forecast[at(j)];
        }
        delta[at(i)] = d;
        e[i] += d;
        largest = std::abs(e[i]) <= largest ? largest : std::abs(e[i]);
      }
      before.swap(old);
    }
    out.tried = iteration;
    if (residual <= tolerance) {  // of the errors before this sweep
      out.iterations = iteration;
      return out;
    }
    out.peak = std::max(out.peak, std::isnan(largest) ? infinity : largest);
    if (!(largest <= overflow) || iteration >= max_iterations) return out;
  }
}

}  // namespace elkhorn::analysis
