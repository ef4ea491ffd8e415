#include "solvers/kinds.hpp"

namespace elkhorn::solvers {

const std::vector<SolverKind>& kinds() {
  using L = Linearization;
  using D = Damping;
  static const std::vector<SolverKind> all = {
      {"sequential", "step by step in time; the oracle every other answer is checked against", false, L::zero, D::none},
      {"deer", "Newton: dense Jacobians, undamped", true, L::dense, D::none},
      {"quasi_deer", "diagonal of the Jacobians, undamped", true, L::diagonal, D::none},
      {"elk", "dense Jacobians, trust region by a Kalman filter", true, L::dense, D::trust_region},
      {"quasi_elk", "diagonal of the Jacobians, trust region by a Kalman filter", true, L::diagonal, D::trust_region},
      {"jacobi", "fixed-point iteration: no Jacobians, every step from the last iterate", true, L::zero, D::none},
      {"picard", "the identity for the Jacobians: a prefix sum of the residuals", true, L::identity, D::none},
  };
  return all;
}

const SolverKind* find_kind(const std::string& name) {
  for (const SolverKind& kind : kinds())
    if (kind.name == name) return &kind;
  return nullptr;
}

const std::vector<ScanName>& scan_names() {
  static const std::vector<ScanName> all = {
      {"auto", "chunked, with as many chunks as fill vector lanes and threads"},
      {"serial", "in time order, parallel over sequences only"},
      {"flat", "Kokkos::parallel_scan over time, one sequence or lane group after the other"},
      {"chunked", "time in chunks: summarise each, scan the summaries, finish each (chunked:N fixes their number)"},
  };
  return all;
}

}  // namespace elkhorn::solvers
