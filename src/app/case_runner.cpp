#include "app/case_runner.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <stdexcept>

#include "measure/memory.hpp"
#include "measure/official.hpp"
#include "measure/sampling.hpp"
#include "measure/statistics.hpp"
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

/// States of all ranks as (T, B, D) to rank 0, in pieces that take little memory beside them. Collective.
template <class Real>
void gather_states(const parallel::Comm& comm, const Rows<Real>& states, const deck::Case& c, parallel::Range sequences,
                   parallel::Range steps, const CaseRunner::StatesSink& sink) {
  const long D = static_cast<long>(states.extent(2));
  const std::vector<parallel::Range> all_sequences = comm.allgather(sequences), all_steps = comm.allgather(steps);
  const long piece = record::rows_at_once(c.batch * D);
  const auto within = [](parallel::Range range, long first, long end) {
    return parallel::Range{std::clamp(first, range.begin, range.end), std::clamp(end, range.begin, range.end)};
  };
  for (long first = 0; first < c.length; first += piece) {
    const long end = std::min(c.length, first + piece);
    const parallel::Range here = within(steps, first, end);
    // Rather than a subview, whose layout a mirror in another space could not be given.
    const Rows<Real> rows_here(states.data() + (here.begin - steps.begin) * sequences.size() * D,
                               std::size_t(here.size()), states.extent(1), states.extent(2));
    const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), rows_here);
    std::vector<double> mine(host.size());
    for (std::size_t i = 0; i < mine.size(); ++i) mine[i] = static_cast<double>(host.data()[i]);
    const std::vector<double> parts = comm.gather(mine);
    if (!comm.is_root()) continue;
    std::vector<double> rows(parts.size());
    std::size_t next = 0;
    for (std::size_t rank = 0; rank < all_steps.size(); ++rank) {
      const parallel::Range theirs = within(all_steps[rank], first, end);
      for (long t = theirs.begin; t < theirs.end; ++t)
        for (long b = all_sequences[rank].begin; b < all_sequences[rank].end; ++b)
          for (long i = 0; i < D; ++i)
            rows[static_cast<std::size_t>(((t - first) * c.batch + b) * D + i)] = parts[next++];
    }
    sink(rows);
  }
}

/// Seconds that a time line's messages of the last sample take with nothing between them; the best of three where that is soon
/// known. Collective over the line.
double fastest_replay(const parallel::TimeLine& line) {
  constexpr double soon_s = 0.1;
  double best = line.replay();
  for (int more = 0; more < 2 && best < soon_s; ++more) best = std::min(best, line.replay());
  return best;
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
  std::string key = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}", c.system, c.state_dim, c.weights, c.length, c.batch,
                                c.seed, c.drivers, c.initial_state, c.time_ranks);
  for (const auto& [name, value] : c.system_options) key += fmt::format("|{}={}", name, value);
  return key;
}

/// What cases on one problem share.
template <class Real>
struct CaseRunner::Problem {
  std::string key;
  systems::Instance<Real> instance;
  Rows<Real> oracle;
  Rows<Real> previous;       ///< answer of the last case, in plan order, that had one
  long previous_index = -1;  ///< of that case
};

/// A case from its set-up to its verdict. Steps are collective; an error on any rank ends it with status `failed`.
class CaseRunner::Running {
 public:
  Running(CaseRunner& runner, const deck::Case& c)
      : runner_(runner), comm_(runner.comm_), case_(c), result(identity_of(c, runner.comm_)) {}
  virtual ~Running() = default;
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  /// Data, oracle and warm-up.
  virtual void begin() = 0;
  /// A sample; after the last one the history, the validation and the verdict.
  virtual void take() = 0;

  /// Collective, of a finished case.
  virtual GatherStates states_to_keep() = 0;

  const deck::Case& which() const { return case_; }
  bool finished() const { return finished_; }

 protected:
  CaseRunner& runner_;
  const parallel::Comm& comm_;
  const deck::Case& case_;
  bool finished_ = false;

 public:
  CaseResult result;
};

