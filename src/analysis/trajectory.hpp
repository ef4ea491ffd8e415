/// One sequence of a problem linearised along given states, on the host in doubles: what every analysis starts from.
#pragma once

#include <vector>

#include "systems/system.hpp"

namespace elkhorn::analysis {

/// s_0..s_T and A_t = ∂f_t/∂s at s_{t−1}, t = 1..T, stored from index 0.
struct Trajectory {
  long length = 0;                ///< T
  long dim = 0;                   ///< D
  std::vector<double> states;     ///< (T + 1, D), s_0 first
  std::vector<double> jacobians;  ///< (T, D, D), row by row
  double largest_residual = 0;    ///< max |s_t − f_t(s_{t−1})|

  const double* state(long t) const { return states.data() + t * dim; }
  const double* jacobian(long k) const { return jacobians.data() + k * dim * dim; }  ///< A_{k+1}
  /// max |s_t|, t = 1..T.
  double largest_state() const;
};

/// Along the sequential states. @param instance of one sequence
Trajectory along_solution(const systems::Instance<double>& instance);

/// Along zero states, s_0 as given: where solvers start with guess = "zero".
Trajectory along_zero(const systems::Instance<double>& instance);

/// Along `along` with normally distributed numbers of standard deviation `distance` × max_t |s_t| (of each coordinate by
/// itself) added to s_1..s_T: how the system behaves where a solver's iterates may stray. The random numbers are the
/// same for every distance.
Trajectory around(const systems::Instance<double>& instance, const Trajectory& along, double distance);

/// Bytes that an analysis of one sequence of that size needs, at its peak.
double model_memory(long length, long dim);

}  // namespace elkhorn::analysis
