/// What is recorded of one case: the attributes and arrays of `/cases/NNNNNN` (docs/results.md).
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace elkhorn::record {

enum class Status { ok, not_converged, diverged, wrong, failed, skipped };

inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Residual and other histories from the untimed pass; row-major, `batch` columns, sequences in global order.
struct History {
  long iterations = 0;  ///< rows of update, elapsed_s, resets; residual and mad have one more (row 0: the guess)
  long batch = 0;
  std::vector<double> residual;   ///< [iterations+1, batch]; NaN after a sequence has stopped
  std::vector<double> update;     ///< [iterations, batch]
  std::vector<double> mad;        ///< [iterations+1, batch]
  std::vector<double> elapsed_s;  ///< [iterations], cumulative
  std::vector<double> resets;     ///< [iterations, batch], states the guard replaced
  std::vector<double> bounded;    ///< [iterations, batch], states whose increment was at its bound
  // where sigma2 is adaptive
  std::vector<double> sigma2;    ///< [iterations, 3]: smallest, median and largest σ² over time
  std::vector<double> rejected;  ///< [iterations], sequences whose step was rejected
};

/// Everything measured about one case. Attributes not measured keep NaN (times) or -1 (counts).
struct CaseResult {
  // identity
  long index = 0;
  std::string name, system, solver;
  long state_dim = 0, length = 0, batch = 0;
  std::string precision;
  unsigned long long seed = 0;
  double sigma2 = not_a_number;  ///< NaN where there is none, or adaptive
  bool sigma2_adaptive = false;
  std::string step_bound = "none";
  std::string window = "full";
  std::string scan;  ///< the engine that ran, e.g. "chunked:16"
  long ranks = 1, batch_ranks = 1, time_ranks = 1, threads = 1;
  // verdict
  Status status = Status::failed;
  std::string message;
  bool converged = false;
  long iterations = -1;        ///< the largest of the batch
  double work = not_a_number;  ///< steps worked on in all iterations together, in multiples of T; mean of the batch
  double residual_max = not_a_number;
  double error_max = not_a_number;  ///< max |s - oracle|
  double error_mad = not_a_number;
  // time
  double time_median_s = not_a_number, time_ci_low_s = not_a_number, time_ci_high_s = not_a_number;
  long samples = 0;
  std::string stopped_because;  ///< ci_width | max_repetitions | time_limit
  double speedup_over_sequential = not_a_number;
  double time_first_s = not_a_number;  ///< the very first, cold solve
  double time_min_s = not_a_number, time_q1_s = not_a_number, time_q3_s = not_a_number, time_max_s = not_a_number;
  double time_mad_s = not_a_number;  ///< median |time − median|
  long outliers = -1;                ///< samples outside Tukey's fences; they are kept
  double drift = not_a_number;       ///< relative change from the first sample to the last
  bool drifting = false;             ///< significantly, and by more than 1 %
  double dip = not_a_number;         ///< Hartigan's
  bool bimodal = false;              ///< significantly
  bool interleaved = false;          ///< samples alternated with those of other cases
  // resources
  double peak_memory_bytes = not_a_number;            ///< largest over ranks of the peak resident set during the case
  double model_memory_bytes = not_a_number;           ///< modelled, one rank
  double flops = not_a_number, bytes = not_a_number;  ///< modelled, one solve, all ranks
  /// Along a time line in one iteration, of the rank that sends most (docs/parallel.md); 0 where no sequence is shared.
  long messages_per_iteration = -1, bytes_per_iteration = -1;
  /// Share of a solve that ranks which share sequences spend on messages, waits included: of the rank that spends most.
  double communication_share = not_a_number;
  /// What the same messages take with nothing computed between them, as a share of the solve; NaN: too many to know.
  double transfer_share = not_a_number;
  std::string pass;                  ///< fused | separate: how iterations go through the steps; empty: there are none
  double energy_j = not_a_number;    ///< one solve, processor packages of all hosts
  std::string roof_bound;            ///< bandwidth | flops: what bounds the modelled work; empty: unknown
  double roof_share = not_a_number;  ///< of that bound, attained
  double other_cpu = not_a_number;   ///< hardware threads that other programs kept busy meanwhile
  // verdict on the measurement (docs/results.md, "Official results")
  bool official = false;
  std::string unofficial_because = "not judged";  ///< reasons, separated by "; "; empty where official
  // arrays
  std::vector<double> time_s;          ///< [samples], largest over ranks
  std::vector<double> rank_time_s;     ///< [samples, ranks] row-major
  std::vector<long> batch_iterations;  ///< [batch]
  History history;                     ///< empty (iterations = batch = 0) unless output.history and an iterative solver
  std::vector<double> states;          ///< [length, batch, state_dim], empty unless output.states
};

inline const char* to_string(Status s) {
  switch (s) {
    case Status::ok: return "ok";
    case Status::not_converged: return "not_converged";
    case Status::diverged: return "diverged";
    case Status::wrong: return "wrong";
    case Status::failed: return "failed";
    case Status::skipped: return "skipped";
  }
  return "failed";
}

}  // namespace elkhorn::record