template <class Real>
class CaseRunner::RunningCase final : public Running {
 public:
  RunningCase(CaseRunner& runner, const deck::Case& c)
      : Running(runner, c),
        grid_(parallel::rank_grid(comm_.size(), comm_.rank(), c.time_ranks)),
        mine_(runner.sequences(c.batch, grid_)),
        line_(runner.row(grid_), c.length),
        iterative_(solvers::find_kind(c.solver.kind)->iterative) {}

  void begin() override;
  void take() override;
  GatherStates states_to_keep() override {
    if (!keeps_states_) return {};
    return
        [this](const StatesSink& sink) { gather_states(comm_, solver_->states(), case_, mine_, line_.steps(), sink); };
  }

 private:
  void finish();

  /// Ranks of a time line wait for each other within a solve: one that fails there ends the job.
  void in_step(const std::function<void()>& section) {
    if (grid_.time_ranks > 1)
      comm_.or_abort(section);
    else
      section();
  }
  bool fail(const std::optional<std::string>& error) {
    if (!error) return false;
    result.status = Status::failed;
    result.message = *error;
    result.unofficial_because = "no validated answer: the status is failed";
    finished_ = true;
    return true;
  }
  solvers::Setup<Real> setup_of_case() const;
  void add_statistics();
  void add_roof();
  void add_status(double largest_state, long unconverged, long healing);
  measure::Disturbance disturbance(const measure::QuietWatch::Reading& now) const {
    const measure::QuietWatch& quiet = runner_.quiet_;
    return {quiet.others(quiet_from_, now), quiet.allowance(), quiet.throttled(quiet_from_, now)};
  }
  void judge(measure::Disturbance seen);

  const parallel::RankGrid grid_;
  const parallel::Range mine_;
  const parallel::TimeLine line_;
  const bool iterative_;
  std::shared_ptr<Problem<Real>> problem_;
  std::optional<measure::PeakMemory> peak_;
  std::unique_ptr<solvers::Solver<Real>> solver_;
  solvers::Outcome outcome_;
  std::optional<measure::Sampler> sampler_;
  measure::QuietWatch::Reading quiet_from_;
  double energy_j_ = 0;  ///< of all samples, this rank's host
  bool keeps_states_ = false;
};

CaseRunner::CaseRunner(const parallel::Comm& comm, Conditions conditions)
    : comm_(comm),
      threads_(comm.allgather(static_cast<int>(Exec().concurrency()))),
      conditions_(std::move(conditions)),
      quiet_(comm),
      energy_(comm),
      quiet_from_(quiet_.read()) {}
CaseRunner::~CaseRunner() = default;

template <>
std::shared_ptr<CaseRunner::Problem<float>>& CaseRunner::current() {
  return float_problem_;
}
template <>
std::shared_ptr<CaseRunner::Problem<double>>& CaseRunner::current() {
  return double_problem_;
}

const parallel::Comm& CaseRunner::row(const parallel::RankGrid& grid) {
  auto& row = rows_[grid.time_ranks];
  if (!row) row = std::make_unique<parallel::Comm>(comm_.split(static_cast<int>(grid.batch_index)));
  return *row;
}

std::vector<long> CaseRunner::weights(const parallel::RankGrid& grid) const {
  std::vector<long> weights(static_cast<std::size_t>(grid.batch_ranks), 0);
  for (std::size_t rank = 0; rank < threads_.size(); ++rank)
    weights[rank / static_cast<std::size_t>(grid.time_ranks)] += threads_[rank];
  return weights;
}

parallel::Range CaseRunner::sequences(long batch, const parallel::RankGrid& grid) const {
  return parallel::split(batch, weights(grid), grid.batch_index);
}

long CaseRunner::largest_share(long batch, const parallel::RankGrid& grid) const {
  const std::vector<long> all = weights(grid);
  long largest = 0;
  for (long i = 0; i < grid.batch_ranks; ++i) largest = std::max(largest, parallel::split(batch, all, i).size());
  return largest;
}

