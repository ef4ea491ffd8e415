#include "solvers/newton.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "core/error.hpp"
#include "parallel/transfer.hpp"
#include "scan/smoother.hpp"

namespace elkhorn::solvers {

namespace {

using systems::block_steps;
using systems::blocks;

constexpr double published_jitter = 1e-9;
/// Of the tolerance: residuals that settle a step at once.
constexpr double far_within = 1e-5;
/// What sizes windows, on hosts and on GPUs.
namespace tuning {
constexpr long first_dense_window = 32, first_diagonal_window = 128, smallest_window = 8;
/// Steps of the windows in which threads march: as few as measured best. A step is updated as often as its window has steps at
/// most, since the first one of them settles in each iteration; windows of one step would be steps taken in a row. And the
/// parameters that may be read once for each of them.
constexpr long march = 4;
constexpr double march_parameter_bytes = 524288;
/// Panels of a window should stay in cache (hosts: 4 MiB a thread) or fill the device.
inline double frame_bytes(int threads) { return exec_is_host ? 4194304.0 * std::max(1, threads) : 268435456.0; }
/// Launching and joining the kernels of an iteration, in floating-point operations of the evaluation.
inline double launch_flops(int threads) { return exec_is_host ? 2.5e5 * std::max(1, threads) : 1e8; }
}  // namespace tuning

using systems::jacobian_components;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// The element that a linearization and a damping make, over given panels.
template <class Real, class Element>
class ElementScan : public IncrementScan<Real> {
 public:
  ElementScan(scan::Engine engine, const scan::LaneMap& map, const Element& element, const parallel::TimeLine& line)
      : element_(element), scan_(engine, map, element, line) {}
  void run(const scan::Active& active) const override { scan_.run(element_, active); }

 private:
  Element element_;
  scan::Scan<Element> scan_;
};

/// A scan that holds its elements itself: Smoother, ClampedFilter.
template <class Real, class Whole>
class WholeScan : public IncrementScan<Real> {
 public:
  template <class... Parts>
  explicit WholeScan(const Parts&... parts) : scan_(parts...) {}
  void run(const scan::Active& active) const override { scan_.run(active); }

 private:
  Whole scan_;
};

template <class Element>
class ElementFusedScan : public FusedScan {
 public:
  ElementFusedScan(const scan::LaneMap& map, const Element& element, long block_length)
      : scan_(map, element, block_length) {}
  bool summarises() const override { return scan_.summarises(); }
  void summarise(const scan::Active& active, const scan::BlockStream& stream) const override {
    scan_.summarise(active, stream);
  }
  void finish(const scan::Active& active, const scan::BlockStream& stream) const override {
    scan_.finish(active, stream);
  }
  void through(const scan::StepBlock& block) const override { scan_.through(block); }

 private:
  scan::BlockwiseScan<Element> scan_;
};

/// Of a pass that makes its increments itself.
class SweepScan : public FusedScan {
 public:
  SweepScan(const scan::LaneMap& map, long block_length) : map_(map), block_length_(block_length) {}
  bool summarises() const override { return false; }
  void summarise(const scan::Active&, const scan::BlockStream&) const override {}
  void finish(const scan::Active& active, const scan::BlockStream& stream) const override {
    scan::sweep(map_, active, stream, block_length_);
  }
  void through(const scan::StepBlock&) const override {}

 private:
  scan::LaneMap map_;
  long block_length_;
};

/// Calls make with the element of a solver whose increments are not bounded, over the given panels.
template <class Real, class Make>
auto with_element(const SolverKind& kind, const deck::SolverConfig& config, scan::TrustRegion<Real> region,
                  const scan::Panel<Real>& jacobian, const scan::Panel<Real>& residual, const Make& make) {
  const int dim = static_cast<int>(residual.extent(2));
  const bool damped = kind.damping == Damping::trust_region;
  switch (kind.linearization) {
    case Linearization::diagonal:
      return damped ? make(scan::KalmanDiagonal<Real>{jacobian, residual, dim, region, {}})
                    : make(scan::AffineDiagonal<Real>{jacobian, residual, dim});
    case Linearization::factored:
    case Linearization::dense:
      if (!damped) return make(scan::AffineDense<Real>{jacobian, residual, dim});
      // The published dense filter solves with the innovation covariance + 1e-9 I (dynamax' psd_solve), its diagonal one
      // does not. Increments are zero at a solution either way; with it iterates agree with the published ones.
      region.value += static_cast<Real>(published_jitter);
      return make(scan::KalmanDense<Real>{jacobian, residual, dim, region, {}});
    case Linearization::zero: return make(scan::AffineDiagonal<Real>{{}, residual, dim, Real(0)});
    case Linearization::identity:
      return make(scan::AffineDiagonal<Real>{{}, residual, dim, static_cast<Real>(1 - config.damping_factor)});
  }
  throw std::logic_error("a linearization without a scan element");
}

template <class Real>
std::unique_ptr<IncrementScan<Real>> make_scan(const SolverKind& kind, const deck::SolverConfig& config,
                                               const Trust<Real>& trust, scan::Engine engine, const scan::LaneMap& map,
                                               const scan::Panel<Real>& jacobian, const scan::Panel<Real>& residual,
                                               const parallel::TimeLine& line) {
  const scan::StepBound<Real>& bound = trust.bound();
  return with_element(
      kind, config, trust.region(), jacobian, residual, [&](auto element) -> std::unique_ptr<IncrementScan<Real>> {
        using Element = decltype(element);
        const auto scan = [&](const auto& of) -> std::unique_ptr<IncrementScan<Real>> {
          return std::make_unique<ElementScan<Real, std::decay_t<decltype(of)>>>(engine, map, of, line);
        };
        constexpr bool kalman_diagonal = std::is_same_v<Element, scan::KalmanDiagonal<Real>>;
        if constexpr (kalman_diagonal || std::is_same_v<Element, scan::KalmanDense<Real>>)
          if (config.smoother)
            return std::make_unique<WholeScan<Real, scan::Smoother<Element>>>(engine, map, element, line);
        if (!trust.bounded()) return scan(element);
        if constexpr (kalman_diagonal) {
          return std::make_unique<WholeScan<Real, scan::ClampedFilter<Real>>>(engine, map, element, bound, line);
        } else if constexpr (std::is_same_v<Element, scan::AffineDiagonal<Real>>) {
          return scan(scan::AffineDiagonalClamped<Real>{element, bound});
        } else {
          element.bound = bound;
          return scan(element);
        }
      });
}

long steps_in(const std::string& window) { return std::stol(window); }

}  // namespace

/// Time spent solving, not recording.
template <class Real>
struct Newton<Real>::Stopwatch {
  using Clock = std::chrono::steady_clock;
  double elapsed = 0;
  Clock::time_point since = Clock::now();

