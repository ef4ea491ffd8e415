#include "analysis/spectrum.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace elkhorn::analysis {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
using Numbers = std::vector<double>;

std::size_t at(long i) { return static_cast<std::size_t>(i); }

/// c = a b for square matrices, row by row.
void multiply(const double* a, const double* b, double* c, long dim) {
  std::fill(c, c + dim * dim, 0.0);
  for (long i = 0; i < dim; ++i)
    for (long k = 0; k < dim; ++k)
      for (long j = 0; j < dim; ++j) c[i * dim + j] += a[i * dim + k] * b[k * dim + j];
}

/// Divides by the largest entry and gives its log10, so that long products neither overflow nor vanish.
double normalise(double* a, long count) {
  double largest = 0;
  for (long i = 0; i < count; ++i) largest = std::abs(a[i]) <= largest ? largest : std::abs(a[i]);
  if (largest == 0) return -infinity;
  if (!std::isfinite(largest)) return infinity;
  for (long i = 0; i < count; ++i) a[i] /= largest;
  return std::log10(largest);
}

struct Products {
  long dim;
  Numbers matrices;  ///< (n, D, D), scaled
  Numbers scale;     ///< log10 of what to multiply them by

  long count() const { return static_cast<long>(scale.size()); }
  double* matrix(long i) { return matrices.data() + i * dim * dim; }
  double log10_norm(long i) { return scale[at(i)] + std::log10(norm2(matrix(i), dim)); }
};

}  // namespace

double norm2(const double* a, long dim) {
  if (dim == 1) return std::abs(a[0]);
  Numbers v(at(dim)), w(at(dim));
  // From the largest row: never orthogonal to the answer unless the matrix is zero.
  long start = 0;
  double largest = -1;
  for (long i = 0; i < dim; ++i) {
    double sum = 0;
    for (long j = 0; j < dim; ++j) sum += a[i * dim + j] * a[i * dim + j];
    if (!std::isfinite(sum)) return infinity;
    if (sum > largest) largest = sum, start = i;
  }
  if (largest <= 0) return 0;
  for (long j = 0; j < dim; ++j) v[at(j)] = a[start * dim + j] / std::sqrt(largest);
  double norm = 0;
  for (int iteration = 0; iteration < 100; ++iteration) {
    double before = 0, after = 0;
    for (long i = 0; i < dim; ++i) {
      w[at(i)] = 0;
      for (long j = 0; j < dim; ++j) w[at(i)] += a[i * dim + j] * v[at(j)];
      before += w[at(i)] * w[at(i)];
    }
    std::fill(v.begin(), v.end(), 0.0);
    for (long i = 0; i < dim; ++i)
      for (long j = 0; j < dim; ++j) v[at(j)] += a[i * dim + j] * w[at(i)];
    for (const double x : v) after += x * x;
    const double next = std::sqrt(before);
    const bool settled = std::abs(next - norm) <= 1e-9 * next;
    norm = next;
    if (settled || after == 0) break;
    for (double& x : v) x /= std::sqrt(after);
  }
  return norm;
}

Exponents lyapunov(const Trajectory& trajectory, long count) {
  const long T = trajectory.length, D = trajectory.dim;
  count = std::min(count, D);
  // Vectors are rows here. A generic start: coordinate axes can be invariant, and would stay in the wrong order.
  Numbers q(at(count * D)), image(q.size());
  for (long c = 0; c < count; ++c)
    for (long i = 0; i < D; ++i) q[at(c * D + i)] = std::cos(double(1 + i + c * D) * 1.7) + (i == c ? 1.0 : 0.0);
  const long skipped = T / 10, half = skipped + (T - skipped) / 2;
  Numbers first(at(count), 0.0), second(at(count), 0.0);
  const auto orthonormalise = [&](Numbers* sums) {
    for (long c = 0; c < count; ++c) {
      double* const v = q.data() + c * D;
      double before = 0;
      for (long i = 0; i < D; ++i) before += v[i] * v[i];
      for (int pass = 0; pass < 2; ++pass)  // twice is enough, where vectors were nearly parallel
        for (long p = 0; p < c; ++p) {
          const double* const u = q.data() + p * D;
          double dot = 0;
          for (long i = 0; i < D; ++i) dot += u[i] * v[i];
          for (long i = 0; i < D; ++i) v[i] -= dot * u[i];
        }
      double norm = 0;
      for (long i = 0; i < D; ++i) norm += v[i] * v[i];
      norm = std::sqrt(norm);
      // What is left of a vector within the span of the others is rounding: this direction has been annihilated.
      const bool lost = !(norm > 1e-15 * std::sqrt(before)) || norm < 1e-290;
      if (sums) (*sums)[at(c)] += lost ? -infinity : std::log(norm);
      for (long i = 0; i < D; ++i) v[i] = lost ? 0.0 : v[i] / norm;
    }
  };
  orthonormalise(nullptr);
  for (long t = 0; t < T; ++t) {
    const double* const a = trajectory.jacobian(t);
    for (long c = 0; c < count; ++c)
      for (long i = 0; i < D; ++i) {
        double sum = 0;
        for (long j = 0; j < D; ++j) sum += a[i * D + j] * q[at(c * D + j)];
        image[at(c * D + i)] = sum;
      }
    q.swap(image);
    orthonormalise(t < skipped ? nullptr : t < half ? &first : &second);
  }
  Exponents out;
  for (long c = 0; c < count; ++c) {
    const double a = first[at(c)], b = second[at(c)];
    out.values.push_back((a + b) / double(T - skipped));
    const double drift = half > skipped ? a / double(half - skipped) - b / double(T - half) : infinity;
    out.uncertainty.push_back(std::isfinite(a + b) ? std::abs(drift) / 2 : 0.0);
  }
  return out;
}