measure::QuietWatch::Reading CaseRunner::quiet_mark() {
  // Processor time comes in ticks: a case that is too short for them is judged with up to a second before it.
  constexpr double stale_s = 1;
  const auto now = quiet_.read();
  if (comm_.broadcast(now.wall_s - quiet_from_.wall_s) >= stale_s) quiet_from_ = now;
  return quiet_from_;
}

void CaseRunner::run_together(const std::vector<const deck::Case*>& cases, const Done& done) {
  std::vector<std::unique_ptr<Running>> running;
  bool go_on = true;
  for (const deck::Case* c : cases) {
    if (c->precision == deck::Precision::float32) {
      double_problem_.reset();
      running.push_back(std::make_unique<RunningCase<float>>(*this, *c));
    } else {
      float_problem_.reset();
      running.push_back(std::make_unique<RunningCase<double>>(*this, *c));
    }
    running.back()->result.interleaved = cases.size() > 1;
    running.back()->begin();
  }
  while (go_on && !running.empty()) {
    for (std::size_t i = 0; go_on && i < running.size();) {
      if (!running[i]->finished()) running[i]->take();
      if (!running[i]->finished()) {
        ++i;
        continue;
      }
      go_on = done(running[i]->which(), std::move(running[i]->result), running[i]->states_to_keep());
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));  // its memory goes before the next turn
    }
  }
}

template <class Real>
solvers::Setup<Real> CaseRunner::RunningCase<Real>::setup_of_case() const {
  const deck::Case& c = case_;
  const parallel::Range steps = line_.steps();
  solvers::Setup<Real> setup;
  setup.config = c.solver;
  setup.global_batch = c.batch;
  setup.share = runner_.largest_share(c.batch, grid_);
  setup.threads = *std::min_element(runner_.threads_.begin(), runner_.threads_.end());
  setup.line = line_;
  setup.progress = runner_.progress_;
  if (c.solver.guess == "previous") {
    setup.guess = problem_->previous;
  } else if (systems::names_file(c.solver.guess)) {
    const systems::ArrayFile a(c.solver.guess, c.origin("solver.guess"), {2, 3});
    const bool each = a.shape().size() == 3;
    setup.guess = make_view<Rows<Real>>("guess", steps.size(), mine_.size(), c.state_dim);
    const auto host = Kokkos::create_mirror_view(setup.guess);
    a.in_pieces(steps.begin, steps.end, [&](long first, const record::Array& rows) {
      for (long t = first; t < first + rows.shape[0]; ++t)
        for (long b = mine_.begin; b < mine_.end; ++b)
          for (long i = 0; i < c.state_dim; ++i)
            host(t - steps.begin, b - mine_.begin, i) = static_cast<Real>(rows.values[static_cast<std::size_t>(
                ((t - first) * (each ? c.batch : 1) + (each ? b : 0)) * c.state_dim + i)]);
    });
    Kokkos::deep_copy(setup.guess, host);
  }
  return setup;
}

template <class Real>
void CaseRunner::RunningCase<Real>::begin() {
  const deck::Case& c = case_;
  quiet_from_ = runner_.quiet_mark();
  std::shared_ptr<Problem<Real>>& current = runner_.template current<Real>();
  bool rolled_out = true;
  if (fail(comm_.attempt([&] {
        const std::string key = problem_key(c);
        if (!current || current->key != key) {
          current.reset();  // the old problem's memory goes before the new one's comes
          peak_.emplace();
          auto fresh = std::make_shared<Problem<Real>>();
          fresh->key = key;
          fresh->instance = systems::make_instance<Real>(c, mine_);
          if (!line_.whole()) fresh->instance = systems::segment_of(fresh->instance, line_.steps());
          fresh->oracle = make_view<Rows<Real>>("oracle", line_.steps().size(), mine_.size(), c.state_dim);
          current = std::move(fresh);
          rolled_out = false;
        } else {
          peak_.emplace();
        }
        problem_ = current;
        solver_ = solvers::make_solver(problem_->instance, setup_of_case());
      }))) {
    if (!rolled_out) current.reset();
    return;
  }
  if (!rolled_out &&
      fail(comm_.attempt([&] { in_step([&] { solvers::roll_out(problem_->instance, line_, problem_->oracle); }); }))) {
    current.reset();
    return;
  }
  sampler_.emplace(comm_, c.measure, [this] {
    in_step([&] {
      inject_fault(case_, comm_.rank());
      line_.record();
      outcome_ = solver_->solve();
    });
  });
  fail(comm_.agree(parallel::caught([&] { sampler_->warm_up(); })));
}