  void pause() {
    Exec().fence();
    elapsed += std::chrono::duration<double>(Clock::now() - since).count();
  }
  void go_on() { since = Clock::now(); }
};

/// What the loop knows of each sequence.
template <class Real>
struct Newton<Real>::Status {
  std::vector<long> iterations;
  std::vector<char> active, converged, healing;
  std::vector<double> residual;
  std::vector<double> settled;  ///< the largest residual that a window has left behind
  std::vector<double> update, resets, bounded;
  std::vector<double> work;  ///< steps worked on, in multiples of T
  std::vector<double> done;  ///< share of steps that are settled

  explicit Status(long batch)
      : iterations(static_cast<std::size_t>(batch), 0),
        active(iterations.size(), 1),
        converged(iterations.size(), 0),
        healing(iterations.size(), 0),
        residual(iterations.size(), nan),
        settled(iterations.size(), 0.0),
        update(iterations.size(), nan),
        resets(iterations.size(), 0),
        bounded(iterations.size(), 0),
        work(iterations.size(), 0),
        done(iterations.size(), 0) {}
  bool any_active() const { return std::find(active.begin(), active.end(), 1) != active.end(); }
};

template <class Real>
Newton<Real>::Newton(const SolverKind& kind, const systems::Instance<Real>& instance, const Setup<Real>& setup)
    : kind_(kind),
      instance_(instance),
      config_(setup.config),
      line_(setup.line.value_or(parallel::TimeLine(instance.length()))),
      batch_{setup.global_batch, setup.share > 0 ? setup.share : setup.global_batch},
      threads_(setup.threads),
      progress_(setup.progress),
      windowed_(config_.window != "full"),
      // A smoother moves settled states again, by what comes after them. A filter starts afresh behind a settled step, so at
      // full length its iterates would depend on where fronts are found; an adaptive one is large enough not to care.
      settles_(config_.stop == deck::Stop::residual && !config_.smoother &&
               (windowed_ || kind.damping == Damping::none || config_.sigma2_adaptive)),
      job_(job_of(kind, config_, line_.longest(), batch_, instance.system->state_dim(), instance.system->factors(),
                  sizeof(Real), threads_, line_.whole() ? 1 : 2)),
      fuses_(fuses(kind, config_, job_, instance.system->state_dim(), line_.whole() ? 1 : 2)),
      marches_(can_march(kind, config_, job_, instance.system->state_dim(), line_.whole() ? 1 : 2)),
      // In a window steps are evaluated some times while they are in a cache. At full length a projection would take the
      // memory of several arrays of states.
      projects_(windowed_ && instance.system->projected_dim() > 0),
      drops_(windowed_ || !fuses_ || fused_drops(choose_scan(), job_.batch, threads_)),
      shares_out_(windowed_ && !line_.whole()),
      windows_(sized_windows(), line_.length(), instance.batch()),
      shares_(line_),
      trust_(TrustModel(kind, config_), instance.initial, line_) {
  const long length = instance.length(), batch = instance.batch();
  const long dim = instance.system->state_dim();
  // An undamped solver settles a step an iteration at least; a full-length solve that takes 10,000 is hopeless. Through
  // windows iterations are small and many.
  max_iterations_ = config_.max_iterations > 0 ? config_.max_iterations
                    : windowed_                ? std::max(10000L, 4 * line_.length())
                                               : std::min(std::max(1L, line_.length()), 10000L);
  if (windowed_ && config_.stop != deck::Stop::residual)
    throw std::invalid_argument("a window needs stop = \"residual\": only residuals tell which states are settled");

  Guess<Real>& guess = iterate_.guess;
  guess.initial = instance.initial;
  if (config_.guess == "initial_state") {
    guess.kind = Guess<Real>::Kind::initial_state;
  } else if (config_.guess != "zero") {
    guess.kind = Guess<Real>::Kind::given;
    guess.given = setup.guess;
    if (long(setup.guess.extent(0)) != length || long(setup.guess.extent(1)) != batch ||
        long(setup.guess.extent(2)) != dim)
      throw std::invalid_argument("guess = \"" + config_.guess + "\": there are no states of shape (" +
                                  std::to_string(length) + ", " + std::to_string(batch) + ", " + std::to_string(dim) +
                                  ") to start from");
  }
  if (drops_) answer_ = make_view<Rows<Real>>("answer", length, batch, dim);
  iterate_.answer = answer_;
  touched_ = iterate_.touched = make_view<Vector<long>>("touched", batch);
  lay_out();
}

/// As on one rank, so that counts do not depend on ranks.
template <class Real>
WindowModel Newton<Real>::sized_windows() const {
  const systems::System<Real>& system = *instance_.system;
  WindowModel model =
      window_model(kind_, config_,
                   {system.state_dim(), input_numbers(), sizeof(Real), system.parameter_bytes(),
                    evaluation_flops(kind_.linearization) + scan_flops(kind_.linearization, true), batch_.all, threads_,
                    fuses(kind_, config_,
                          job_of(kind_, config_, line_.length(), batch_, system.state_dim(), system.factors(),
                                 sizeof(Real), threads_, 1),
                          system.state_dim(), 1)});
  if (!marches_ || choose_scan(model.start).chunks > 1) model.march = 0;
  if (!drops_) model.move_cost = std::numeric_limits<double>::infinity();
  return model;
}

WindowModel window_model(const SolverKind& kind, const deck::SolverConfig& config, const WindowCost& cost) {
  WindowModel model;
  model.full = config.window == "full";
  if (model.full) return model;
  const bool dense = kind.linearization == Linearization::dense;
  model.tolerance = config.tolerance;
  model.eager = !dense;
  // Quadratic convergence ends abruptly; what falls more slowly there is a front that creeps.
  const bool newton =
      kind.damping == Damping::none || config.sigma2_adaptive;  // "adaptive" bounds steps, and damps hardly
  model.waits = !dense ? 0.8 : newton ? 0.02 : 0;
  model.move_cost = dense ? 0.1 : 0.25;  // copying against an iteration
  if (config.window != "auto") {
    model.start = model.smallest = model.largest = steps_in(config.window);
    return model;
  }
  // What a step of a frame takes, over all sequences, and what launching and joining an iteration's kernels costs. Where
  // an iteration reads more parameters than the frame has numbers, a wider one reads them less often.
  const double components =
      double(2 * cost.dim + cost.inputs + (cost.fused ? 0 : jacobian_components(kind.linearization, cost.dim)));
  const double step_bytes = cost.real_bytes * components * double(cost.batch);
  const long balanced = static_cast<long>(cost.parameter_bytes / step_bytes);
  model.smallest = tuning::smallest_window;
  model.start = std::max(dense ? tuning::first_dense_window : tuning::first_diagonal_window, balanced / 2);
  model.largest = std::max({model.start, balanced, static_cast<long>(tuning::frame_bytes(cost.threads) / step_bytes)});
  // Fused passes and diagonal solvers do simple operations, which processors do faster, twice as many at half the precision.
  const double pace = dense && !cost.fused ? 1 : 16 / cost.real_bytes;
  if (cost.parameter_bytes <= tuning::march_parameter_bytes) model.march = tuning::march;
  model.overhead = pace * tuning::launch_flops(cost.threads) / (cost.step_flops * double(cost.batch));
  return model;
}

/// Segments of a time line differ by a step; the engine is chosen by the longest, so that all ranks choose the same.
template <class Real>
scan::Choice Newton<Real>::choose_scan(long width) const {
  scan::Job job = job_;
  if (windowed_) job.length = line_.resized(width).longest();
  return scan::choose(config_.scan, job, fuses_);
}

/// Numbers that a frame holds of a step's inputs.
template <class Real>
long Newton<Real>::input_numbers() const {
  return projects_ ? instance_.system->projected_dim() : instance_.system->input_dim();
}

/// In which form Jacobians are taken now, and numbers a step of them.
template <class Real>
Linearization Newton<Real>::form() const {
  return form_of(kind_, job_, choice_, fuses_);
}
template <class Real>
long Newton<Real>::jacobian_numbers() const {
  const systems::System<Real>& system = *instance_.system;
  return form() == Linearization::factored ? system.factors() : jacobian_components(form(), system.state_dim());
}

/// Of an iteration, for one step of one sequence.
template <class Real>
double Newton<Real>::evaluation_flops(Linearization form) const {
  return instance_.system->flops(form) - (projects_ ? instance_.system->projected_flops() : 0);
}

/// Makes room for the steps and groups of `map`.
template <class Real>
void Newton<Real>::allocate(const scan::LaneMap& map) {
  const long dim = instance_.system->state_dim();
  const long G = map.groups, L = map.steps, J = jacobian_numbers();
  if (long(worst_.extent(0)) >= G && long(inputs_.extent(1)) == L && long(jacobian_.extent(2)) == J) return;
  // Where iterations are fused, residuals and Jacobians are those of one block a thread.
  const long rows = fuses_ ? scan::buffers() : std::max(G, windows_.may_march() ? scan::buffers() : 0);
  const long steps = fuses_ ? std::min(fused_block_length(dim + J, sizeof(Real)), L) : L;
  using Panel = scan::Panel<Real>;
  states_.sides[0] = states_.sides[1] = reserves_.states.template view<Panel>("states", G, L + 1, dim, lane_width);
  inputs_ = reserves_.inputs.template view<Panel>("inputs", G, L, input_numbers(), lane_width);
  if (projects_) Kokkos::deep_copy(Exec(), inputs_, Real(0));  // padding gets no projections
  residual_ = reserves_.residual.template view<Panel>("residual", rows, steps, dim, lane_width);
  jacobian_ = reserves_.jacobian.template view<Panel>("jacobian", rows, steps, J, lane_width);
  worst_ = make_view<LaneNumbers<Real>>("worst", G, blocks(L), lane_width);
  resets_ = make_view<LaneNumbers<int>>("resets", G, blocks(L), lane_width);
  lane_numbers_ = make_view<Vector<Real>>("lane numbers", G * lane_width);
  moved_ = worst_;
  if (!fuses_) return;
  moved_ = make_view<LaneNumbers<Real>>("moved", G, blocks(L), lane_width);
  states_.side = Vector<int>("side", std::size_t(G));  // zeros
  const long T = instance_.length(), B = instance_.batch();
  if (!drops_) reserves_.next.hold("next states", T * B * dim);
  states_.sides[1] = reserves_.next.template view<Panel>("next states", G, L + 1, dim, lane_width);
  if (!drops_) iterate_.answer = answer_ = reserves_.next.template view<Rows<Real>>("next states", T, B, dim);
}

/// Panels and the scan for the slots there are now. Chunks are chosen by the width alone, so that dropping finished
/// sequences changes no sum.
template <class Real>
void Newton<Real>::lay_out() {
  const long spanned = span_.length();
  span_ = windowed_ ? line_.resized(windows_.width()) : line_;
  choice_ = choose_scan(windows_.width());
  const scan::LaneMap map(span_.steps().size(), slots(), choice_.chunks);
  choice_.chunks = map.chunks;
  allocate(map);
  const bool same = (scan_ || fused_) && map.length == frame_.map.length && map.batch == frame_.map.batch &&
                    map.chunks == frame_.map.chunks && span_.length() == spanned;
  frame_.map = map;
  if (!same) {
    active_.sequences = make_view<Vector<int>>("active", slots());
    moving_.sequences = make_view<Vector<int>>("moving", slots());
    frame_.sequences = make_view<Vector<int>>("sequences", slots());
    frame_in_time_.sequences = shares_out_ ? make_view<Vector<int>>("sequences", slots()) : frame_.sequences;
    if (settles_) {
      frame_.begins = make_view<Vector<long>>("begins", slots());
      if (windowed_) slot_passed_ = make_view<Vector<PassedSteps<Real>>>("passed", 2 * slots());
      lengths_ = make_view<Vector<long>>("lengths", slots());
      active_.settled = make_view<Vector<long>>("settled steps", slots());
      slot_front_ = make_view<Vector<long>>("front", slots());
      slot_settled_ = make_view<Vector<Real>>("settled", slots());
    }
    frame_in_time_.begins = line_.whole() ? frame_.begins : make_view<Vector<long>>("times", slots());
    trust_.prepare(map, span_);
    frame_.map.lengths = lengths_;
    fused_ = fuses_ ? make_fused(form(), trust_.region(), static_cast<long>(residual_.extent(1))) : nullptr;
    scan_ =
        fuses_ ? nullptr : make_scan<Real>(kind_, config_, trust_, choice_.engine, map, jacobian_, residual_, span_);
    // In windows of a few steps "adaptive" needs neither its bounds nor much of its damping.
    march_ = windows_.may_march() && !fuses_
                 ? make_fused(kind_.linearization, {static_cast<Real>(undamped_sigma2), {}}, windows_.march_width())
                 : nullptr;
    const long dim = instance_.system->state_dim();
    last_state_ = span_.has_next() ? make_view<Matrix<Real>>("last state", slots(), dim) : Matrix<Real>();
    state_before_ = span_.has_previous() ? make_view<Matrix<Real>>("state before", slots(), dim) : Matrix<Real>();
  }
  frame_.map.lengths = lengths_;
  frame_in_time_.map = frame_.map;
  if (shares_out_) shares_.lay_out(span_, slots(), kept());
  place_slots();
}

/// Passes over the frame with Jacobians in the given form.
template <class Real>
std::unique_ptr<FusedPass<Real>> Newton<Real>::make_fused(Linearization form, const scan::TrustRegion<Real>& region,
                                                          long block_length) const {
  const scan::LaneMap& map = frame_.map;
  auto scan = form == Linearization::factored
                  ? std::make_unique<SweepScan>(map, block_length)
                  : with_element(kind_, config_, region, jacobian_, residual_, [&](auto element) {
                      return std::unique_ptr<FusedScan>(
                          std::make_unique<ElementFusedScan<decltype(element)>>(map, element, block_length));
                    });
  // Steps of a window settle where residuals are within the tolerance, at full length where they are nothing.
  using Tolerances = typename FusedPass<Real>::Tolerances;
  const Real tolerance = static_cast<Real>(config_.tolerance);
  return std::make_unique<FusedPass<Real>>(
      config_, instance_.system, form, iterate_.guess, frame_, active_,
      FusedArrays<Real>{inputs_, projects_, states_, residual_, jacobian_, worst_, moved_, resets_},
      windowed_ ? Tolerances{tolerance, tolerance * Real(far_within)} : Tolerances{}, std::move(scan));
}

/// Tells the kernels where the slots' windows are.
template <class Real>
void Newton<Real>::place_slots() {
  const auto sequences = Kokkos::create_mirror_view(frame_.sequences);
  const auto sequences_in_time = Kokkos::create_mirror_view(frame_in_time_.sequences);
  const auto begins = Kokkos::create_mirror_view(frame_.begins),
             times = Kokkos::create_mirror_view(frame_in_time_.begins);
  const auto lengths = Kokkos::create_mirror_view(lengths_);
  for (long j = 0; j < slots(); ++j) {
    const Windows::Slot& slot = windows_.slots()[static_cast<std::size_t>(j)];
    sequences_in_time(j) = static_cast<int>(slot.sequence);
    sequences(j) = static_cast<int>(shares_out_ ? j : slot.sequence);
    if (times.extent(0) > 0) times(j) = (windowed_ ? slot.begin : 0) + span_.steps().begin;
    if (!settles_) continue;
    begins(j) = line_.whole() ? slot.begin : 0;
    lengths(j) = held(slot).size();
  }
  Kokkos::deep_copy(Exec(), frame_.sequences, sequences);
  Kokkos::deep_copy(Exec(), frame_in_time_.sequences, sequences_in_time);
  Kokkos::deep_copy(Exec(), frame_in_time_.begins, times);
  Kokkos::deep_copy(Exec(), frame_.begins, begins);
  Kokkos::deep_copy(Exec(), lengths_, lengths);
  Exec().fence();
}

template <class Real>
std::vector<long> Newton<Real>::window_ends() const {
  std::vector<long> ends;
  for (const Windows::Slot& slot : windows_.slots()) ends.push_back(slot.begin + slot.length);
  return ends;
}

template <class Real>
typename Shares<Real>::Kept Newton<Real>::kept() const {
  return {iterate_, instance_.drivers, oracle_};
}

/// The steps of a slot that this rank works on, from its window's first.
template <class Real>
parallel::Range Newton<Real>::held(const Windows::Slot& slot) const {
  if (shares_out_) return shares_.share(slot);
  return line_.whole() ? parallel::Range{0, slot.length} : line_.steps();
}

template <class Real>
void Newton<Real>::select(const std::vector<char>& slots, const scan::Active& active) {
  const auto flags = Kokkos::create_mirror_view(active.sequences);
  for (std::size_t j = 0; j < slots.size(); ++j) flags(j) = slots[j] != 0;
  Kokkos::deep_copy(Exec(), active.sequences, flags);
  Exec().fence();
}

template <class Real>
void Newton<Real>::pack(const std::vector<char>& slots) {
  select(slots, moving_);
  next_front_.resize(slots.size(), 0);
  for (std::size_t j = 0; j < slots.size(); ++j)
    if (slots[j]) next_front_[j] = 0;
  if (settles_) {
    Kokkos::parallel_for("unsettle", Kokkos::RangePolicy<Exec>(0, this->slots()),
                         Unsettle<Real>{frame_.map, moving_, active_.settled, slot_settled_, worst_});
  }
  if (shares_out_) shares_.fetch(windows_.slots(), slots, kept());
  const Rows<Real> drivers = shares_out_ ? shares_.drivers() : instance_.drivers;
  over_blocks("pack", frame_.map, 1,
              Pack<Real>{frame_, moving_, drivers, shares_out_ ? shares_.iterate() : iterate_,
                         projects_ ? scan::Panel<Real>() : inputs_, states_});
  if (projects_) instance_.system->project({frame_, moving_, drivers, inputs_});
  if (fused_) fused_->start();
}

template <class Real>
void Newton<Real>::unpack(const std::vector<char>& slots) {
  select(slots, moving_);
  if (fused_ && !drops_) fused_->gather();  // the answer lies where side 1 is
  over_blocks("unpack", frame_.map, 1,
              Unpack<Real>{frame_, moving_, states_, shares_out_ ? shares_.states() : answer_});
  if (shares_out_) shares_.deliver(windows_.slots(), slots, answer_);
  for (std::size_t j = 0; j < slots.size(); ++j) {
    const Windows::Slot& slot = windows_.slots()[j];
    if (!slots[j]) continue;
    long& to = touched_to_[static_cast<std::size_t>(slot.sequence)];
    to = windows_.restarts(slot) ? slot.begin + passed_[j] : std::max(to, slot.begin + slot.length);
  }
  touch();
}

/// Tells the kernels which states of this rank were ever worked on.
template <class Real>
void Newton<Real>::touch() {
  const auto touched = Kokkos::create_mirror_view(touched_);
  const parallel::Range here = line_.steps();
  for (std::size_t b = 0; b < touched_to_.size(); ++b)
    touched(b) = windowed_ ? std::clamp(touched_to_[b] - here.begin, 0L, here.size()) : touched_to_[b];
  Kokkos::deep_copy(Exec(), touched_, touched);
  Exec().fence();
}

template <class Real>
void Newton<Real>::start() {
  windows_.restart();
  trust_.restart();
  touched_to_.assign(static_cast<std::size_t>(instance_.batch()), 0);
  reached_ = touched_to_;
  touch();
  lay_out();
  pack(std::vector<char>(static_cast<std::size_t>(slots()), 1));
  Kokkos::deep_copy(Exec(), active_.sequences, 1);
}

/// The state before this rank's first step is the last one of the rank before, guess or iterate.
template <class Real>
void Newton<Real>::pass_on_states() {
  const Kokkos::RangePolicy<Exec> each(0, slots());
  if (span_.has_next())
    Kokkos::parallel_for("take last state", each, TakeLastState<Real>{frame_, states_.sides[0], last_state_});
  parallel::shift(span_, last_state_, state_before_);
  if (span_.has_previous())
    Kokkos::parallel_for("put first state", each, PutFirstState<Real>{state_before_, states_.sides[0]});
}

/// Evaluates the present states; only their residuals if `last`.
template <class Real>
void Newton<Real>::evaluate(bool last) {
  if (fused_) return fused_->look(last);
  const Linearization linearization = last ? Linearization::zero : kind_.linearization;
  pass_on_states();
  instance_.system->evaluate(linearization,
                             {frame_.map, active_, states_.sides[0], inputs_, residual_, jacobian_, worst_, projects_});
  const bool shaped = config_.damping_factor != 0 || config_.clip_jacobians;
  if (shaped && linearization == kind_.linearization && jacobian_.extent(2) > 0)
    over_blocks("shape Jacobians", frame_.map, 1,
                ShapeJacobian<Real>{frame_.map, jacobian_, static_cast<Real>(1 - config_.damping_factor),
                                    config_.clip_jacobians});
}

/// Finds how far all slots are settled and takes these steps out of the recurrence. Along a time line steps are settled
/// where those of all ranks before are. `residual`: the largest of each slot here. Returns the largest of all ranks.
template <class Real>
std::vector<double> Newton<Real>::find_fronts(std::vector<double> residual) {
  settled_.resize(residual.size(), 0.0);
  windowed_ ? find_window_fronts(residual) : find_exact_fronts(residual);
  if (!fused_) settle();
  return residual;
}

/// How far each window is settled. All residuals before the front are within the tolerance, so the states there follow from
/// s_0 up to the tolerance a step, by induction.
///
/// A window that is within the tolerance everywhere is settled, as a full-length solve would be. A front within it has to
/// pass twice, with an update in between, or to be far within: so the residuals left behind are far smaller than the
/// tolerance where convergence is fast. A fused pass that found a front has moved the steps before it, which its `step`
/// takes back.
template <class Real>
void Newton<Real>::find_window_fronts(std::vector<double>& residual) {
  const std::size_t n = residual.size();
  std::vector<PassedSteps<Real>> passed[2];  // by the tolerance, and far within it
  if (fused_) {
    for (const std::size_t which : {0u, 1u}) passed[which] = fused_->fronts(which);
  } else {
    const Real tolerance = static_cast<Real>(config_.tolerance);
    Kokkos::parallel_for(
        "find fronts", Kokkos::RangePolicy<Exec>(0, 2 * slots()),
        FindPassed<Real>{frame_, active_, residual_, worst_, {tolerance, tolerance * Real(far_within)}, slot_passed_});
    const auto found = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), slot_passed_);
    for (std::size_t j = 0; j < 2 * n; ++j) passed[j % 2].push_back(found(j));
  }
  std::vector<long> steps[2];
  for (std::size_t j = 0; j < n; ++j) {
    if (next_front_[j] == 0) settled_[j] = 0;  // nothing was settled since the window was packed
    // Steps that are left out are not evaluated again: their residuals are remembered.
    residual[j] = std::max(residual[j], settled_[j]);
    for (const std::size_t which : {0u, 1u}) steps[which].push_back(passed[which][j].steps);
  }
  residual = agree_on_fronts(std::move(residual), steps[0], &steps[1]);
  const auto active = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), active_.sequences);
  for (std::size_t j = 0; j < n; ++j) {
    if (!active(j)) continue;
    const Windows::Slot& slot = windows_.slots()[j];
    const long within = steps[0][j], far = steps[1][j];
    long& reached = reached_[static_cast<std::size_t>(slot.sequence)];
    const long twice = std::min(within, reached - slot.begin);
    const bool by_far = within < slot.length && far > twice;
    if (held(slot).begin < (by_far ? far : within))
      settled_[j] = std::max(settled_[j], double(passed[by_far ? 1 : 0][j].largest));
    next_front_[j] = within == slot.length ? slot.length : by_far ? far : std::max(0L, twice);
    reached = slot.begin + within;
  }
  passed_ = next_front_;
  front_ = of_this_rank(passed_);
}

