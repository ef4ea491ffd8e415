#pragma once

namespace elkhorn::systems {

/// What stands in for A_t = ∂f_t/∂s in the linear recurrence of a Newton-type step.
enum class Linearization { zero, identity, diagonal, dense };

/// Numbers of it a step and sequence.
inline long jacobian_components(Linearization l, long dim) {
  return l == Linearization::dense ? dim * dim : l == Linearization::diagonal ? dim : 0;
}

}  // namespace elkhorn::systems
