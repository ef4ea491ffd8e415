/// How perturbations grow along a trajectory: Lyapunov exponents, Jacobian norms, products of Jacobians.
#pragma once

#include <vector>

#include "analysis/trajectory.hpp"

namespace elkhorn::analysis {

/// Exponents per step, largest first, in nats; −∞ where directions are annihilated.
struct Exponents {
  std::vector<double> values;
  /// Of each, half the difference between the two halves of the trajectory: how far the number still drifts, its
  /// statistical error included.
  std::vector<double> uncertainty;
};

/// Benettin et al., Meccanica 15 (1980) 9; Eckmann & Ruelle, Rev. Mod. Phys. 57 (1985) 617: `count` orthonormal vectors
/// carried by the Jacobians and re-orthonormalised each step; exponents are the mean logarithms of R's diagonal.
/// The first tenth of the steps only turns the vectors into place. O(T D² count).
Exponents lyapunov(const Trajectory& trajectory, long count);

/// Median, 95 % quantile and maximum over time.
struct Summary {
  double median = 0, p95 = 0, max = 0;
};
Summary summarize(std::vector<double> values);

/// The largest singular value of a square matrix (row by row) by power iteration: a lower bound, close to it.
double norm2(const double* a, long dim);

/// ‖A_t‖₂ of each step; with `stride` > 1 of every stride-th one.
std::vector<double> jacobian_norms(const Trajectory& trajectory, long stride = 1);

/// max_i |(A_t)_ii| of each step.
std::vector<double> diagonal_magnitudes(const Trajectory& trajectory);

/// The fraction of all diagonal entries beyond 1 in magnitude.
double diagonal_fraction_beyond_one(const Trajectory& trajectory);

struct Growth {
  std::vector<long> window;       ///< 1, 2, 4, …, T
  std::vector<double> log10_max;  ///< the largest log10 ‖product over a window of that many steps‖; −∞ for zero
  double largest() const;
};

/// log10 ‖A_t … A_{t−w+1}‖₂. Windows start at multiples of their length, so that all together cost O(T D³).
Growth dense_growth(const Trajectory& trajectory);

/// The same of the diagonals' products, over all windows of each length.
Growth diagonal_growth(const Trajectory& trajectory);

}  // namespace elkhorn::analysis