/// Steps of all of a sequence are settled where their residuals are nothing. Fused passes find them on their way, so that
/// only the next one leaves them out.
template <class Real>
void Newton<Real>::find_exact_fronts(std::vector<double>& residual) {
  if (fused_) {
    front_ = next_front_;
    const auto passed = fused_->fronts(0);
    for (std::size_t j = 0; j < passed.size(); ++j) next_front_[j] = passed[j].steps;
    passed_ = next_front_;
    return;
  }
  Kokkos::parallel_for("find fronts", Kokkos::RangePolicy<Exec>(0, slots()),
                       FindExactFront<Real>{frame_, active_, residual_, states_.sides[0], worst_, trust_.dead_zone(),
                                            slot_front_, slot_settled_});
  const auto front = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), slot_front_);
  const auto settled = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), slot_settled_);
  settled_.assign(settled.data(), settled.data() + settled.size());
  for (std::size_t j = 0; j < residual.size(); ++j) residual[j] = std::max(residual[j], settled_[j]);
  passed_.assign(front.data(), front.data() + front.size());
  residual = agree_on_fronts(std::move(residual), passed_);
  front_ = of_this_rank(passed_);
}

/// In one reduction the largest residual of each slot, and how many of its steps, from its first, have passed on all ranks:
/// the first one that has not is the smallest of all ranks' first ones. `passed`, in: of the steps held here.
template <class Real>
std::vector<double> Newton<Real>::agree_on_fronts(std::vector<double> residual, std::vector<long>& passed,
                                                  std::vector<long>* far) const {
  if (line_.whole()) return residual;
  const std::size_t n = residual.size();
  std::vector<double> all = std::move(residual);
  for (std::vector<long>* steps : {&passed, far})
    for (std::size_t j = 0; steps && j < n; ++j) {
      const parallel::Range here = held(windows_.slots()[j]);
      all.push_back(-double((*steps)[j] < here.size() ? here.begin + (*steps)[j] : windows_.slots()[j].length));
    }
  all = line_.max(all);
  std::size_t next = n;
  for (std::vector<long>* steps : {&passed, far})
    for (std::size_t j = 0; steps && j < n; ++j) (*steps)[j] = static_cast<long>(-all[next++]);
  all.resize(n);
  return all;
}

