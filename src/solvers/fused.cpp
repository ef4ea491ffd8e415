#include "solvers/fused.hpp"

#include <algorithm>

namespace elkhorn::solvers {

using systems::block_steps;
using systems::blocks;

namespace {
long groups(const scan::Choice& choice, long batch) {
  return (choice.chunks * std::max(1L, batch) + lane_width - 1) / lane_width;
}
}  // namespace

scan::Job job_of(const SolverKind& kind, const deck::SolverConfig& config, long length, Batch batch, long dim,
                 long factors, int real_bytes, int threads, long time_ranks) {
  scan::Job job;
  job.length = length;
  job.threads = threads;
  job.dense = kind.linearization == Linearization::dense;
  job.damped = kind.damping == Damping::trust_region;
  job.real_bytes = real_bytes;
  job.factored =
      exec_is_host && factors > 0 && job.dense && !job.damped && config.damping_factor == 0 && !config.clip_jacobians;
  job.shared = time_ranks > 1;
  // Bounded increments depend on the chunks, a smoother goes back through them, and a window's length changes: there chunks
  // just fill lanes, those that one rank would have.
  const bool plain =
      config.step_bound == "none" && !config.sigma2_adaptive && !config.smoother && config.window == "full";
  if (plain) job.dim = dim;
  job.batch = plain ? batch.share : batch.all;
  return job;
}

bool fuses(const SolverKind& kind, const deck::SolverConfig& config, const scan::Job& job, long dim, long time_ranks) {
  if (config.pass == deck::Pass::separate || !why_not_fused(config, time_ranks).empty()) return false;
  if (config.pass == deck::Pass::fused) return true;
  const bool dense = kind.linearization == Linearization::dense;
  const scan::Choice choice = scan::choose(config.scan, job, true);
  if (dense && job.dim > 0)
    return scan::modelled_ns(job, choice, true) < scan::modelled_ns(job, scan::choose(config.scan, job, false), false);
  // Blocks of many steps share weights that no cache keeps; those of a fused pass would be short.
  if (!dense && fused_block_length(2 * dim, job.real_bytes) < 8) return false;
  // A sweep gives threads whole groups, separate passes give them blocks of steps. Chunks mean to evaluate twice.
  return choice.chunks == 1 && groups(choice, job.batch) >= job.threads;
}

bool can_march(const SolverKind& kind, deck::SolverConfig config, const scan::Job& job, long dim, long time_ranks) {
  config.sigma2_adaptive = false;
  return fuses(kind, config, job, dim, time_ranks);
}

Linearization form_of(const SolverKind& kind, const scan::Job& job, const scan::Choice& choice, bool fused) {
  return fused && job.factored && choice.chunks == 1 ? Linearization::factored : kind.linearization;
}

bool fused_drops(const scan::Choice& choice, long batch, int threads) { return groups(choice, batch) > threads; }

long fused_block_length(long components, double real_bytes) {
  constexpr double cache = 131072;  // of a second-level cache that also holds weights, states and work memory
  long steps = block_steps;
  while (steps > 2 && double(steps * components * lane_width) * real_bytes > cache) steps /= 2;
  return steps;
}

template <class Real>
FusedPass<Real>::FusedPass(const deck::SolverConfig& config, std::shared_ptr<const systems::System<Real>> system,
                           Linearization form, const Guess<Real>& guess, const Frame& frame, const scan::Active& active,
                           const FusedArrays<Real>& arrays, const Tolerances& tolerances,
                           std::unique_ptr<FusedScan> scan)
    : config_(config),
      frame_(frame),
      active_(active),
      arrays_(arrays),
      scan_(std::move(scan)),
      update_{frame,
              active,
              guess,
              config.guard,
              static_cast<Real>(overflow),
              arrays.states,
              arrays.residual,
              arrays.moved,
              arrays.resets,
              double(arrays.states.sides[0].size()) * sizeof(Real) > streamed_bytes},
      tolerances_(tolerances),
      passed_(tolerances.size() * static_cast<std::size_t>(frame.map.groups * lane_width)) {
  for (int side : {0, 1}) {
    const systems::Evaluation<Real> args{frame.map,     active,          arrays.states.sides[side],
                                         arrays.inputs, arrays.residual, arrays.jacobian,
                                         arrays.worst,  arrays.projected};
    differentiate_[side] = system->evaluate_blocks(form, args);
    value_[side] = system->evaluate_blocks(Linearization::zero, args);
    if (form == Linearization::factored) recur_ = system->recur_blocks(args);
  }
  if (recur_) before_ = make_view<Matrix<Real>>("increments before", scan::buffers(), system->state_dim() * lane_width);
  for (const int side : {0, 1}) {
    march_update_.push_back(update_);
    march_update_.back().streams = false;
    StatePanels<Real>& in_place = march_update_.back().states;
    in_place.sides[0] = in_place.sides[1] = arrays.states.sides[side];
    in_place.side = {};
  }
}

template <class Real>
long FusedPass<Real>::settled(long group) const {
  return active_.settled_steps(frame_.map, group);
}

/// Settled steps of a lane.
template <class Real>
long FusedPass<Real>::settled_of(long lane) const {
  if (active_.settled.extent(0) == 0 || lane >= frame_.map.lanes()) return 0;
  const long steps = active_.settled(frame_.map.sequence_of(lane)) - frame_.map.chunk_of(lane) * frame_.map.steps;
  return std::clamp(steps, 0L, frame_.map.steps);
}

/// Before a group's first block of a pass: what is known of its lanes is of the pass before.
template <class Real>
void FusedPass<Real>::renew(const scan::StepBlock& block) const {
  if (block.begin != settled(block.group)) return;
  for (int w = 0; w < lane_width; ++w) {
    const long lane = block.group * lane_width + w;
    for (std::size_t which = 0; which < tolerances_.size(); ++which) passed(which, lane) = {block.begin, Real(0)};
    // The block may begin within one of the evaluation's blocks.
    arrays_.worst(block.group, block.begin / block_steps, w) = Real(0);
    arrays_.moved(block.group, block.begin / block_steps, w) = Real(0);
    arrays_.resets(block.group, block.begin / block_steps, w) = 0;
  }
}

/// Moves the lanes' fronts through a block whose residuals have just been made.
template <class Real>
void FusedPass<Real>::find_fronts(const scan::StepBlock& block) const {
  const scan::Panel<Real>& residual = arrays_.residual;
  for (std::size_t which = 0; which < tolerances_.size(); ++which)
    for (int w = 0; w < lane_width; ++w) {
      const long lane = block.group * lane_width + w;
      PassedSteps<Real>& front = passed(which, lane);
      if (front.steps != block.begin) continue;
      const Real worst = arrays_.worst(block.group, block.begin / block_steps, w);
      if (worst <= tolerances_[which]) {
        front = {block.end, larger(front.largest, worst)};
        continue;
      }
      for (const long settled = settled_of(lane); front.steps < block.end; ++front.steps) {
        Real here(0);
        for (int i = 0; i < static_cast<int>(residual.extent(2)) && front.steps >= settled; ++i)
          here = larger(here, magnitude(residual(block.buffer, front.steps - block.begin, i, w)));
        if (!(here <= tolerances_[which])) break;
        front.largest = larger(front.largest, here);
      }
    }
}

template <class Real>
void FusedPass<Real>::look(const scan::StepBlock& block) const {
  renew(block);
  value_[arrays_.states.side_of(block.group)](block);
  find_fronts(block);
}

/// r_t and A_t of a block's steps, from the present states.
template <class Real>
void FusedPass<Real>::linearize(const scan::StepBlock& block) const {
  differentiate_[arrays_.states.side_of(block.group)](block);
  if (config_.damping_factor == 0 && !config_.clip_jacobians) return;
  const ShapeJacobian<Real> shape{frame_.map, arrays_.jacobian, static_cast<Real>(1 - config_.damping_factor),
                                  config_.clip_jacobians};
  shape.rows(block.buffer, 0, block.steps());
}

template <class Real>
void FusedPass<Real>::fill(const scan::StepBlock& block) const {
  renew(block);
  linearize(block);
  find_fronts(block);
  const scan::Panel<Real>& jacobian = arrays_.jacobian;
  const scan::Panel<Real>& residual = arrays_.residual;
  for (int w = 0; w < lane_width; ++w) {
    const long front = settled_of(block.group * lane_width + w);
    for (long k = block.begin; k < std::min(block.end, front); ++k) {
      const long row = k - block.begin;
      for (int i = 0; i < static_cast<int>(residual.extent(2)); ++i) residual(block.buffer, row, i, w) = Real(0);
      for (int i = 0; i < static_cast<int>(jacobian.extent(2)); ++i) jacobian(block.buffer, row, i, w) = Real(0);
    }
  }
  if (!recur_) return;
  Real* const before = &before_(block.buffer, 0);
  if (block.begin == settled(block.group)) std::fill_n(before, before_.extent(1), Real(0));
  recur_(block, before);
}

template <class Real>
void FusedPass<Real>::take(const scan::StepBlock& block) const {
  update_.steps(block, 0);
  if (update_.streams && block.end == frame_.map.steps) end_of_streams();
}

template <class Real>
void FusedPass<Real>::start() {
  const StatePanels<Real>& states = arrays_.states;
  const std::size_t row = states.sides[0].extent(2) * lane_width;
  for (long group = 0; group < frame_.map.groups; ++group)
    std::copy_n(&states.present(group)(group, 0, 0, 0), row, &states.next(group)(group, 0, 0, 0));
}

template <class Real>
void FusedPass<Real>::look(bool last) {
  const scan::LaneMap& map = frame_.map;
  moving_.assign(active_.sequences.data(), active_.sequences.data() + active_.sequences.size());
  if (last) {
    const Kokkos::Experimental::UniqueToken<HostExec> token;
    const long each = static_cast<long>(arrays_.residual.extent(1));
    over_blocks<HostExec>("look at blocks", map, 1, [&](long index) {
      const BlockItem item(index, map);
      if (!active_.group(map, item.group) || settled(item.group) >= item.end) return;
      const long buffer = token.acquire();
      for (long begin = item.begin; begin < item.end; begin += each)
        value_[arrays_.states.side_of(item.group)]({item.group, begin, std::min(begin + each, item.end), buffer});
      token.release(static_cast<int>(buffer));
    });
  } else if (scan_->summarises()) {
    scan_->summarise(active_, *this);
  } else {
    scan_->finish(active_, *this);
  }
}

template <class Real>
std::vector<PassedSteps<Real>> FusedPass<Real>::fronts(std::size_t which) const {
  const scan::LaneMap& map = frame_.map;
  std::vector<PassedSteps<Real>> fronts(static_cast<std::size_t>(map.batch));
  for (long slot = 0; slot < map.batch; ++slot) {
    PassedSteps<Real>& all = fronts[static_cast<std::size_t>(slot)];
    for (long lane = slot; lane < map.lanes(); lane += map.batch) {
      // Groups that are settled as a whole are not looked at any more.
      const PassedSteps<Real>& here = passed(which, lane);
      const long held = map.steps_of(lane);
      all.steps += std::min(here.steps, held);
      all.largest = larger(all.largest, here.largest);
      if (here.steps < held) break;
    }
  }
  return fronts;
}

template <class Real>
void FusedPass<Real>::step(const std::vector<long>& fronts) {
  const scan::LaneMap& map = frame_.map;
  if (scan_->summarises()) {
    moving_.assign(active_.sequences.data(), active_.sequences.data() + active_.sequences.size());
    scan_->finish(active_, *this);
  }
  Kokkos::parallel_for("change sides", Kokkos::RangePolicy<HostExec>(0, map.groups), [&](long group) {
    if (!active_.group(map, group)) return;
    const StatePanels<Real>& states = arrays_.states;
    for (int w = 0; w < lane_width; ++w) {
      const long lane = group * lane_width + w;
      if (lane >= map.lanes()) break;
      const long slot = map.sequence_of(lane);
      if (!moving_[static_cast<std::size_t>(slot)]) continue;
      // All of a sequence that has converged, and what is settled now of the others; row 0 comes before the first step.
      long row = 0, last = map.steps;
      if (active_.sequence(slot)) {
        if (fronts.empty()) continue;
        const long begin = map.chunk_of(lane) * map.steps;
        row = std::max(0L, active_.settled(slot) - begin + 1);  // both sides agree before
        last = std::min(last, fronts[static_cast<std::size_t>(slot)] - begin);
      }
      for (long k = row; k <= last; ++k)
        for (int i = 0; i < static_cast<int>(arrays_.residual.extent(2)); ++i)
          states.next(group)(group, k, i, w) = states.present(group)(group, k, i, w);
      for (long block = 0; (block + 1) * block_steps <= last; ++block) {  // no pass looks at it again
        arrays_.moved(group, block, w) = Real(0);
        arrays_.resets(group, block, w) = 0;
      }
    }
    states.side(group) = 1 - states.side(group);
  });
  for (std::size_t slot = 0; slot < fronts.size(); ++slot)
    if (active_.settled.extent(0) > 0) active_.settled(slot) = fronts[slot];
}

template <class Real>
void FusedPass<Real>::gather() {
  const StatePanels<Real>& states = arrays_.states;
  const std::size_t row = states.sides[0].extent(2) * lane_width;
  Kokkos::parallel_for("gather states", Kokkos::RangePolicy<HostExec>(0, frame_.map.groups), [&](long group) {
    if (states.side(group) == 0) return;
    for (long k = 0; k <= frame_.map.steps; ++k)
      std::copy_n(&states.sides[1](group, k, 0, 0), row, &states.sides[0](group, k, 0, 0));
    states.side(group) = 0;
  });
}

/// How far a group's march has come.
template <class Real>
struct FusedPass<Real>::GroupMarch {
  long front = 0;
  double worked = 0;
  bool stalled = false;
  Real settled[lane_width] = {}, residual[lane_width] = {}, moved[lane_width] = {};
  int resets[lane_width] = {};
};

template <class Real>
Marched FusedPass<Real>::march(long width, double patience) {
  const scan::LaneMap& map = frame_.map;
  std::vector<GroupMarch> groups(static_cast<std::size_t>(map.groups));
  scan::for_each_group("march", map, active_, [&](long group, long buffer) {
    GroupMarch& march = groups[static_cast<std::size_t>(group)];
    march_group(march, group, buffer, width, patience);
    // Windows are evaluated wherever they begin: what is known of blocks would mislead passes that come after.
    for (long block = 0; block < blocks(map.steps); ++block)
      for (int w = 0; w < lane_width; ++w) arrays_.worst(group, block, w) = block == 0 ? march.residual[w] : Real(0);
  });
  Marched all;
  for (long slot = 0; slot < map.batch; ++slot) {
    const GroupMarch& march = groups[static_cast<std::size_t>(slot / lane_width)];
    const long w = slot % lane_width;
    all.fronts.push_back(std::min(march.front, map.steps_of(slot)));
    all.settled.push_back(double(march.settled[w]));
    all.residual.push_back(double(march.residual[w]));
    all.moved.push_back(double(march.moved[w]));
    all.resets.push_back(double(march.resets[w]));
    all.worked.push_back(march.worked);
    if (!active_.sequence(slot)) continue;
    all.stalled = all.stalled || march.stalled;
    active_.settled(slot) = all.fronts.back();
  }
  return all;
}

/// Residuals of the steps that a group's window holds: of each step and lane, those that do not count being 0, and how many
/// steps from the first on pass in all lanes, by either tolerance.
template <class Real>
struct FusedPass<Real>::Seen {
  using P = LanePack<Real>;
  P worst[block_steps];
  long passed[2] = {0, 0};

