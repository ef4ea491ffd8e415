#include "solvers/kinds.hpp"

#include "core/kokkos.hpp"

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
      {"auto", "chunks that fill vector lanes and threads; with dense Jacobians what a model of times finds fastest"},
      {"serial", "in time order, parallel over sequences only"},
      {"flat", "Kokkos::parallel_scan over time, one sequence or lane group after the other"},
      {"chunked", "time in chunks: summarise each, scan the summaries, finish each (chunked:N fixes their number)"},
  };
  return all;
}

std::string why_not_fused(const deck::SolverConfig& config, long time_ranks) {
  if (!exec_is_host) return "needs a build for processors: kernels of GPUs are launched from outside";
  if (time_ranks > 1) return "needs parallel.time_ranks = 1";
  if (config.smoother) return "does not go with the smoother, which looks at all steps twice";
  if (config.sigma2_adaptive) return "does not go with sigma2 = \"adaptive\", which asks all residuals first";
  if (config.step_bound != "none") return "does not go with step_bound, which asks all residuals first";
  if (config.scan != "auto" && config.scan.rfind("chunked", 0) != 0) return "needs a chunked scan";
  return "";
}

}  // namespace elkhorn::solvers
