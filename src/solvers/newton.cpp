#include "solvers/newton.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "core/error.hpp"
#include "scan/smoother.hpp"

namespace elkhorn::solvers {

namespace {

using systems::block_steps;
using systems::blocks;

constexpr double published_jitter = 1e-9;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

long jacobian_components(Linearization l, long dim) {
  return l == Linearization::dense ? dim * dim : l == Linearization::diagonal ? dim : 0;
}

/// The element that a linearization and a damping make, over given panels.
template <class Real, class Element>
class ElementScan : public IncrementScan<Real> {
 public:
  ElementScan(scan::Engine engine, const scan::LaneMap& map, const Element& element)
      : element_(element), scan_(engine, map, element) {}
  void run(const scan::Active& active) const override { scan_.run(element_, active); }
  double bytes() const override { return scan_.bytes(); }

 private:
  Element element_;
  scan::Scan<Element> scan_;
};

template <class Real, class Filter>
class SmootherScan : public IncrementScan<Real> {
 public:
  SmootherScan(scan::Engine engine, const scan::LaneMap& map, const Filter& filter) : smoother_(engine, map, filter) {}
  void run(const scan::Active& active) const override { smoother_.run(active); }
  double bytes() const override { return smoother_.bytes(); }

 private:
  scan::Smoother<Filter> smoother_;
};

template <class Real>
std::unique_ptr<IncrementScan<Real>> make_scan(const SolverKind& kind, const deck::SolverConfig& config,
                                               scan::Engine engine, const scan::LaneMap& map,
                                               const scan::Panel<Real>& jacobian, const scan::Panel<Real>& residual) {
  const int dim = static_cast<int>(residual.extent(2));
  const auto plain = [&](auto element) -> std::unique_ptr<IncrementScan<Real>> {
    return std::make_unique<ElementScan<Real, decltype(element)>>(engine, map, element);
  };
  const auto damped = [&](auto filter) -> std::unique_ptr<IncrementScan<Real>> {
    if (config.smoother) return std::make_unique<SmootherScan<Real, decltype(filter)>>(engine, map, filter);
    return plain(filter);
  };
  const bool trust_region = kind.damping == Damping::trust_region;
  scan::TrustRegion<Real> region;
  if (trust_region) region.value = static_cast<Real>(config.sigma2.value());
  switch (kind.linearization) {
    case Linearization::diagonal:
      if (trust_region) return damped(scan::KalmanDiagonal<Real>{jacobian, residual, dim, region, {}});
      return plain(scan::AffineDiagonal<Real>{jacobian, residual, dim});
    case Linearization::dense:
      // The published dense filter solves with the innovation covariance + 1e-9 I (dynamax' psd_solve), its diagonal one
      // does not. Increments are zero at a solution either way; with it iterates agree with the published ones.
      region.value += static_cast<Real>(published_jitter);
      if (trust_region) return damped(scan::KalmanDense<Real>{jacobian, residual, dim, region, {}});
      return plain(scan::AffineDense<Real>{jacobian, residual, dim});
    case Linearization::zero: return plain(scan::AffineDiagonal<Real>{{}, residual, dim, Real(0)});
    case Linearization::identity:
      return plain(scan::AffineDiagonal<Real>{{}, residual, dim, static_cast<Real>(1 - config.damping_factor)});
  }
  throw std::logic_error("a linearization without a scan element");
}

/// The largest number of each lane over its blocks.
template <class Real>
struct LargestOfLane {
  LaneNumbers<Real> numbers;
  Vector<Real> lanes;

  KOKKOS_INLINE_FUNCTION void operator()(long lane) const {
    Real largest(0);
    for (std::size_t block = 0; block < numbers.extent(1); ++block) {
      const Real x = numbers(lane / lane_width, block, lane % lane_width);
      if (x > largest) largest = x;
    }
    lanes(lane) = largest;
  }
};

template <class Kernel>
void over_blocks(const char* name, const scan::LaneMap& map, long items_each, const Kernel& kernel) {
  Kokkos::parallel_for(name, Kokkos::RangePolicy<Exec>(0, map.groups * blocks(map.steps) * items_each), kernel);
}

}  // namespace

/// What the loop knows of each sequence.
template <class Real>
struct Newton<Real>::Status {
  std::vector<long> iterations;
  std::vector<char> active, converged, healing;
  std::vector<double> residual, update, resets;

