#include "app/case_runner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <stdexcept>

#include "measure/memory.hpp"
#include "measure/sampling.hpp"
#include "record/hdf5.hpp"
#include "solvers/kinds.hpp"
#include "solvers/sequential.hpp"
#include "solvers/solver.hpp"
#include "systems/files.hpp"
#include "systems/system.hpp"

namespace elkhorn::app {

namespace {

using record::CaseResult;
using record::History;
using record::Status;

/// Largest |s|, largest |s − oracle| and, for each sequence, its MAD; infinity where anything is not a number.
struct Comparison {
  double largest_state = 0;
  double largest_error = 0;
  std::vector<double> mad;
};

template <class Real>
struct LargestMagnitude {
  Rows<Real> states, oracle;
  bool difference;

  KOKKOS_INLINE_FUNCTION void operator()(long t, double& largest) const {
    for (std::size_t b = 0; b < states.extent(1); ++b)
      for (std::size_t i = 0; i < states.extent(2); ++i) {
        const double s = static_cast<double>(states(t, b, i));
        const double x = magnitude(difference ? s - static_cast<double>(oracle(t, b, i)) : s);
        if (x > largest) largest = x;
      }
  }
};

template <class Real>
struct SumOfErrors {
  Rows<Real> states, oracle;
  long sequence;
  long first, count;

  KOKKOS_INLINE_FUNCTION void operator()(long t, double& sum) const {
    for (long i = first; i < first + count; ++i)
      sum += magnitude(static_cast<double>(states(t, sequence, i)) - static_cast<double>(oracle(t, sequence, i)));
  }
};

template <class Real>
/// Of this rank's steps and sequences.
Comparison compare(const Rows<Real>& states, const Rows<Real>& oracle, const systems::ErrorMeasure& measure) {
  Comparison out;
  const Kokkos::RangePolicy<Exec> steps(0, static_cast<long>(states.extent(0)));
  const auto largest = [&](bool difference) {
    double value = 0;
    Kokkos::parallel_reduce("largest", steps, LargestMagnitude<Real>{states, oracle, difference},
                            Kokkos::Max<double>(value));
    return std::max(value, 0.0);  // the identity of Max is the lowest number
  };
  out.largest_state = largest(false);
  out.largest_error = largest(true);
  for (long b = 0; b < static_cast<long>(states.extent(1)); ++b) {
    double sum = 0;
    Kokkos::parallel_reduce("errors", steps, SumOfErrors<Real>{states, oracle, b, measure.first, measure.count}, sum);
    out.mad.push_back(sum / measure.divisor);
  }
  return out;
}

/// The columns of this rank's sequences, `rows` each, one after the other; missing rows are NaN.
std::vector<double> columns(const std::vector<double>& row_major, long batch, long rows) {
  std::vector<double> out(static_cast<std::size_t>(batch * rows), record::not_a_number);
  for (std::size_t i = 0; i < row_major.size(); ++i) {
    const long row = static_cast<long>(i) / batch, b = static_cast<long>(i) % batch;
    out[static_cast<std::size_t>(b * rows + row)] = row_major[i];
  }
  return out;
}

/// Columns of all sequences back to rows.
std::vector<double> rows_of(const std::vector<double>& column_major, long batch, long rows) {
  std::vector<double> out(column_major.size());
  for (long b = 0; b < batch; ++b)
    for (long row = 0; row < rows; ++row)
      out[static_cast<std::size_t>(row * batch + b)] = column_major[static_cast<std::size_t>(b * rows + row)];
  return out;
}

/// The histories of all ranks' sequences, side by side in sequence order, on rank 0. Collective.
/// @param speaks  whether this rank is the one of its time line, all of which know the same, that is asked
History gather_history(const parallel::Comm& comm, const History& mine, long batch, bool adaptive, bool speaks) {
  History all;
  all.iterations = comm.max(mine.iterations);
  all.batch = batch;
  const auto together = [&](const std::vector<double>& values, long rows) {
    return rows_of(comm.gather(speaks ? columns(values, mine.batch, rows) : std::vector<double>()), batch,
                   comm.is_root() ? rows : 0);
  };
  all.residual = together(mine.residual, all.iterations + 1);
  all.update = together(mine.update, all.iterations);
  all.mad = together(mine.mad, all.iterations + 1);
  all.resets = together(mine.resets, all.iterations);
  all.bounded = together(mine.bounded, all.iterations);
  std::vector<double> elapsed = mine.elapsed_s;
  elapsed.resize(static_cast<std::size_t>(all.iterations), elapsed.empty() ? 0.0 : elapsed.back());
  all.elapsed_s = comm.max(elapsed);
  if (!adaptive) return all;
  // Extremes over ranks; of medians the largest. A rank whose sequences are finished has nothing to say.
  const auto rows = static_cast<std::size_t>(all.iterations);
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> low(rows, infinity), rest(3 * rows, -infinity);
  for (std::size_t i = 0; i < mine.rejected.size(); ++i) {
    low[i] = mine.sigma2[3 * i];
    for (const std::size_t k : {1u, 2u}) rest[3 * i + k] = mine.sigma2[3 * i + k];
    rest[3 * i] = mine.rejected[i];
  }
  for (double& x : low) x = -x;
  low = comm.max(low);
  rest = comm.max(rest);
  for (std::size_t i = 0; i < rows; ++i) {
    all.sigma2.insert(all.sigma2.end(), {-low[i], rest[3 * i + 1], rest[3 * i + 2]});
    all.rejected.push_back(rest[3 * i]);
  }
  return all;
}

/// States of all ranks as (T, B, D) on rank 0. Collective.
template <class Real>
std::vector<double> gather_states(const parallel::Comm& comm, const Rows<Real>& states, const deck::Case& c) {
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), states);
  std::vector<double> mine(host.size());
  for (std::size_t i = 0; i < mine.size(); ++i) mine[i] = static_cast<double>(host.data()[i]);
  const std::vector<double> parts = comm.gather(mine);
  if (!comm.is_root()) return {};
  const long D = static_cast<long>(states.extent(2));
  std::vector<double> all(parts.size());
  std::size_t next = 0;
  for (int rank = 0; rank < comm.size(); ++rank) {
    const parallel::RankGrid grid = parallel::rank_grid(comm.size(), rank, c.time_ranks);
    const parallel::Range range = parallel::split(c.batch, grid.batch_ranks, grid.batch_index);
    const parallel::Range steps = parallel::split(c.length, grid.time_ranks, grid.time_index);
    for (long t = steps.begin; t < steps.end; ++t)
      for (long b = range.begin; b < range.end; ++b)
        for (long i = 0; i < D; ++i) all[static_cast<std::size_t>((t * c.batch + b) * D + i)] = parts[next++];
  }
  return all;
}

