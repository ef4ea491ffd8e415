/// From an analysis to what a user wants to know: which solver will work, with which σ², and why.
#pragma once

#include <string>
#include <vector>

#include "analysis/conditioning.hpp"
#include "analysis/spectrum.hpp"

namespace elkhorn::analysis {

/// The numbers of one sequence.
struct SequenceAnalysis {
  long sequence = 0;            ///< its place in the batch
  double largest_state = 0;     ///< max |s_t|
  double largest_residual = 0;  ///< of the sequential states: rounding
  double guess_residual = 0;    ///< of the zero guess
  Exponents exponents;          ///< per step
  Summary norms;                ///< ‖A_t‖₂ over time, along the solution
  Summary diagonals;            ///< max_i |(A_t)_ii| over time
  double diagonal_beyond_one = 0;
  Growth dense, diagonal;              ///< along the solution
  Growth dense_guess, diagonal_guess;  ///< along the zero guess
  Conditioning conditioning;
  /// How many times max |s| iterates may stray from the solution before Jacobians exceed ten times their largest norm
  /// on it (or ten, where that is larger); `reach_tried` where none of the distances tried does that.
  double reach = 0, reach_tried = 0;
  LinearIteration quasi_deer;
  std::vector<LinearIteration> elk, quasi_elk;  ///< by σ²; `elk` empty where it costs too much
};

enum class Verdict { good, uncertain, poor };
const char* to_string(Verdict verdict);

struct SolverAdvice {
  std::string solver;
  double sigma2 = std::numeric_limits<double>::quiet_NaN();
  Verdict verdict = Verdict::uncertain;
  long iterations = -1;  ///< roughly, where something is known
  std::string reason;    ///< one sentence
};

struct Advice {
  std::string summary;
  std::vector<SolverAdvice> solvers;  ///< deer, quasi_deer, elk, quasi_elk
  /// The largest residual with which errors stay below 1e-3 of the largest state.
  double useful_tolerance = 0;
};

/// Damped errors grow by at most √(1 + σ²) over any window: with P_t the filter's covariance and Φ its closed-loop
/// transition, P_t ⪰ Φ P_k Φᵀ (Joseph's form), P_k ⪰ σ²/(1 + σ²) I as the process noise is I, and P_t = σ² K_t ⪯ σ² I.
double damped_growth_bound(double sigma2);

/// Over the sequences analysed, the worst deciding. `tolerance` is that of the residual, `length` is T.
Advice advise(const std::vector<SequenceAnalysis>& sequences, long length, double tolerance);

}  // namespace elkhorn::analysis
