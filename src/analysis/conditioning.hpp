/// How hard the system of equations r(s) = 0 is: what a residual means for the error, and how fast each solver's iterates
/// close in once they are near the solution.
#pragma once

#include <limits>
#include <optional>

#include "analysis/trajectory.hpp"

namespace elkhorn::analysis {

/// What residuals near the trajectory make of the errors, J = ∂r/∂s; infinite where doubles overflow.
struct Conditioning {
  /// ‖J⁻¹‖_∞: max |error| ≤ this × max |residual|. Its 2-norm counterpart is 1/√µ, with µ the Polyak–Łojasiewicz
  /// constant of the merit function (Gonzalez et al., arXiv 2508.16817). Estimated from below, nearly always exactly,
  /// as Higham, ACM TOMS 14 (1988) 381, from several starts.
  double worst = 1;
  double random = 1;  ///< max |error| for residuals ±1 of random sign: what rounding does
};
Conditioning conditioning(const Trajectory& trajectory);

/// What happens to an iteration's error when f is replaced by its linearization along the solution.
struct LinearIteration {
  double sigma2 = std::numeric_limits<double>::quiet_NaN();  ///< of the trust region; NaN: undamped
  long iterations = -1;  ///< until max |residual| ≤ tolerance; −1: not within `tried`
  long tried = 0;
  double peak = 0;  ///< the largest |error| on the way; infinite where it overflows
};

/// Error iteration e ← e − G J e from e = −s (the zero guess), G being the solver's step with `diagonal` or dense
/// Jacobians, undamped or through the Kalman filter of ELK. For a linear system this is the solver; for others it says
/// what the linearization costs (nothing for DEER, whose answer is 1) and leaves out what the nonlinearity adds.
/// Stops as well where |e| exceeds `overflow`.
LinearIteration linear_iterations(const Trajectory& trajectory, bool diagonal, std::optional<double> sigma2,
                                  double tolerance, long max_iterations, double overflow);

}  // namespace elkhorn::analysis