/// For tests of what happens to the job: ELKHORN_FAULT = "throw:RANK:CASE" or "exit:RANK:CASE" makes that rank fail in
/// the case of that index while it solves.
void inject_fault(const deck::Case& c, int rank) {
  const char* fault = std::getenv("ELKHORN_FAULT");
  if (!fault) return;
  const std::string where = fmt::format(":{}:{}", rank, c.index);
  if (fault == "throw" + where) throw std::runtime_error("a fault was asked for by ELKHORN_FAULT");
  if (fault == "exit" + where) std::_Exit(3);
}

}  // namespace

record::CaseResult identity_of(const deck::Case& c, const parallel::Comm& comm) {
  record::CaseResult r;
  r.index = c.index;
  r.name = c.name;
  r.system = c.system;
  r.solver = c.solver.kind;
  r.state_dim = c.state_dim;
  r.length = c.length;
  r.batch = c.batch;
  r.precision = deck::to_string(c.precision);
  r.seed = c.seed;
  if (c.solver.sigma2) r.sigma2 = *c.solver.sigma2;
  r.sigma2_adaptive = c.solver.sigma2_adaptive;
  r.step_bound = c.solver.step_bound;
  r.window = c.solver.window;
  r.scan = solvers::find_kind(c.solver.kind)->iterative ? c.solver.scan : "";
  r.ranks = comm.size();
  r.time_ranks = c.time_ranks;
  r.batch_ranks = comm.size() / c.time_ranks;
  r.threads = Exec().concurrency();
  return r;
}

double error_bound(double tolerance, double largest_state) {
  constexpr double amplification = 100;
  return amplification * tolerance * std::max(1.0, largest_state);
}

