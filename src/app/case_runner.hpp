/// From one case to its result: data, oracle, solver, timing, history, validation.
#pragma once

#include <memory>
#include <string>

#include "deck/case.hpp"
#include "parallel/comm.hpp"
#include "record/result.hpp"

namespace elkhorn::app {

/// Runs cases one after the other on all ranks, keeping what consecutive cases share (data and oracle of a problem).
class CaseRunner {
 public:
  explicit CaseRunner(const parallel::Comm& comm);
  ~CaseRunner();

  /// The verdict on a case, complete on rank 0. Collective; errors of any rank become status `failed`.
  record::CaseResult run(const deck::Case& c);

 private:
  template <class Real>
  struct Problem;
  template <class Real>
  void run(const deck::Case& c, std::unique_ptr<Problem<Real>>& problem, record::CaseResult& result);

  const parallel::Comm& comm_;
  std::unique_ptr<parallel::Comm> row_;  ///< the ranks that share this one's sequences; remade where time_ranks changes
  std::unique_ptr<Problem<float>> float_problem_;
  std::unique_ptr<Problem<double>> double_problem_;
};

/// A result that says which case it is of, and on what it runs; all measurements are still missing.
record::CaseResult identity_of(const deck::Case& c, const parallel::Comm& comm);

/// What identifies the data of a case: cases with equal keys share drivers, weights and oracle.
std::string problem_key(const deck::Case& c);

/// Largest error an answer may have against the oracle and still be `ok`: the residual tolerance times what a
/// well-conditioned system makes of it, relative to the size of the states. docs/results.md says so to users.
double error_bound(double tolerance, double largest_state);

}  // namespace elkhorn::app