template <class Real>
void CaseRunner::RunningCase<Real>::take() {
  if (fail(comm_.agree(parallel::caught([&] {
        runner_.energy_.start();
        sampler_->take();
        energy_j_ += runner_.energy_.stop();
      }))))
    return;
  if (!sampler_->finished()) return;
  finish();
  finished_ = true;
}

template <class Real>
void CaseRunner::RunningCase<Real>::add_statistics() {
  const measure::Samples& samples = sampler_->samples();
  const measure::Spread spread = measure::spread(samples.time_s);
  const measure::Drift drift = measure::drift(samples.time_s);
  const measure::Dip dip = measure::dip(samples.time_s);
  result.time_s = samples.time_s;
  result.rank_time_s = samples.rank_time_s;
  result.samples = static_cast<long>(samples.time_s.size());
  result.stopped_because = samples.stopped_because;
  result.time_median_s = samples.median.median;
  result.time_ci_low_s = samples.median.low;
  result.time_ci_high_s = samples.median.high;
  result.time_first_s = samples.first_s;
  result.time_min_s = samples.median.min;
  result.time_max_s = samples.median.max;
  result.time_q1_s = spread.q1;
  result.time_q3_s = spread.q3;
  result.time_mad_s = spread.mad;
  result.outliers = spread.outliers;
  result.drift = drift.relative;
  result.drifting = drift.found();
  result.dip = dip.dip;
  result.bimodal = dip.bimodal;
}

template <class Real>
void CaseRunner::RunningCase<Real>::finish() {
  const deck::Case& c = case_;
  const measure::Disturbance seen = disturbance(runner_.quiet_.read());
  const parallel::Traffic traffic = outcome_.each_iteration;
  const double communication_s = outcome_.communication_s;  // of the last sample
  double transfer_s = 0;
  solvers::Recording<Real> recording;
  Comparison comparison;

  // --- history and validation, not timed
  if (fail(comm_.attempt([&] {
        in_step([&] { transfer_s = fastest_replay(line_); });
        const systems::ErrorMeasure error_measure = problem_->instance.system->error_measure(c.length);
        if (iterative_) {
          recording.oracle = problem_->oracle;
          recording.measure = error_measure;
          in_step([&] { outcome_ = solver_->solve(&recording); });
        }
        comparison = compare(solver_->states(), problem_->oracle, error_measure);
        if (problem_->previous_index < c.index) {
          problem_->previous = make_view<Rows<Real>>("previous", line_.steps().size(), mine_.size(), c.state_dim);
          Kokkos::deep_copy(problem_->previous, solver_->states());
          problem_->previous_index = c.index;
        }
      })))
    return;

  // --- all ranks' numbers; verdicts on sequences are the same on all ranks of a time line, the first one gives them
  const bool speaks = line_.is_first();
  const auto over_ranks = [&](const auto& values) {
    double worst = 0;
    for (const auto x : values) worst = std::isnan(double(x)) ? record::not_a_number : std::max(worst, double(x));
    return comm_.max(worst);
  };
  add_statistics();
  result.scan = solver_->scan();
  result.pass = solver_->pass();
  result.batch_iterations = comm_.gather(speaks ? outcome_.iterations : std::vector<long>());
  result.iterations = static_cast<long>(over_ranks(outcome_.iterations));
  result.residual_max = over_ranks(outcome_.residual);
  result.error_max = comm_.max(comparison.largest_error);
  result.error_mad = over_ranks(line_.sum(comparison.mad));
  const double largest_state = comm_.max(comparison.largest_state);
  long unconverged = 0, healing = 0;
  for (std::size_t b = 0; speaks && b < outcome_.converged.size(); ++b) {
    unconverged += outcome_.converged[b] ? 0 : 1;
    healing += outcome_.healing[b] ? 1 : 0;
  }
  unconverged = comm_.sum(unconverged);
  healing = comm_.sum(healing);
  result.converged = unconverged == 0;
  result.peak_memory_bytes = comm_.max(peak_->bytes());
  double work_here = 0;
  for (const double n : outcome_.work) work_here += n;
  result.work = comm_.sum(speaks ? work_here : 0.0) / double(c.batch);
  if (!outcome_.work.empty()) work_here /= double(outcome_.work.size());
  result.flops = comm_.sum(solver_->flops(work_here));
  result.bytes = comm_.sum(solver_->bytes(work_here));
  const double joules = comm_.sum(energy_j_);
  if (runner_.energy_.available()) result.energy_j = joules / static_cast<double>(result.samples);
  result.messages_per_iteration = comm_.max(traffic.messages);
  result.bytes_per_iteration = comm_.max(traffic.bytes);
  if (!result.time_s.empty()) {
    result.communication_share = comm_.max(std::min(communication_s / result.time_s.back(), 1.0));
    result.transfer_share = comm_.max(std::min(transfer_s / result.time_s.back(), 1.0));
  }
  if (iterative_ && c.history)
    result.history = gather_history(comm_, recording.history, c.batch, c.solver.sigma2_adaptive, speaks);
  keeps_states_ = c.states;

  add_roof();
  add_status(largest_state, unconverged, healing);
  judge(seen);
}

