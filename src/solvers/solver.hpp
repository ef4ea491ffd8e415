/// Solving an instance: one interface for the sequential oracle and the parallel-in-time solvers.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "deck/case.hpp"
#include "parallel/time_line.hpp"
#include "record/result.hpp"
#include "scan/engines.hpp"
#include "systems/system.hpp"

namespace elkhorn::solvers {

/// What a solve says of each sequence of this rank.
struct Outcome {
  std::vector<long> iterations;      ///< steps taken; 1 for the sequential solver
  std::vector<double> residual;      ///< max_t |s_t − f_t(s_{t−1})| of the answer; NaN where it was not evaluated
  std::vector<char> converged;       ///< by the chosen stop rule
  std::vector<char> healing;         ///< the guard still replaced states in the last iteration
  std::vector<double> work;          ///< steps worked on, all iterations together, in multiples of T
  parallel::Traffic each_iteration;  ///< of this rank along its time line, at most
  double communication_s = 0;        ///< of all iterations, on this rank along its time line
};

/// Asks a solve to be watched: per-iteration histories against an oracle, outside of any timing.
template <class Real>
struct Recording {
  Rows<Real> oracle;  ///< (T, B, D); empty: no MAD
  systems::ErrorMeasure measure;
  record::History history;  ///< out; columns are this rank's sequences
};

/// How many bytes one rank needs, by what they hold.
struct MemoryModel {
  double drivers = 0;  ///< the instance's own drivers and initial states
  double answer = 0;   ///< (T, B, D)
  double solver = 0;   ///< panels and work memory
  std::string pass;    ///< as Solver::pass, on which `solver` depends
  double total() const { return drivers + answer + solver; }
};

template <class Real>
class Solver {
 public:
  virtual ~Solver() = default;

  /// Solves from the guess and leaves the states in `states()`. The time to solution is that of this call with no
  /// recording: drivers in, states out, both in time-major layout. Fences before it returns.
  virtual Outcome solve(Recording<Real>* recording = nullptr) = 0;

  virtual const Rows<Real>& states() const = 0;    ///< (T, B, D): s_1..s_T of the last solve
  virtual std::string scan() const = 0;            ///< engine as recorded, "" for the sequential solver
  virtual std::string pass() const { return ""; }  ///< fused | separate, "" where there are no iterations
  /// Modelled floating-point operations and bytes moved by a solve on this rank that works `passes` times on every step.
  virtual double flops(double passes) const = 0;
  virtual double bytes(double passes) const = 0;
};

/// What a solver needs to know beyond its instance.
template <class Real>
struct Setup {
  deck::SolverConfig config;
  long global_batch = 1;  ///< B over all ranks: what answers depend on by more than rounding is chosen by it
  long share = 0;         ///< sequences of the rank that has most, by which other engines are chosen; 0: all of them
  int threads = 1;        ///< of the rank that has fewest: all ranks are to choose the same
  Rows<Real> guess;       ///< (T, B, D) where config.guess is "previous" or a file; empty otherwise
  /// Where ranks share sequences: the instance and the guess then hold this rank's steps only. Its verdicts are those of
  /// the whole sequences, the same on all ranks of the line. Nothing: all steps are here.
  std::optional<parallel::TimeLine> line;
  std::function<void(double)> progress;  ///< told the share of settled steps every iteration; may be empty
};

template <class Real>
std::unique_ptr<Solver<Real>> make_solver(const systems::Instance<Real>& instance, const Setup<Real>& setup);

/// Bytes one rank of `ranks` needs for a case of the given sizes, without allocating anything.
MemoryModel model_memory(const deck::Case& c, const systems::Shape& shape, int ranks, int threads);

extern template std::unique_ptr<Solver<float>> make_solver(const systems::Instance<float>&, const Setup<float>&);
extern template std::unique_ptr<Solver<double>> make_solver(const systems::Instance<double>&, const Setup<double>&);

}  // namespace elkhorn::solvers