  explicit Status(long batch)
      : iterations(static_cast<std::size_t>(batch), 0), active(iterations.size(), 1), converged(iterations.size(), 0),
        healing(iterations.size(), 0), residual(iterations.size(), nan), update(iterations.size(), nan),
        resets(iterations.size(), 0) {}
  bool any_active() const { return std::find(active.begin(), active.end(), 1) != active.end(); }
};

template <class Real>
Newton<Real>::Newton(const SolverKind& kind, const systems::Instance<Real>& instance, const Setup<Real>& setup)
    : kind_(kind), instance_(instance), config_(setup.config) {
  const long length = instance.length(), batch = instance.batch();
  const long dim = instance.system->state_dim();
  max_iterations_ = config_.max_iterations > 0 ? config_.max_iterations : std::min(std::max(1L, length), 10000L);
  choice_ = scan::choose(config_.scan, length, setup.global_batch, setup.threads,
                         kind.linearization == Linearization::dense);
  map_ = scan::LaneMap(length, batch, choice_.chunks);
  choice_.chunks = map_.chunks;

  guess_.initial = instance.initial;
  if (config_.guess == "initial_state") {
    guess_.kind = Guess<Real>::Kind::initial_state;
  } else if (config_.guess != "zero") {
    guess_.kind = Guess<Real>::Kind::given;
    guess_.given = setup.guess;
    if (long(setup.guess.extent(0)) != length || long(setup.guess.extent(1)) != batch ||
        long(setup.guess.extent(2)) != dim)
      throw std::invalid_argument("guess = \"" + config_.guess + "\": there are no states of shape (" +
                                  std::to_string(length) + ", " + std::to_string(batch) + ", " + std::to_string(dim) +
                                  ") to start from");
  }

  const long G = map_.groups, L = map_.steps, n = instance.system->input_dim();
  states_ = make_view<scan::Panel<Real>>("states", G, L + 1, dim, lane_width);
  inputs_ = make_view<scan::Panel<Real>>("inputs", G, L, n, lane_width);
  residual_ = make_view<scan::Panel<Real>>("residual", G, L, dim, lane_width);
  jacobian_ = make_view<scan::Panel<Real>>("jacobian", G, L, jacobian_components(kind.linearization, dim), lane_width);
  worst_ = make_view<LaneNumbers<Real>>("worst", G, blocks(L), lane_width);
  resets_ = make_view<LaneNumbers<int>>("resets", G, blocks(L), lane_width);
  lane_numbers_ = make_view<Vector<Real>>("lane numbers", G * lane_width);
  active_.sequences = make_view<Vector<int>>("active", batch);
  answer_ = make_view<Rows<Real>>("answer", length, batch, dim);
  scan_ = make_scan<Real>(kind, config_, choice_.engine, map_, jacobian_, residual_);
}

template <class Real>
void Newton<Real>::start() {
  over_blocks("pack drivers", map_, 1, PackDrivers<Real>{map_, instance_.drivers, inputs_});
  over_blocks("pack guess", map_, 1, PackGuess<Real>{map_, guess_, states_});
  Kokkos::deep_copy(Exec(), active_.sequences, 1);
}

template <class Real>
void Newton<Real>::evaluate(Linearization linearization) {
  instance_.system->evaluate(linearization, {map_, active_, states_, inputs_, residual_, jacobian_, worst_});
  const bool shaped = config_.damping_factor != 0 || config_.clip_jacobians;
  if (shaped && linearization == kind_.linearization && jacobian_.extent(2) > 0)
    over_blocks("shape Jacobians", map_, 1,
                ShapeJacobian<Real>{map_, jacobian_, static_cast<Real>(1 - config_.damping_factor), config_.clip_jacobians});
}

template <class Real>
void Newton<Real>::update() {
  over_blocks("update", map_, items_per_group,
              Update<Real>{map_, active_, guess_, config_.guard, static_cast<Real>(overflow), states_, residual_, worst_,
                           resets_});
}

template <class Real>
void Newton<Real>::finish() {
  over_blocks("unpack", map_, 1, Unpack<Real>{map_, states_, answer_});
  Exec().fence();
}

template <class Real>
std::vector<double> Newton<Real>::largest(const LaneNumbers<Real>& numbers) {
  Kokkos::parallel_for("largest of lanes", Kokkos::RangePolicy<Exec>(0, map_.lanes()),
                       LargestOfLane<Real>{numbers, lane_numbers_});
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), lane_numbers_);
  std::vector<double> out(static_cast<std::size_t>(map_.batch), 0.0);
  for (long lane = 0; lane < map_.lanes(); ++lane) {
    double& kept = out[static_cast<std::size_t>(map_.sequence_of(lane))];
    kept = std::max(kept, static_cast<double>(host(lane)));
  }
  return out;
}