template <class Real>
void CaseRunner::RunningCase<Real>::add_roof() {
  const std::optional<measure::Roofs>& roofs =
      sizeof(Real) == 4 ? runner_.conditions_.float32 : runner_.conditions_.float64;
  if (!roofs || !(result.flops + result.bytes > 0)) return;
  result.roof_bound = roofs->limit(result.bytes, result.flops);
  result.roof_share = roofs->seconds(result.bytes, result.flops) / result.time_median_s;
}

template <class Real>
void CaseRunner::RunningCase<Real>::add_status(double largest_state, long unconverged, long healing) {
  const double bound = error_bound(case_.solver.tolerance, largest_state);
  if (!std::isfinite(largest_state)) {
    result.status = Status::diverged;
    result.message = "states are not finite";
  } else if (!iterative_) {
    result.status = Status::ok;
  } else if (result.converged) {
    result.status = result.error_max <= bound ? Status::ok : Status::wrong;
    if (result.status == Status::wrong)
      result.message = fmt::format(
          "converged by its own test, but differs from the sequential states by {:.2g}; the bound "
          "is {:.2g}",
          result.error_max, bound);
  } else {
    result.status = healing > 0 ? Status::diverged : Status::not_converged;
    result.message = healing > 0
                         ? fmt::format("the guard still replaced states of {} of {} sequences", healing, case_.batch)
                         : fmt::format("{} of {} sequences did not converge", unconverged, case_.batch);
  }
}

template <class Real>
void CaseRunner::RunningCase<Real>::judge(measure::Disturbance seen) {
  std::vector<std::string> reasons;
  const auto look = [&] {
    result.other_cpu = seen.other_cpu;
    reasons = runner_.conditions_.reasons;
    const std::vector<std::string> own = measure::reasons_of_case(result, seen, runner_.conditions_.clock_s);
    reasons.insert(reasons.end(), own.begin(), own.end());
  };
  look();
  // A case too short for the counters of the system, and nothing else against it: a moment longer, and they tell.
  if (comm_.broadcast(static_cast<long>(reasons.empty() && std::isnan(seen.other_cpu) && quiet_from_.busy_s >= 0))) {
    seen = disturbance(runner_.quiet_.read_after(quiet_from_));
    look();
  }
  result.official = reasons.empty();
  result.unofficial_because = fmt::format("{}", fmt::join(reasons, "; "));
}

}  // namespace elkhorn::app