/// Steps of slots, from their first, that this rank holds.
template <class Real>
std::vector<long> Newton<Real>::of_this_rank(const std::vector<long>& steps) const {
  std::vector<long> here(steps.size());
  for (std::size_t j = 0; j < steps.size(); ++j) {
    const parallel::Range range = held(windows_.slots()[j]);
    here[j] = std::clamp(steps[j] - range.begin, 0L, range.size());
  }
  return here;
}

/// Takes the steps before the fronts out of the recurrence.
template <class Real>
void Newton<Real>::settle() {
  const auto front = Kokkos::create_mirror_view(slot_front_);
  std::copy(front_.begin(), front_.end(), front.data());
  Kokkos::deep_copy(Exec(), slot_front_, front);
  over_blocks("settle", frame_.map, 1, Settle<Real>{frame_, active_, slot_front_, residual_, jacobian_});
  Kokkos::deep_copy(Exec(), active_.settled, slot_front_);
  Exec().fence();
}

/// Adds the increments to the states.
template <class Real>
void Newton<Real>::advance() {
  if (fused_) return fused_->step(settles_ ? next_front_ : std::vector<long>());
  // A given guess comes with the shares, other ones are known everywhere.
  Guess<Real> guess = iterate_.guess;
  const bool comes = shares_out_ && guess.kind == Guess<Real>::Kind::given;
  if (comes) guess.given = shares_.guess();
  over_blocks("update", frame_.map, items_per_group,
              Update<Real>{comes || !windowed_ ? frame_ : frame_in_time_, active_, guess, config_.guard,
                           static_cast<Real>(overflow), states_, residual_, moved_, resets_});
}

