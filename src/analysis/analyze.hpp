/// `elkhorn analyze`: from a problem to its numbers, advice and report.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "analysis/advice.hpp"

namespace elkhorn::analysis {

/// Cost limits; beyond them parts are left out, never silently.
inline constexpr long whole_spectrum_dim = 64;  ///< larger systems get the leading exponents only
inline constexpr long leading_exponents = 8;
inline constexpr double dense_filter_flops =
    6e10;  ///< for all σ² together; beyond it ELK's linear iteration is left out

/// @param instance of one sequence, which is number `sequence` of its batch
/// @param tolerance  on the residual, as the solvers'
SequenceAnalysis analyze_sequence(const systems::Instance<double>& instance, long sequence, double tolerance);

struct ProblemAnalysis {
  std::string name;  ///< what tells this problem from the others of its deck
  std::string system;
  long state_dim = 0, length = 0, batch = 0;
  double time_step = 0;  ///< of the system; 0 where steps have no duration
  double tolerance = 0;
  std::vector<SequenceAnalysis> sequences;
  Advice advice;
};

/// A page of text; a JSON object with the same numbers (what is not finite as null).
std::string text(const ProblemAnalysis& problem);
nlohmann::ordered_json json(const ProblemAnalysis& problem);

}  // namespace elkhorn::analysis
