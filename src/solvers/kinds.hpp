/// The one list of solvers: each is a choice of linearization × damping (METHOD: "the family").
#pragma once

#include <string>
#include <vector>

#include "deck/case.hpp"
#include "systems/linearization.hpp"

namespace elkhorn::solvers {

using systems::Linearization;

/// States larger than this in magnitude count as overflow (the published implementation clips there).
inline constexpr double overflow = 1e8;

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

/// Why iterations of a solver cannot be fused, as the end of a sentence about the deck key `pass`; empty where they can.
std::string why_not_fused(const deck::SolverConfig& config, long time_ranks);

}  // namespace elkhorn::solvers