/// Σ |s − oracle| of a sequence over steps [begin, end), which no window holds.
template <class Real>
double Newton<Real>::outside(const Recording<Real>& recording, long sequence, long begin, long end) {
  double sum = 0;
  const parallel::Range here = line_.steps();
  if (windowed_) {  // of the steps that this rank keeps
    begin = std::max(begin, here.begin) - here.begin;
    end = std::min(end, here.end) - here.begin;
  }
  if (recording.oracle.extent(0) == 0 || begin >= end) return sum;
  Kokkos::parallel_reduce(
      "compare outside", Kokkos::RangePolicy<Exec>(begin, end),
      CompareOutside<Real>{iterate_, recording.oracle, sequence, static_cast<int>(recording.measure.first),
                           static_cast<int>(recording.measure.count)},
      sum);
  return sum;
}

/// Follows the errors of the steps that no window holds: only moderate numbers are subtracted, errors of the guess, since
/// states ahead of a front may be as large as they like.
template <class Real>
void Newton<Real>::compare_outside(const Recording<Real>& recording, const Windows::Slot& window) {
  Outside& o = outside_[static_cast<std::size_t>(window.sequence)];
  const long end = window.begin + window.length, length = line_.length();
  o.behind += outside(recording, window.sequence, o.settled, window.begin);
  o.settled = window.begin;
  if (end > o.horizon) {
    o.beyond = end == length ? 0 : o.beyond - outside(recording, window.sequence, o.horizon, end);
    o.horizon = end;
  }
  o.between = outside(recording, window.sequence, end, o.horizon);
}

