/// The Dormand–Prince tableau (J. R. Dormand, P. J. Prince, J. Comput. Appl. Math. 6 (1980) 19): six stages and the
/// fifth-order solution. The seventh stage serves the error estimate alone, which a fixed step does not need.
#pragma once

#include <Kokkos_Macros.hpp>

namespace elkhorn::systems::dormand_prince {

inline constexpr int stages = 6;

/// Weight of stage l's slope in the state at which stage m's slope is taken; m, l from 0, l < m.
KOKKOS_INLINE_FUNCTION double stage_weight(int m, int l) {
  constexpr double a[stages][stages - 1] = {{0, 0, 0, 0, 0},
                                            {1.0 / 5, 0, 0, 0, 0},
                                            {3.0 / 40, 9.0 / 40, 0, 0, 0},
                                            {44.0 / 45, -56.0 / 15, 32.0 / 9, 0, 0},
                                            {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729, 0},
                                            {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656}};
  return a[m][l];
}

/// Weight of stage l's slope in the fifth-order solution.
KOKKOS_INLINE_FUNCTION double solution_weight(int l) {
  constexpr double b[stages] = {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84};
  return b[l];
}

}  // namespace elkhorn::systems::dormand_prince
