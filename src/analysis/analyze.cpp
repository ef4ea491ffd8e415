#include "analysis/analyze.hpp"

#include <algorithm>
#include <cmath>

#include "solvers/newton.hpp"

namespace elkhorn::analysis {

namespace {

constexpr double overflow = solvers::overflow;

/// Doubles the distance until Jacobians leave the range they have on the solution; at most 100 of them are looked at.
void find_reach(const systems::Instance<double>& instance, const Trajectory& solution, SequenceAnalysis& out) {
  const double limit = 10 * std::max(1.0, out.norms.max);
  const long stride = std::max(1L, solution.length / 100);
  for (int doubled = 0; doubled <= 12; ++doubled) {
    const double distance = std::ldexp(1.0, doubled);
    out.reach_tried = distance;
    for (const double norm : jacobian_norms(around(instance, solution, distance), stride))
      if (!(norm <= limit)) return;
    out.reach = distance;
  }
}

}  // namespace

SequenceAnalysis analyze_sequence(const systems::Instance<double>& instance, long sequence, double tolerance) {
  SequenceAnalysis out;
  out.sequence = sequence;
  const Trajectory solution = along_solution(instance);
  const long T = solution.length, D = solution.dim;
  out.largest_state = solution.largest_state();
  out.largest_residual = solution.largest_residual;
  out.exponents = lyapunov(solution, D <= whole_spectrum_dim ? D : leading_exponents);
  out.norms = summarize(jacobian_norms(solution));
  out.diagonals = summarize(diagonal_magnitudes(solution));
  out.diagonal_beyond_one = diagonal_fraction_beyond_one(solution);
  out.dense = dense_growth(solution);
  out.diagonal = diagonal_growth(solution);
  {
    const Trajectory guess = along_zero(instance);
    out.guess_residual = guess.largest_residual;
    out.dense_guess = dense_growth(guess);
    out.diagonal_guess = diagonal_growth(guess);
  }
  out.conditioning = conditioning(solution);
  find_reach(instance, solution, out);

  const double step_flops = 4.0 * double(D) * double(D), cube = double(D) * double(D) * double(D);
  const long most = std::clamp(static_cast<long>(2e9 / (double(T) * step_flops)), 50L, 2000L);
  out.quasi_deer = linear_iterations(solution, true, {}, tolerance, most, overflow);
  std::vector<double> decades;
  for (int decade = 0; decade <= 8; ++decade) decades.push_back(decade == 0 ? 1 : 10 * decades.back());
  const double filter_flops = double(T) * (8 * cube + double(std::min(most, 200L)) * step_flops);
  for (const double sigma2 : decades) {
    if (sigma2 <= 1e4) out.quasi_elk.push_back(linear_iterations(solution, true, sigma2, tolerance, most, overflow));
    if (filter_flops * double(decades.size()) <= dense_filter_flops)
      out.elk.push_back(linear_iterations(solution, false, sigma2, tolerance, std::min(most, 200L), overflow));
  }
  return out;
}

}  // namespace elkhorn::analysis