/// Slides, resizes and drops windows where that is worth it.
template <class Real>
void Newton<Real>::move_windows(Status& status, Recording<Real>* recording, Stopwatch& watch) {
  const Windows::Change change = windows_.plan();
  if (!change.any()) return;
  const parallel::Traffic traffic_before = line_.traffic();
  // With a reframe all states leave the panels, those of finished sequences for good.
  const std::vector<Windows::Slot> before = windows_.slots();
  std::vector<char> leaving = change.moving;
  if (change.reframe) leaving.assign(before.size(), 1);
  unpack(leaving);
  const bool leaves_steps =
      settles_ && (windowed_ || line_.whole());  // segments stay: all of their steps are evaluated again
  if (leaves_steps)
    for (std::size_t j = 0; j < before.size(); ++j)
      if (leaving[j]) {
        const auto b = static_cast<std::size_t>(before[j].sequence);
        status.settled[b] = std::max(status.settled[b], settled_[j]);
      }
  windows_.apply(change);
  if (recording && leaves_steps) {
    watch.pause();
    std::vector<char> goes_on(outside_.size(), 0);
    for (std::size_t j = 0; j < windows_.slots().size(); ++j)
      if (change.moving[j]) {
        goes_on[static_cast<std::size_t>(windows_.slots()[j].sequence)] = 1;
        compare_outside(*recording, windows_.slots()[j]);
      }
    for (std::size_t j = 0; j < before.size(); ++j)  // a finished sequence has left all of its window behind
      if (leaving[j] && !goes_on[static_cast<std::size_t>(before[j].sequence)])
        compare_outside(*recording, {before[j].sequence, before[j].begin + before[j].length, 0});
    watch.go_on();
  }
  if (change.reframe) {
    lay_out();
    Kokkos::deep_copy(Exec(), active_.sequences, 1);
  } else {
    place_slots();
  }
  pack(change.moving);
  moves_ = moves_ + (line_.traffic() - traffic_before);
}

/// An iteration of a march: the active sequences go through the frame, as far as they come.
template <class Real>
void Newton<Real>::march(Status& status, long iteration) {
  std::vector<char> active(static_cast<std::size_t>(slots()));
  for (long j = 0; j < slots(); ++j)
    active[static_cast<std::size_t>(j)] = status.active[static_cast<std::size_t>(sequence(j))];
  select(active, active_);
  const Marched marched = (fused_ ? *fused_ : *march_).march(windows_.march_width(), windows_.march_patience());
  passed_ = front_ = next_front_ = marched.fronts;
  settled_ = marched.settled;
  const double length = double(line_.length());
  for (std::size_t j = 0; j < active.size(); ++j) {
    if (!active[j]) continue;
    const auto b = static_cast<std::size_t>(sequence(static_cast<long>(j)));
    const long settled = windows_.slots()[j].begin + marched.fronts[j];
    const bool finished = settled == line_.length();
    status.iterations[b] = iteration + 1;
    status.residual[b] = std::max(status.settled[b], marched.residual[j]);
    status.update[b] = marched.moved[j];
    status.resets[b] = marched.resets[j];
    status.healing[b] = !finished && marched.resets[j] > 0;
    status.work[b] += marched.worked[j] / length;
    status.done[b] = double(settled) / length;
    status.active[b] = !finished;
    status.converged[b] = finished;
    windows_.marched(j, marched.fronts[j], finished);
  }
  if (status.any_active()) windows_.marched(marched.stalled);
}

template <class Real>
void Newton<Real>::report_progress(const Status& status) const {
  const double batch = double(status.done.size());
  if (progress_ && settles_ && batch > 0)
    progress_(std::accumulate(status.done.begin(), status.done.end(), 0.0) / batch);
}

template <class Real>
void Newton<Real>::finish() {
  unpack(std::vector<char>(static_cast<std::size_t>(slots()), 1));
  // Steps that no window has reached, or that one has given up: memory holds anything there, the iterate is the guess.
  const auto touched = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), touched_);
  const long batch = instance_.batch(), length = instance_.length();
  long first = length;
  for (long b = 0; b < batch; ++b) first = std::min(first, touched(b));
  Kokkos::parallel_for("fill with the guess", Kokkos::RangePolicy<Exec>(first * batch, length * batch),
                       FillWithGuess<Real>{iterate_, batch});
  Exec().fence();
}

