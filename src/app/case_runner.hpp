/// From one case to its result: data, oracle, solver, timing, history, validation.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "deck/case.hpp"
#include "measure/machine.hpp"
#include "measure/roofs.hpp"
#include "parallel/comm.hpp"
#include "parallel/split.hpp"
#include "record/result.hpp"

namespace elkhorn::app {

/// What the whole run says about each of its cases.
struct Conditions {
  std::vector<std::string> reasons;                ///< why nothing in it is official; rank 0's count
  double clock_s = 0;                              ///< the coarser of the clock's resolution and overhead
  std::optional<measure::Roofs> float32, float64;  ///< of the machine, where they were measured
};

/// Runs cases on all ranks, keeping what consecutive cases share (data and oracle of a problem).
class CaseRunner {
 public:
  explicit CaseRunner(const parallel::Comm& comm, Conditions conditions = {});
  ~CaseRunner();

  /// Tells how much of a solve is done while it runs, 0 to 1; on rank 0 is enough.
  void show_progress(std::function<void(double)> progress) { progress_ = std::move(progress); }

  /// Gets the states of a case on rank 0, (steps, B, D) row by row, in pieces of steps in time order.
  using StatesSink = std::function<void(const std::vector<double>&)>;
  /// Collective: brings the states of all ranks to the sink. Empty where a case has none to keep.
  using GatherStates = std::function<void(const StatesSink&)>;
  /// Gets a case and its result as soon as it is complete, on every rank; on false the others are given up.
  using Done = std::function<bool(const deck::Case&, record::CaseResult, const GatherStates&)>;
  /// Verdicts on cases, in plan order, complete on rank 0; errors of any rank become status `failed`. Several are set up and
  /// warmed up one after the other and then take turns, a sample each, so that what changes slowly meets all of them alike.
  /// All of them must fit into memory at once; the guess of none but the first may be another one's answer. Their peak memory
  /// is that of all together. Collective.
  void run_together(const std::vector<const deck::Case*>& cases, const Done& done);

 private:
  template <class Real>
  struct Problem;
  class Running;
  template <class Real>
  class RunningCase;
  template <class Real>
  std::shared_ptr<Problem<Real>>& current();
  /// The ranks that share this one's sequences.
  const parallel::Comm& row(const parallel::RankGrid& grid);
  /// The sequences of a row: in proportion to the threads that it has.
  parallel::Range sequences(long batch, const parallel::RankGrid& grid) const;
  /// Those of the row that has most.
  long largest_share(long batch, const parallel::RankGrid& grid) const;
  std::vector<long> weights(const parallel::RankGrid& grid) const;  ///< of rows: their threads
  /// Where the window begins in which the case that starts now is watched for disturbances.
  measure::QuietWatch::Reading quiet_mark();

  const parallel::Comm& comm_;
  const std::vector<int> threads_;  ///< of each rank
  Conditions conditions_;
  std::function<void(double)> progress_;
  measure::QuietWatch quiet_;
  measure::EnergyMeter energy_;
  measure::QuietWatch::Reading quiet_from_;
  std::map<int, std::unique_ptr<parallel::Comm>> rows_;  ///< by time_ranks
  std::shared_ptr<Problem<float>> float_problem_;
  std::shared_ptr<Problem<double>> double_problem_;
};

/// A result that says which case it is of, and on what it runs; all measurements are still missing.
record::CaseResult identity_of(const deck::Case& c, const parallel::Comm& comm);

/// What identifies the data of a case: cases with equal keys share drivers, weights and oracle.
std::string problem_key(const deck::Case& c);

/// Largest error an answer may have against the oracle and still be `ok`: the residual tolerance times what a
/// well-conditioned system makes of it, relative to the size of the states. docs/results.md says so to users.
double error_bound(double tolerance, double largest_state);

}  // namespace elkhorn::app