template <class Real>
void Newton<Real>::record_mad(const Status& status, long iteration, Recording<Real>& recording) {
  if (recording.oracle.extent(0) == 0) return;
  const auto sums = make_view<LaneNumbers<double>>("errors", map_.groups, blocks(map_.steps), lane_width);
  over_blocks("compare", map_, 1,
              Compare<Real>{map_, states_, recording.oracle, static_cast<int>(recording.measure.first),
                            static_cast<int>(recording.measure.count), sums});
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), sums);
  std::vector<double> mad(status.active.size(), 0.0);
  for (long lane = 0; lane < map_.lanes(); ++lane)
    for (long block = 0; block < blocks(map_.steps); ++block)
      mad[static_cast<std::size_t>(map_.sequence_of(lane))] += host(lane / lane_width, block, lane % lane_width);
  for (std::size_t b = 0; b < mad.size(); ++b)
    recording.history.mad.push_back(status.iterations[b] == iteration ? mad[b] / recording.measure.divisor : nan);
}

template <class Real>
Outcome Newton<Real>::solve(Recording<Real>* recording) {
  using Clock = std::chrono::steady_clock;
  const long batch = map_.batch;
  Status status(batch);
  start();
  // Numbers of sequence b go into a history only while it iterates, its last state included: status.iterations[b] counts
  // its steps, so it equals the loop's count exactly then.
  record::History* const history = recording ? &recording->history : nullptr;
  if (history) *history = record::History{};
  double elapsed = 0;
  auto since = Clock::now();
  const auto pause = [&] {
    if (!history) return;
    Exec().fence();
    elapsed += std::chrono::duration<double>(Clock::now() - since).count();
  };
  const auto go_on = [&] {
    if (history) since = Clock::now();
  };

  const bool by_residual = config_.stop == deck::Stop::residual;
  for (long iteration = 0;; ++iteration) {
    const bool last = iteration == max_iterations_ || !status.any_active();
    // The stop rules `update` and `iterations` need no residual after the last step, unless it is to be recorded.
    if (last && !by_residual && !history) break;
    if (status.any_active() || history) {
      if (history && !status.any_active()) Kokkos::deep_copy(Exec(), active_.sequences, 1);
      evaluate(last ? Linearization::zero : kind_.linearization);
      const std::vector<double> residual = largest(worst_);
      for (std::size_t b = 0; b < residual.size(); ++b)
        if (status.iterations[b] == iteration) status.residual[b] = residual[b];
      if (by_residual)
        for (std::size_t b = 0; b < residual.size(); ++b)
          if (status.active[b] && residual[b] <= config_.tolerance) {
            status.active[b] = 0;
            status.converged[b] = 1;
          }
    }
    if (history) {
      pause();
      for (std::size_t b = 0; b < status.residual.size(); ++b)
        history->residual.push_back(status.iterations[b] == iteration ? status.residual[b] : nan);
      record_mad(status, iteration, *recording);
      go_on();
    }
    if (last || !status.any_active()) break;

    const auto flags = Kokkos::create_mirror_view(active_.sequences);
    for (long b = 0; b < batch; ++b) flags(b) = status.active[static_cast<std::size_t>(b)];
    Kokkos::deep_copy(Exec(), active_.sequences, flags);
    scan_->run(active_);
    update();
    const std::vector<double> moved = largest(worst_);
    const auto resets = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), resets_);
    std::fill(status.resets.begin(), status.resets.end(), 0.0);
    for (long lane = 0; lane < map_.lanes(); ++lane)
      for (long block = 0; block < blocks(map_.steps); ++block)
        if (status.active[static_cast<std::size_t>(map_.sequence_of(lane))])
          status.resets[static_cast<std::size_t>(map_.sequence_of(lane))] +=
              resets(lane / lane_width, block, lane % lane_width);
    for (std::size_t b = 0; b < moved.size(); ++b) {
      if (history) {
        history->update.push_back(status.active[b] ? moved[b] : nan);
        history->resets.push_back(status.active[b] ? status.resets[b] : nan);
      }
      if (!status.active[b]) continue;
      status.iterations[b] = iteration + 1;
      status.update[b] = moved[b];
      status.healing[b] = status.resets[b] > 0;
      if (config_.stop == deck::Stop::update && moved[b] <= config_.tolerance) {
        status.active[b] = 0;
        status.converged[b] = 1;
      }
    }
    if (history) {
      pause();
      history->elapsed_s.push_back(elapsed);
      go_on();
    }
  }
  finish();

  if (history) {
    history->iterations = static_cast<long>(history->elapsed_s.size());
    history->batch = batch;
  }
  if (config_.stop == deck::Stop::iterations)
    for (std::size_t b = 0; b < status.residual.size(); ++b)
      status.converged[b] = status.residual[b] <= config_.tolerance;
  return {status.iterations, status.residual, status.converged, status.healing};
}