std::string problem_key(const deck::Case& c) {
  std::string key = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}", c.system, c.state_dim, c.weights, c.length, c.batch, c.seed,
                                c.drivers, c.initial_state, c.time_ranks);
  for (const auto& [name, value] : c.system_options) key += fmt::format("|{}={}", name, value);
  return key;
}

/// What consecutive cases on one problem share.
template <class Real>
struct CaseRunner::Problem {
  std::string key;
  systems::Instance<Real> instance;
  Rows<Real> oracle;
  Rows<Real> previous;  ///< answer of the last case that had one
};

CaseRunner::CaseRunner(const parallel::Comm& comm) : comm_(comm) {}
CaseRunner::~CaseRunner() = default;

CaseResult CaseRunner::run(const deck::Case& c) {
  CaseResult result = identity_of(c, comm_);
  if (c.precision == deck::Precision::float32) {
    double_problem_.reset();
    run<float>(c, float_problem_, result);
  } else {
    float_problem_.reset();
    run<double>(c, double_problem_, result);
  }
  return result;
}

template <class Real>
void CaseRunner::run(const deck::Case& c, std::unique_ptr<Problem<Real>>& problem, CaseResult& result) {
  const parallel::RankGrid grid = parallel::rank_grid(comm_.size(), comm_.rank(), c.time_ranks);
  const parallel::Range mine = parallel::split(c.batch, grid.batch_ranks, grid.batch_index);
  if (!row_ || row_->size() != grid.time_ranks) row_ = std::make_unique<parallel::Comm>(comm_.split(grid.batch_index));
  const parallel::TimeLine line(*row_, c.length);
  const parallel::Range steps = line.steps();
  // Ranks of a time line wait for each other within a solve: one that fails there ends the job.
  const auto in_step = [&](const std::function<void()>& section) {
    if (grid.time_ranks > 1)
      comm_.or_abort(section);
    else
      section();
  };
  const bool iterative = solvers::find_kind(c.solver.kind)->iterative;

  std::optional<measure::PeakMemory> peak;
  std::unique_ptr<solvers::Solver<Real>> solver;
  solvers::Outcome outcome;
  solvers::Recording<Real> recording;
  measure::Samples samples;
  Comparison comparison;

  const auto fail = [&](const std::optional<std::string>& error) {
    if (!error) return false;
    result.status = Status::failed;
    result.message = *error;
    return true;
  };

  // --- data and oracle
  bool rolled_out = true;
  if (fail(comm_.attempt([&] {
        const std::string key = problem_key(c);
        if (!problem || problem->key != key) {
          problem.reset();  // the old problem's memory goes before the new one's comes
          peak.emplace();
          auto fresh = std::make_unique<Problem<Real>>();
          fresh->key = key;
          fresh->instance = systems::make_instance<Real>(c, mine);
          if (!line.whole()) fresh->instance = systems::segment_of(fresh->instance, steps);
          fresh->oracle = make_view<Rows<Real>>("oracle", steps.size(), mine.size(), c.state_dim);
          problem = std::move(fresh);
          rolled_out = false;
        } else {
          peak.emplace();
        }
        solvers::Setup<Real> setup;
        setup.config = c.solver;
        setup.global_batch = c.batch;
        setup.threads = Exec().concurrency();
        setup.line = line;
        if (c.solver.guess == "previous") {
          setup.guess = problem->previous;
        } else if (systems::names_file(c.solver.guess)) {
          const record::Array a = systems::read_reference(c.solver.guess, c.origin("solver.guess"), {2, 3});
          const bool each = a.shape.size() == 3;
          setup.guess = make_view<Rows<Real>>("guess", steps.size(), mine.size(), c.state_dim);
          const auto host = Kokkos::create_mirror_view(setup.guess);
          for (long t = steps.begin; t < steps.end; ++t)
            for (long b = mine.begin; b < mine.end; ++b)
              for (long i = 0; i < c.state_dim; ++i)
                host(t - steps.begin, b - mine.begin, i) = static_cast<Real>(
                    a.values[static_cast<std::size_t>((each ? t * c.batch + b : t) * c.state_dim + i)]);
          Kokkos::deep_copy(setup.guess, host);
        }
        solver = solvers::make_solver(problem->instance, setup);
      })))
    return;

  if (!rolled_out && fail(comm_.attempt([&] {
        in_step([&] { solvers::roll_out(problem->instance, line, problem->oracle); });
      }))) {
    problem.reset();
    return;
  }

  // --- timing
  if (fail(comm_.agree(parallel::caught([&] {
        samples = measure::sample(comm_, c.measure, [&] {
          in_step([&] {
            inject_fault(c, comm_.rank());
            outcome = solver->solve();
          });
        });
      }))))
    return;
  const parallel::Traffic traffic = outcome.each_iteration;

  // --- history and validation, not timed
  if (fail(comm_.attempt([&] {
        if (iterative) {
          recording.oracle = problem->oracle;
          recording.measure = problem->instance.system->error_measure(c.length);
          in_step([&] { outcome = solver->solve(&recording); });
        }
        comparison = compare(solver->states(), problem->oracle, problem->instance.system->error_measure(c.length));
        problem->previous = make_view<Rows<Real>>("previous", steps.size(), mine.size(), c.state_dim);
        Kokkos::deep_copy(problem->previous, solver->states());
      })))
    return;

  // --- all ranks' numbers; verdicts on sequences are the same on all ranks of a time line, the first one gives them
  const bool speaks = line.is_first();
  const auto over_ranks = [&](const auto& values) {
    double worst = 0;
    for (const auto x : values) worst = std::isnan(double(x)) ? record::not_a_number : std::max(worst, double(x));
    return comm_.max(worst);
  };
  result.scan = solver->scan();
  result.time_s = samples.time_s;
  result.rank_time_s = samples.rank_time_s;
  result.samples = static_cast<long>(samples.time_s.size());
  result.stopped_because = samples.stopped_because;
  result.time_median_s = samples.median.median;
  result.time_ci_low_s = samples.median.low;
  result.time_ci_high_s = samples.median.high;
  result.batch_iterations = comm_.gather(speaks ? outcome.iterations : std::vector<long>());
  result.iterations = static_cast<long>(over_ranks(outcome.iterations));
  result.residual_max = over_ranks(outcome.residual);
  result.error_max = comm_.max(comparison.largest_error);
  result.error_mad = over_ranks(line.sum(comparison.mad));
  const double largest_state = comm_.max(comparison.largest_state);
  long unconverged = 0, healing = 0;
  for (std::size_t b = 0; speaks && b < outcome.converged.size(); ++b) {
    unconverged += outcome.converged[b] ? 0 : 1;
    healing += outcome.healing[b] ? 1 : 0;
  }
  unconverged = comm_.sum(unconverged);
  healing = comm_.sum(healing);
  result.converged = unconverged == 0;
  result.peak_memory_bytes = comm_.max(peak->bytes());
  const systems::Shape shape{c.state_dim, problem->instance.system->input_dim(), c.length};
  result.model_memory_bytes = solvers::model_memory(c, shape, comm_.size(), Exec().concurrency()).total();
  double work_here = 0;
  for (const double n : outcome.work) work_here += n;
  result.work = comm_.sum(speaks ? work_here : 0.0) / double(c.batch);
  if (!outcome.work.empty()) work_here /= double(outcome.work.size());
  result.flops = comm_.sum(solver->flops(work_here));
  result.bytes = comm_.sum(solver->bytes(work_here));
  result.messages_per_iteration = comm_.max(traffic.messages);
  result.bytes_per_iteration = comm_.max(traffic.bytes);
  if (iterative && c.history)
    result.history = gather_history(comm_, recording.history, c.batch, c.solver.sigma2_adaptive, speaks);
  if (c.states) result.states = gather_states(comm_, solver->states(), c);

  // --- verdict
  const double bound = error_bound(c.solver.tolerance, largest_state);
  if (!std::isfinite(largest_state)) {
    result.status = Status::diverged;
    result.message = "states are not finite";
  } else if (!iterative) {
    result.status = Status::ok;
  } else if (result.converged) {
    result.status = result.error_max <= bound ? Status::ok : Status::wrong;
    if (result.status == Status::wrong)
      result.message = fmt::format("converged by its own test, but differs from the sequential states by {:.2g}; the bound "
                                   "is {:.2g}", result.error_max, bound);
  } else {
    result.status = healing > 0 ? Status::diverged : Status::not_converged;
    result.message = healing > 0 ? fmt::format("the guard still replaced states of {} of {} sequences", healing, c.batch)
                                 : fmt::format("{} of {} sequences did not converge", unconverged, c.batch);
  }
}

}  // namespace elkhorn::app
