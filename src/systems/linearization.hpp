#pragma once

namespace elkhorn::systems {

/// What stands in for A_t = ∂f_t/∂s in the linear recurrence of a Newton-type step.
enum class Linearization { zero, identity, diagonal, dense };

}  // namespace elkhorn::systems
