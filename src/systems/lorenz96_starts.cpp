// Compiled without fused multiply-adds (CMakeLists.txt), see the header.
#include "systems/lorenz96_starts.hpp"

#include <cstddef>

#include "systems/dormand_prince.hpp"

namespace elkhorn::systems {

std::vector<double> lorenz96_start(long dim, double forcing, double step, long start) {
  namespace dp = dormand_prince;
  const std::size_t D = static_cast<std::size_t>(dim);
  std::vector<double> s(D, forcing), x(D);
  std::vector<std::vector<double>> slope(dp::stages, std::vector<double>(D));
  s[0] += 0.01;
  const long steps = 10000 + 1000 * start;
  for (long t = 0; t < steps; ++t) {
    for (int m = 0; m < dp::stages; ++m) {
      for (std::size_t i = 0; i < D; ++i) {
        double sum = 0;
        for (int l = 0; l < m; ++l) sum += dp::stage_weight(m, l) * slope[static_cast<std::size_t>(l)][i];
        x[i] = s[i] + step * sum;
      }
      for (std::size_t i = 0; i < D; ++i)
        slope[static_cast<std::size_t>(m)][i] =
            (x[(i + 1) % D] - x[(i + D - 2) % D]) * x[(i + D - 1) % D] - x[i] + forcing;
    }
    for (std::size_t i = 0; i < D; ++i) {
      double sum = 0;
      for (int l = 0; l < dp::stages; ++l) sum += dp::solution_weight(l) * slope[static_cast<std::size_t>(l)][i];
      s[i] += step * sum;
    }
  }
  return s;
}

}  // namespace elkhorn::systems