Summary summarize(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    return values[static_cast<std::size_t>(std::lround(q * double(values.size() - 1)))];
  };
  return {quantile(0.5), quantile(0.95), values.back()};
}

std::vector<double> jacobian_norms(const Trajectory& trajectory, long stride) {
  Numbers out;
  for (long t = 0; t < trajectory.length; t += stride) out.push_back(norm2(trajectory.jacobian(t), trajectory.dim));
  return out;
}

std::vector<double> diagonal_magnitudes(const Trajectory& trajectory) {
  Numbers out;
  for (long t = 0; t < trajectory.length; ++t) {
    double largest = 0;
    for (long i = 0; i < trajectory.dim; ++i)
      largest = std::max(largest, std::abs(trajectory.jacobian(t)[i * (trajectory.dim + 1)]));
    out.push_back(largest);
  }
  return out;
}

double diagonal_fraction_beyond_one(const Trajectory& trajectory) {
  long beyond = 0;
  for (long t = 0; t < trajectory.length; ++t)
    for (long i = 0; i < trajectory.dim; ++i) beyond += std::abs(trajectory.jacobian(t)[i * (trajectory.dim + 1)]) > 1;
  return double(beyond) / double(std::max(1L, trajectory.length * trajectory.dim));
}

double Growth::largest() const {
  return log10_max.empty() ? -infinity : *std::max_element(log10_max.begin(), log10_max.end());
}

Growth dense_growth(const Trajectory& trajectory) {
  const long T = trajectory.length, D = trajectory.dim, DD = D * D;
  Growth out;
  const auto take = [&](long window, double value) {
    out.window.push_back(window);
    out.log10_max.push_back(value);
  };
  const auto largest_of = [](Products& level) {
    double largest = -infinity;
    for (long i = 0; i < level.count(); ++i) largest = std::max(largest, level.log10_norm(i));
    return largest;
  };
  Products level{D, trajectory.jacobians, Numbers(at(T), 0.0)};
  for (long i = 0; i < T; ++i) level.scale[at(i)] = normalise(level.matrix(i), DD);
  // Matrices that are left over at the end of a level, multiplied up: with the last product they span all of T.
  Numbers tail(at(DD), 0.0), product(at(DD));
  for (long i = 0; i < D; ++i) tail[at(i * (D + 1))] = 1;
  double tail_scale = 0;
  long window = 1;
  for (; level.count() > 1; window *= 2) {
    take(window, largest_of(level));
    if (level.count() % 2 == 1) {
      const long last = level.count() - 1;
      multiply(tail.data(), level.matrix(last), product.data(), D);
      tail.swap(product);
      tail_scale += level.scale[at(last)] + normalise(tail.data(), DD);
    }
    Products next{D, Numbers(at(level.count() / 2 * DD)), Numbers(at(level.count() / 2))};
    for (long i = 0; i < next.count(); ++i) {
      multiply(level.matrix(2 * i + 1), level.matrix(2 * i), next.matrix(i), D);
      next.scale[at(i)] = level.scale[at(2 * i)] + level.scale[at(2 * i + 1)] + normalise(next.matrix(i), DD);
    }
    level = std::move(next);
  }
  if (T > 0) {
    take(window, level.log10_norm(0));
    if (window < T) {
      multiply(tail.data(), level.matrix(0), product.data(), D);
      take(T, tail_scale + level.scale[0] + std::log10(norm2(product.data(), D)));
    }
  }
  return out;
}

Growth diagonal_growth(const Trajectory& trajectory) {
  const long T = trajectory.length, D = trajectory.dim;
  Growth out;
  for (long window = 1; window < T; window *= 2) out.window.push_back(window);
  if (T > 0) out.window.push_back(T);
  out.log10_max.assign(out.window.size(), -infinity);
  Numbers sum(at(T + 1), 0.0);
  std::vector<long> zeros(at(T + 1), 0);  // a product over a zero is zero, however large its other factors
  for (long i = 0; i < D; ++i) {
    for (long t = 0; t < T; ++t) {
      const double d = std::abs(trajectory.jacobian(t)[i * (D + 1)]);
      sum[at(t + 1)] = sum[at(t)] + (d > 0 ? std::log10(d) : 0.0);
      zeros[at(t + 1)] = zeros[at(t)] + (d == 0);
    }
    for (std::size_t w = 0; w < out.window.size(); ++w)
      for (long t = out.window[w]; t <= T; ++t)
        if (zeros[at(t)] == zeros[at(t - out.window[w])])
          out.log10_max[w] = std::max(out.log10_max[w], sum[at(t)] - sum[at(t - out.window[w])]);
  }
  return out;
}

}  // namespace elkhorn::analysis