/// Steps of each slot that an iteration works on: settled ones are left out by whole blocks of whole groups of lanes.
template <class Real>
std::vector<double> Newton<Real>::steps_worked(const std::vector<char>& active) const {
  const scan::LaneMap& map = frame_.map;
  std::vector<double> steps(static_cast<std::size_t>(map.batch), 0.0);
  for (long first = 0; first < map.lanes(); first += lane_width) {
    const long end = std::min(first + lane_width, map.lanes());
    const auto held_of = [&](long lane) {
      const long all = held(windows_.slots()[static_cast<std::size_t>(map.sequence_of(lane))]).size();
      return std::clamp(all - map.chunk_of(lane) * map.steps, 0L, map.steps);
    };
    long settled = settles_ ? map.steps : 0;
    for (long lane = first; lane < end && settled > 0; ++lane) {
      const auto slot = static_cast<std::size_t>(map.sequence_of(lane));
      const long here = std::max(0L, front_[slot] - map.chunk_of(lane) * map.steps);
      if (active[slot] && here < held_of(lane)) settled = std::min(settled, here);
    }
    if (settled < map.steps && !fuses_) settled -= settled % block_steps;
    for (long lane = first; lane < end; ++lane)
      steps[static_cast<std::size_t>(map.sequence_of(lane))] += double(std::max(0L, held_of(lane) - settled));
  }
  return steps;
}

template <class Real>
std::vector<double> Newton<Real>::largest(const LaneNumbers<Real>& numbers) {
  const scan::LaneMap& map = frame_.map;
  for_items("largest of lanes", map.lanes(), static_cast<long>(numbers.extent(1)),
            LargestOfLane<Real>{numbers, lane_numbers_});
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), lane_numbers_);
  std::vector<double> out(static_cast<std::size_t>(map.batch), 0.0);
  for (long lane = 0; lane < map.lanes(); ++lane) {
    double& kept = out[static_cast<std::size_t>(map.sequence_of(lane))];
    kept = std::max(kept, static_cast<double>(host(lane)));
  }
  return out;
}

template <class Real>
void Newton<Real>::record_mad(const Status& status, long iteration, Recording<Real>& recording) {
  if (recording.oracle.extent(1) == 0) return;
  const scan::LaneMap& map = frame_.map;
  const auto sums = make_view<LaneNumbers<double>>("errors", map.groups, blocks(map.steps), lane_width);
  over_blocks(
      "compare", map, 1,
      Compare<Real>{frame_, states_, shares_out_ ? shares_.oracle() : recording.oracle,
                    static_cast<int>(recording.measure.first), static_cast<int>(recording.measure.count), sums});
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), sums);
  std::vector<double> mad;
  for (const Outside& o : outside_) mad.push_back(o.behind + o.between + o.beyond);
  for (long lane = 0; lane < map.lanes(); ++lane)
    for (long block = 0; block < blocks(map.steps); ++block)
      mad[static_cast<std::size_t>(sequence(map.sequence_of(lane)))] +=
          host(lane / lane_width, block, lane % lane_width);
  mad = line_.sum(mad);
  for (std::size_t b = 0; b < mad.size(); ++b)
    recording.history.mad.push_back(status.iterations[b] == iteration ? mad[b] / recording.measure.divisor : nan);
}