template <class Real>
double Newton<Real>::flops(double iterations) const {
  const double D = double(instance_.system->state_dim());
  const bool damped = kind_.damping == Damping::trust_region;
  const double advance = kind_.linearization == Linearization::diagonal ? (damped ? 10 * D : 2 * D)
                         : damped ? 2 * D * D * D * 2 + 2.0 / 3 * D * D * D + 2 * D * D * (D + 1)
                                  : 2 * D * D;
  const double append = kind_.linearization == Linearization::diagonal ? (damped ? 16 * D : 3 * D)
                        : damped ? 8 * D * D * D + 2.0 / 3 * D * D * D + 2 * D * D * (2 * D + 1)
                                 : 2 * D * D * D + 2 * D * D;
  const double twice = choice_.engine == scan::Engine::serial || map_.chunks == 1 ? 0 : 1;
  return iterations * double(map_.length) * double(map_.batch) *
         (instance_.system->flops(kind_.linearization) + advance + twice * append + 2 * D);
}

template <class Real>
double Newton<Real>::bytes(double iterations) const {
  const double D = double(instance_.system->state_dim()), n = double(instance_.system->input_dim());
  const double J = double(jacobian_components(kind_.linearization, instance_.system->state_dim()));
  const double passes = choice_.engine == scan::Engine::serial || map_.chunks == 1 ? 1 : 2;
  // evaluate: read s, u, write r, J; scan: read r, J (twice where chunked), write δ; update: read δ, s, write s
  const double each = (D + n + D + J) + passes * (D + J) + D + 3 * D;
  return sizeof(Real) * double(map_.length) * double(map_.batch) * (iterations * each + 3 * D + 2 * n);
}

template class Newton<float>;
template class Newton<double>;

}  // namespace elkhorn::solvers
