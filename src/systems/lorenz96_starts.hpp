#pragma once

#include <vector>

namespace elkhorn::systems {

inline constexpr int lorenz96_starts = 10;

/// The published starts of Lorenz-96 (arXiv 2407.19115): state number 10,000 + 1,000 `start` of a rollout of one-step
/// states from F·1 + 0.01 e_0, D numbers.
///
/// Chaos turns the rounding of such a rollout into another, equally typical point of the attractor, so these are not
/// the published numbers; but basic operations in a fixed order, compiled without fused multiply-adds, make them the
/// same on every machine.
std::vector<double> lorenz96_start(long dim, double forcing, double step, long start);

}  // namespace elkhorn::systems
