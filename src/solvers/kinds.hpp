/// The one list of solvers: each is a choice of linearization × damping (METHOD: "the family").
#pragma once

#include <string>
#include <vector>

#include "systems/linearization.hpp"

namespace elkhorn::solvers {

using systems::Linearization;
/// How the step is damped: not at all, or by a trust region (Kalman filter with R = σ² I).
enum class Damping { none, trust_region };

struct SolverKind {
  std::string name;
  std::string doc;
  bool iterative = true;  ///< false: the sequential oracle
  Linearization linearization = Linearization::zero;
  Damping damping = Damping::none;
};

/// All solvers, in the order they are listed to users.
const std::vector<SolverKind>& kinds();

/// The named solver, or nullptr.
const SolverKind* find_kind(const std::string& name);

/// Names of the scan engines, `auto` included, with one line about each.
struct ScanName {
  std::string name;
  std::string doc;
};
const std::vector<ScanName>& scan_names();

}  // namespace elkhorn::solvers