  P largest(long begin, long end) const {
    P most(Real(0));
    for (long row = begin; row < end; ++row) most = larger(most, worst[row]);
    return most;
  }
};

template <class Real>
typename FusedPass<Real>::Seen FusedPass<Real>::see(const scan::StepBlock& window,
                                                    const long (&held)[lane_width]) const {
  using P = LanePack<Real>;
  const long everywhere = *std::min_element(held, held + lane_width);
  const int dim = static_cast<int>(arrays_.residual.extent(2));
  Seen seen;
  for (long row = 0; row < window.steps(); ++row) {
    const P here = magnitude(scan::largest_magnitudes<P>(&arrays_.residual(window.buffer, row, 0, 0), dim));
    Real each[lane_width];
    store<P>(each, here);
    if (window.begin + row >= everywhere)
      for (int w = 0; w < lane_width; ++w)
        if (window.begin + row >= held[w]) each[w] = Real(0);
    seen.worst[row] = load<P>(each);
    const Real most = *std::max_element(each, each + lane_width);
    for (const std::size_t which : {0u, 1u})
      if (seen.passed[which] == row && most <= tolerances_[which]) ++seen.passed[which];
  }
  return seen;
}

/// The windows of one group, on the calling thread.
template <class Real>
void FusedPass<Real>::march_group(GroupMarch& march, long group, long buffer, long width, double patience) const {
  using P = LanePack<Real>;
  const scan::LaneMap& map = frame_.map;
  width = std::min(width, static_cast<long>(arrays_.residual.extent(1)));
  long held[lane_width];  // steps that count, of every lane
  for (int w = 0; w < lane_width; ++w) {
    const long lane = group * lane_width + w;
    held[w] = lane < map.lanes() && active_.sequence(map.sequence_of(lane)) ? map.steps_of(lane) : 0;
  }
  const long last = *std::max_element(held, held + lane_width);
  const Update<Real>& update = march_update_[static_cast<std::size_t>(arrays_.states.side_of(group))];
  P settled(Real(0)), residual(Real(0));
  long reached = 0;  // steps that have passed once
  while (march.front < last && !march.stalled) {
    const scan::StepBlock window{group, march.front, std::min(march.front + width, last), buffer};
    linearize(window);
    const Seen seen = see(window, held);
    const long n = window.steps();
    // Newton::find_window_fronts has the same rule for other windows.
    const long twice = std::min(seen.passed[0], std::max(0L, reached - window.begin));
    const long now = seen.passed[0] == n ? n : std::max(seen.passed[1], twice);
    settled = larger(settled, seen.largest(0, now));
    residual = seen.largest(now, n);
    march.front = window.begin + now;
    reached = window.begin + seen.passed[0];
    if (now == n) continue;

    const scan::StepBlock rest{group, march.front, window.end, buffer, now};
    if (recur_) {
      Real* const before = &before_(buffer, 0);
      std::fill_n(before, before_.extent(1), Real(0));
      recur_(rest, before);
    } else {
      scan_->through(rest);
    }
    const long block = rest.begin / block_steps;
    update.forget(group, block, 0);
    update.steps(rest, 0);
    for (int w = 0; w < lane_width; ++w) {
      march.moved[w] = std::max(march.moved[w], arrays_.moved(group, block, w));
      march.resets[w] += arrays_.resets(group, block, w);
    }
    march.worked += double(rest.steps());
    march.stalled = march.worked > patience * double(march.front + 4 * width);
  }
  store<P>(march.settled, settled);
  store<P>(march.residual, larger(settled, residual));
}

template class FusedPass<float>;
template class FusedPass<double>;

}  // namespace elkhorn::solvers