template <class Real>
Outcome Newton<Real>::solve(Recording<Real>* recording) {
  const long batch = instance_.batch(), length = line_.length();
  Status status(batch);
  parallel::Traffic each_iteration;
  const double communicated = line_.traffic().seconds;
  oracle_ = recording ? recording->oracle : Rows<Real>();
  start();
  // Numbers of sequence b go into a history only while it iterates, its last state included: status.iterations[b] counts
  // its steps, so it equals the loop's count exactly then.
  record::History* const history = recording ? &recording->history : nullptr;
  if (history) {
    *history = record::History{};
    outside_.assign(static_cast<std::size_t>(batch), {});
    for (const Windows::Slot& slot : windows_.slots()) {
      Outside& o = outside_[static_cast<std::size_t>(slot.sequence)];
      o.horizon = slot.length;
      o.beyond = outside(*recording, slot.sequence, slot.length, length);
    }
  }
  Stopwatch watch;
  const auto pause = [&] {
    if (history) watch.pause();
  };
  const auto go_on = [&] {
    if (history) watch.go_on();
  };

  // Windows leave steps behind on each rank.
  const auto agree_on_residuals = [&] {
    if (shares_out_) status.residual = line_.max(status.residual);
  };

  const auto record_regions = [&](const std::vector<double>& regions) {
    history->sigma2.insert(history->sigma2.end(), regions.begin(), regions.end());
    history->rejected.push_back(0);  // steps are bounded, never taken back
  };
  const auto record_step = [&](const std::vector<char>& was_active) {
    pause();
    for (std::size_t b = 0; b < was_active.size(); ++b) {
      history->update.push_back(was_active[b] ? status.update[b] : nan);
      history->resets.push_back(was_active[b] ? status.resets[b] : nan);
      history->bounded.push_back(was_active[b] ? status.bounded[b] : nan);
    }
    history->elapsed_s.push_back(watch.elapsed);
    go_on();
  };

  std::vector<double> residual;  // the largest of each slot
  const bool by_residual = config_.stop == deck::Stop::residual;
  for (long iteration = 0;;) {
    const parallel::Traffic before = line_.traffic() - moves_;
    const bool last = iteration == max_iterations_ || !status.any_active();
    const bool marching = windows_.marches() && !last;
    // The stop rules `update` and `iterations` need no residual after the last step, unless it is to be recorded.
    if (last && !by_residual && !history) break;
    if (marching && history) {
      pause();
      evaluate(true);
      residual = largest(worst_);
      for (long j = 0; j < slots(); ++j)
        if (const auto b = static_cast<std::size_t>(sequence(j)); status.active[b])
          status.residual[b] = std::max(status.settled[b], residual[static_cast<std::size_t>(j)]);
      go_on();
    }
    if (!marching && (status.any_active() || history)) {
      if (history && !status.any_active()) Kokkos::deep_copy(Exec(), active_.sequences, 1);
      for (bool again = true; again;) {
        const parallel::Traffic look = line_.traffic() - moves_;
        evaluate(last);
        residual = settles_ ? find_fronts(largest(worst_)) : line_.max(largest(worst_));
        bool all_settled = windowed_;
        for (long j = 0; j < slots(); ++j) {
          const auto b = static_cast<std::size_t>(sequence(j)), slot = static_cast<std::size_t>(j);
          if (status.iterations[b] == iteration) status.residual[b] = std::max(status.settled[b], residual[slot]);
          if (!by_residual || !status.active[b]) continue;
          const Windows::Slot& window = windows_.slots()[slot];
          if (residual[slot] <= config_.tolerance && window.begin + window.length == length) {
            status.active[b] = 0;
            status.converged[b] = 1;
          }
          all_settled = all_settled && (!status.active[b] || passed_[slot] == window.length);
        }
        // Windows that are settled as they are need no iteration: the next ones may.
        again = all_settled && !last && status.any_active();
        if (!again) break;
        for (long j = 0; j < slots(); ++j)
          if (status.active[static_cast<std::size_t>(sequence(j))])
            windows_.passed(static_cast<std::size_t>(j), passed_[static_cast<std::size_t>(j)]);
        windows_.all_passed();
        move_windows(status, recording, watch);
        moves_ = line_.traffic() - look;  // this look was for a move
      }
    }
    if (history) {
      pause();
      agree_on_residuals();
      for (std::size_t b = 0; b < status.residual.size(); ++b)
        history->residual.push_back(status.iterations[b] == iteration ? status.residual[b] : nan);
      record_mad(status, iteration, *recording);
      go_on();
    }
    if (last || !status.any_active()) break;
    if (marching) {
      const std::vector<char> was_active = status.active;
      march(status, iteration++);
      if (status.any_active()) move_windows(status, recording, watch);
      report_progress(status);
      if (history && config_.sigma2_adaptive) record_regions(std::vector<double>(3, undamped_sigma2));
      if (history) record_step(was_active);
      continue;
    }

    std::vector<char> flags(static_cast<std::size_t>(slots()));
    for (long j = 0; j < slots(); ++j)
      flags[static_cast<std::size_t>(j)] = status.active[static_cast<std::size_t>(sequence(j))];
    select(flags, active_);
    if (!fused_) {
      trust_.observe(frame_in_time_, active_, window_ends(), states_.sides[0], residual_, jacobian_, worst_, residual);
      scan_->run(active_);
    }
    std::vector<double> at_bound;
    if (history) {
      pause();
      at_bound = trust_.bounded_states(frame_, residual_);
      if (config_.sigma2_adaptive) {
        record_regions(trust_.regions(frame_, active_));
      }
      go_on();
    }
    advance();
    std::vector<double> moved = largest(moved_);
    if (config_.stop == deck::Stop::update || history) moved = line_.max(moved);
    const auto resets = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), resets_);
    std::fill(status.resets.begin(), status.resets.end(), 0.0);
    const scan::LaneMap& map = frame_.map;
    for (long lane = 0; lane < map.lanes(); ++lane) {
      const auto b = static_cast<std::size_t>(sequence(map.sequence_of(lane)));
      if (!status.active[b]) continue;
      for (long block = 0; block < blocks(map.steps); ++block)
        status.resets[b] += resets(lane / lane_width, block, lane % lane_width);
    }
    if (history) {
      status.resets = line_.sum(status.resets);
      at_bound = line_.sum(at_bound);
    }
    const parallel::Traffic now = line_.traffic() - moves_ - before;
    each_iteration.messages = std::max(each_iteration.messages, now.messages);
    each_iteration.bytes = std::max(each_iteration.bytes, now.bytes);
    const std::vector<char> was_active = status.active;
    const std::vector<double> worked = steps_worked(flags);
    for (long j = 0; j < slots(); ++j) {
      const auto b = static_cast<std::size_t>(sequence(j)), slot = static_cast<std::size_t>(j);
      const long front = settles_ ? passed_[slot] : 0;
      if (status.active[b]) {
        const Windows::Slot& window = windows_.slots()[slot];
        status.iterations[b] = iteration + 1;
        status.update[b] = moved[slot];
        status.healing[b] = status.resets[b] > 0;
        status.work[b] += worked[slot] / double(length);
        if (settles_) status.done[b] = double(window.begin + passed_[slot]) / double(length);
        if (config_.stop == deck::Stop::update && moved[slot] <= config_.tolerance) {
          status.active[b] = 0;
          status.converged[b] = 1;
        }
      }
      if (history && !at_bound.empty() && was_active[b]) status.bounded[b] = at_bound[slot];
      windows_.observe(slot, front, residual[slot], !status.active[b]);
    }
    move_windows(status, recording, watch);
    report_progress(status);
    if (history) record_step(was_active);
    ++iteration;
  }
  finish();
  agree_on_residuals();
  status.work = line_.sum(status.work);

  if (history) {
    history->iterations = static_cast<long>(history->elapsed_s.size());
    history->batch = batch;
  }
  if (config_.stop == deck::Stop::iterations)
    for (std::size_t b = 0; b < status.residual.size(); ++b)
      status.converged[b] = status.residual[b] <= config_.tolerance;
  const std::vector<double> healing = line_.max(std::vector<double>(status.healing.begin(), status.healing.end()));
  status.healing.assign(healing.begin(), healing.end());
  return {status.iterations,
          status.residual,
          status.converged,
          status.healing,
          status.work,
          each_iteration,
          line_.traffic().seconds - communicated};
}

/// Of the scan, for one step of one sequence.
template <class Real>
double Newton<Real>::scan_flops(Linearization form, bool summarised) const {
  const double D = double(instance_.system->state_dim());
  const bool damped = kind_.damping == Damping::trust_region;
  if (form == Linearization::factored) return 0;  // part of the evaluation's
  const double advance = form == Linearization::diagonal ? (damped ? 10 * D : 2 * D)
                         : damped                        ? 2 * D * D * D * 2 + 2.0 / 3 * D * D * D + 2 * D * D * (D + 1)
                                                         : 2 * D * D;
  const double append = form == Linearization::diagonal ? (damped ? 16 * D : 3 * D)
                        : damped                        ? 8 * D * D * D + 2.0 / 3 * D * D * D + 2 * D * D * (2 * D + 1)
                                                        : 2 * D * D * D + 2 * D * D;
  return advance + (summarised ? append : 0);
}

template <class Real>
double Newton<Real>::flops(double passes) const {
  const double D = double(instance_.system->state_dim());
  const bool summarised = choice_.engine != scan::Engine::serial && choice_.chunks > 1;
  const double evaluations = fuses_ && summarised ? 2 : 1;
  return passes * double(instance_.length()) * double(instance_.batch()) *
             (evaluations * evaluation_flops(form()) + scan_flops(form(), summarised) + 2 * D) +
         (projects_ ? double(instance_.length()) * double(instance_.batch()) * instance_.system->projected_flops() : 0);
}

template <class Real>
double Newton<Real>::bytes(double passes) const {
  const double D = double(instance_.system->state_dim()), n = double(input_numbers());
  const double J = double(jacobian_numbers());
  const double scans = choice_.engine == scan::Engine::serial || choice_.chunks == 1 ? 1 : 2;
  // evaluate: read s, u, write r, J; scan: read r, J (twice where chunked), write δ; update: read δ, s, write s
  const double apart = (D + n + D + J) + scans * (D + J) + D + 3 * D;
  // a fused sweep: read s, u; the last one also writes the next s
  const double each = fuses_ ? scans * (D + n) + D : apart;
  return sizeof(Real) * double(instance_.length()) * double(instance_.batch()) * (passes * each + 3 * D + 2 * n);
}

template class Newton<float>;
template class Newton<double>;

}  // namespace elkhorn::solvers
