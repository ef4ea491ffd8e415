#pragma once

namespace elkhorn::systems {

/// What stands in for A_t = ∂f_t/∂s in the linear recurrence of a Newton-type step.
/// `factored` is dense in disguise: factors by which a cell multiplies vectors by A_t without forming it (System::factors).
enum class Linearization { zero, identity, diagonal, dense, factored };

/// Numbers of it a step and sequence; of factors the system tells.
inline long jacobian_components(Linearization l, long dim) {
  return l == Linearization::dense ? dim * dim : l == Linearization::diagonal ? dim : 0;
}

}  // namespace elkhorn::systems
