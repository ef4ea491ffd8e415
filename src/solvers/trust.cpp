#include "solvers/trust.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace elkhorn::solvers {

namespace {

/// The constants of sigma2 = "adaptive", measured in docs/solvers.md: dense and diagonal linearizations.
namespace adaptive {
constexpr double dense_bound = 1;
constexpr double diagonal_bound = 2, diagonal_sigma2 = 3000, calm = 0.3;
/// σ² below which caution does not go, how many iterations without progress make it more careful, and what progress is.
constexpr double least_sigma2 = 100, progress = 0.8;
constexpr int patience = 10;
}  // namespace adaptive

/// Residuals below this share of the scale make a prefix trustworthy.
constexpr double trustworthy = 1e-3;
/// Coordinates that have not moved yet are bounded by this share of the largest scale.
constexpr double least_scale = 1e-3;
/// σ² where nothing is to be damped, and where nothing is to be believed.
constexpr double undamped = 1e30, frozen = 1e-6;

/// Σ over a lane's steps of f², where the scale at the guess is wanted, or of s² over steps newly trusted.
template <class Real>
struct SumSquares {
  Frame frame;
  scan::Active active;
  scan::Panel<Real> states, residual;
  Vector<int> known;
  Vector<long> trusted, passed;
  scan::Panel<double> sums;  ///< out (group, 1, D, lane)

  KOKKOS_INLINE_FUNCTION void operator()(long lane) const {
    const long group = lane / lane_width, steps = frame.map.steps_of(lane);
    const int w = static_cast<int>(lane % lane_width), dim = static_cast<int>(states.extent(2));
    for (int i = 0; i < dim; ++i) sums(group, 0, i, w) = 0;
    const long slot = frame.map.sequence_of(lane);
    if (steps == 0 || !active.sequence(slot)) return;
    const long t0 = frame.time_of(lane), b = frame.sequence_of(lane);
    const bool fresh = !known(b);
    const long from = fresh ? 0 : (trusted(b) > t0 ? trusted(b) - t0 : 0);
    constexpr double most = Limits<float>::most;
    const long to = fresh ? steps : (passed(slot) - t0 < steps ? passed(slot) - t0 : steps);
    for (long k = from; k < to; ++k)
      for (int i = 0; i < dim; ++i) {
        const double s = static_cast<double>(states(group, k + 1, i, w));
        const double x = fresh ? s - static_cast<double>(residual(group, k, i, w)) : s;
        if (x * x <= most) sums(group, 0, i, w) += x * x;
      }
  }
};

/// The trusted prefix of each slot by the present residuals.
template <class Real>
struct ExtendPrefix {
  Frame frame;
  scan::Active active;
  scan::Panel<Real> residual;
  LaneNumbers<Real> worst;
  Vector<int> known;
  Vector<Real> reach;
  Vector<long> trusted;
  Vector<long> passed;  ///< out

  KOKKOS_INLINE_FUNCTION void operator()(long slot) const {
    const long b = frame.sequence_of(slot), begin = frame.time_of(slot);
    passed(slot) = trusted(b);
    if (!active.sequence(slot) || !known(b)) return;
    const PassedSteps<Real> now(frame.map, residual, worst, slot, static_cast<Real>(trustworthy) * reach(b));
    if (begin + now.steps > trusted(b)) passed(slot) = begin + now.steps;
  }
};

/// Sums of lanes into sums of slots, and how many steps they are of.
template <class Real>
struct AddUpLanes {
  Frame frame;
  scan::Active active;
  scan::Panel<double> lane_sums;
  Vector<int> known;
  Vector<long> trusted, passed;
  bool starts;            ///< whether this rank holds the first steps: it counts those of all
  Matrix<double> totals;  ///< out (slot, D + 1)

  KOKKOS_INLINE_FUNCTION void operator()(long slot) const {
    const long b = frame.sequence_of(slot);
    const int dim = static_cast<int>(totals.extent(1)) - 1;
    for (int i = 0; i <= dim; ++i) totals(slot, i) = 0;
    if (!active.sequence(slot)) return;
    long steps = 0;
    for (long c = 0; c < frame.map.chunks; ++c) {
      const long lane = c * frame.map.batch + slot;
      steps += frame.map.steps_of(lane);
      for (int i = 0; i < dim; ++i) totals(slot, i) += lane_sums(lane / lane_width, 0, i, lane % lane_width);
    }
    totals(slot, dim) = static_cast<double>(!known(b) ? steps : starts ? passed(slot) - trusted(b) : 0);
  }
};

/// Sums of slots into scales of sequences, and those into bounds of slots.
template <class Real>
struct Rescale {
  Frame frame;
  scan::Active active;
  Real factor;  ///< κ
  Matrix<Real> initial;
  Matrix<double> totals;
  Vector<long> passed;
  Matrix<double> sums;
  Matrix<Real> scales;
  Vector<long> trusted, counted;
  Vector<Real> reach;
  Vector<int> known;
  Matrix<Real> bounds;  ///< out (slot, D)

  KOKKOS_INLINE_FUNCTION void operator()(long slot) const {
    const long b = frame.sequence_of(slot);
    const int dim = static_cast<int>(scales.extent(1));
    if (active.sequence(slot)) {
      const bool fresh = !known(b);
      const double steps = totals(slot, dim);
      if (!fresh) counted(b) += static_cast<long>(steps);
      Real largest(0);
      for (int i = 0; i < dim; ++i) {
        const double total = totals(slot, i);
        if (fresh) {
          const double s = static_cast<double>(initial(b, i));
          scales(b, i) = static_cast<Real>(sqrt(total / (steps > 0 ? steps : 1)));
          sums(b, i) = s * s;
        } else {
          sums(b, i) += total;
        }
        scales(b, i) = larger(scales(b, i), static_cast<Real>(sqrt(sums(b, i) / static_cast<double>(counted(b)))));
        largest = larger(largest, scales(b, i));
      }
      known(b) = 1;
      if (!fresh) trusted(b) = passed(slot);
      reach(b) = largest;
    }
    const Real least = static_cast<Real>(least_scale) * reach(b);
    for (int i = 0; i < dim; ++i)
      bounds(slot, i) = reach(b) > Real(0) ? factor * larger(scales(b, i), least) : Limits<Real>::infinity;
  }
};

/// σ²_t of every step: the slot's largest, less where the residual is large for the scale.
template <class Real>
struct SetRegions {
  using P = LanePack<Real>;
  Frame frame;
  scan::Active active;
  bool starts;                  ///< whether this rank holds the first steps
  Real calm;                    ///< κ θ: bounds are κ times the scale
  scan::StepBound<Real> bound;  ///< of each lane
  scan::StepBound<Real> most;   ///< the largest σ² of each lane
  scan::Panel<Real> residual;
  scan::Panel<Real> regions;  ///< out (group, step, 1, lane)

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const int first = static_cast<int>(index % items_per_group);
    const BlockItem item(index / items_per_group, frame.map);
    if (!active.group(frame.map, item.group)) return;
    const int dim = static_cast<int>(residual.extent(2));
    const auto limit = bound.template of<P>({item.group, 0, first});
    const P largest = most.template of<P>({item.group, 0, first})[0];
    for (long k = item.begin; k < item.end; ++k) {
      const auto r = scan::strip<P>(residual, item.group, k, first);
      P ratio(Real(0));
      for (int i = 0; i < dim; ++i) ratio = larger(ratio, magnitude(r[i]) / limit[i]);
      const P excess = larger(ratio * P(Real(1) / calm), P(Real(1)));
      // what is a million times too large, or not a number, is not to be believed at all
      const P region = select_less(ratio, P(Real(1e6)), largest / (excess * excess), P(Real(frozen)));
      scan::strip<P>(regions, item.group, k, first).set(0, region);
      if (k == 0 && starts)
        for (int w = 0; w < width_of<P>; ++w)
          if (frame.map.chunk_of(item.group * lane_width + first + w) == 0)
            regions(item.group, 0, 0, first + w) = Real(undamped);  // it follows from an exact state
    }
  }
};

/// Steps whose residual or Jacobian overflowed say nothing and are taken for solved; residuals that are rounding only are
/// no reason to move (chaos amplifies them).
template <class Real>
struct Mend {
  using P = LanePack<Real>;
  static constexpr Real broken = Real(1e8);
  Frame frame;
  scan::Active active;
  Real dead_zone;
  scan::Panel<Real> states, residual, jacobian;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const int first = static_cast<int>(index % items_per_group);
    const BlockItem item(index / items_per_group, frame.map);
    if (!active.group(frame.map, item.group)) return;
    const int dim = static_cast<int>(residual.extent(2)), entries = static_cast<int>(jacobian.extent(2));
    const P none(Real(0));
    for (long k = item.begin; k < item.end; ++k) {
      const auto before = scan::strip<P>(states, item.group, k, first),
                 now = scan::strip<P>(states, item.group, k + 1, first);
      const auto r = scan::strip<P>(residual, item.group, k, first);
      const auto a = scan::strip<P>(jacobian, item.group, k, first);
      P worst = none, state = none, steep = none;
      for (int i = 0; i < dim; ++i) {
        worst = larger(worst, magnitude(r[i]));
        state = larger(state, larger(magnitude(before[i]), magnitude(now[i])));
      }
      for (int i = 0; i < entries; ++i) steep = larger(steep, magnitude(a[i]));
      steep = larger(steep, worst);
      const P rounding = P(dead_zone) * state;
      for (int i = 0; i < dim; ++i) {
        const P kept = select_less_equal(steep, P(broken), r[i], none);
        r.set(i, select_less_equal(worst, rounding, none, kept));
      }
      Real each[width_of<P>];
      store<P>(each, steep);
      bool any = false;
      for (int w = 0; w < width_of<P>; ++w) any = any || !(each[w] <= broken);
      if (any)
        for (int i = 0; i < entries; ++i) a.set(i, select_less_equal(steep, P(broken), a[i], none));
    }
  }
};

/// States with a coordinate at its bound, one number a lane.
template <class Real>
struct CountBounded {
  Frame frame;
  scan::StepBound<Real> bound;
  scan::Panel<Real> increment;
  Vector<double> lanes;

  KOKKOS_INLINE_FUNCTION void operator()(long lane) const {
    const long group = lane / lane_width;
    const int w = static_cast<int>(lane % lane_width);
    const auto limit = bound.template of<Real>({group, 0, w});
    double count = 0;
    for (long k = 0; k < frame.map.steps_of(lane); ++k) {
      bool any = false;
      for (int i = 0; i < static_cast<int>(increment.extent(2)); ++i)
        any = any || magnitude(increment(group, k, i, w)) >= limit[i];
      count += any ? 1 : 0;
    }
    lanes(lane) = count;
  }
};

}  // namespace

TrustModel::TrustModel(const SolverKind& kind, const deck::SolverConfig& config) {
  const std::string absolute = "absolute:";
  damped = kind.damping == Damping::trust_region;
  if (config.step_bound.rfind(absolute, 0) == 0) {
    bound = Bound::absolute;
    factor = std::stod(config.step_bound.substr(absolute.size()));
  } else if (config.step_bound != "none") {
    bound = Bound::relative;
    factor = std::stod(config.step_bound);
  }
  if (!damped) return;
  if (!config.sigma2_adaptive) {
    sigma2 = config.sigma2.value();
    return;
  }
  bound = Bound::relative;
  const bool dense = kind.linearization == Linearization::dense;
  factor = dense ? adaptive::dense_bound : adaptive::diagonal_bound;
  sigma2 = dense ? undamped_sigma2 : adaptive::diagonal_sigma2;
  mend = dense;
  by_step = !dense;
  calm = adaptive::calm;
}

template <class Real>
Trust<Real>::Trust(const TrustModel& model, const Matrix<Real>& initial, const parallel::TimeLine& line)
    : model_(model), line_(line), initial_(initial) {
  if (model_.bound == TrustModel::Bound::absolute) bound_.value = static_cast<Real>(model_.factor);
  if (model_.damped) region_.value = static_cast<Real>(model_.sigma2);
  if (model_.bound != TrustModel::Bound::relative) return;
  const long batch = initial.extent(0), dim = initial.extent(1);
  sums_ = make_view<Matrix<double>>("sums", batch, dim);
  scales_ = make_view<Matrix<Real>>("scales", batch, dim);
  trusted_ = make_view<Vector<long>>("trusted", batch);
  counted_ = make_view<Vector<long>>("counted", batch);
  reach_ = make_view<Vector<Real>>("reach", batch);
  known_ = make_view<Vector<int>>("known", batch);
}

template <class Real>
void Trust<Real>::restart() {
  const std::size_t batch = initial_.extent(0);
  caution_.assign(batch, 1.0);
  best_.assign(batch, std::numeric_limits<double>::infinity());
  waiting_.assign(batch, 0);
  if (model_.bound != TrustModel::Bound::relative) return;
  Kokkos::deep_copy(Exec(), known_, 0);
  Kokkos::deep_copy(Exec(), trusted_, 0L);
  Kokkos::deep_copy(Exec(), counted_, 1L);
  Kokkos::deep_copy(Exec(), reach_, Real(0));
}

template <class Real>
void Trust<Real>::prepare(const scan::LaneMap& map, const parallel::TimeLine& line) {
  line_ = line;
  if (model_.bound != TrustModel::Bound::relative) return;
  const long dim = initial_.extent(1);
  lane_sums_ = make_view<scan::Panel<double>>("lane sums", map.groups, 1, dim, lane_width);
  passed_ = make_view<Vector<long>>("passed", map.batch);
  totals_ = make_view<Matrix<double>>("totals", map.batch, dim + 1);
  slot_bounds_ = make_view<Matrix<Real>>("slot bounds", map.batch, dim);
  scan::spread_bounds(map, slot_bounds_, bound_);
  if (!model_.by_step) return;
  slot_sigma2_ = make_view<Matrix<Real>>("slot sigma2", map.batch, 1);
  scan::spread_bounds(map, slot_sigma2_, lane_sigma2_);
  region_.each = make_view<scan::Panel<Real>>("sigma2", map.groups, map.steps, 1, lane_width);
}

/// A rank's prefix counts as far as those of all ranks before it are complete.
template <class Real>
void Trust<Real>::agree_on_prefix(const Frame& frame, const std::vector<long>& ends) {
  const auto passed = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), passed_);
  const auto begins = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), frame.begins);
  const auto lengths = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), frame.map.lengths);
  std::vector<double> first(passed.extent(0));  // that is not in it, of all ranks the smallest
  for (std::size_t j = 0; j < first.size(); ++j) {
    const long held = lengths.extent(0) == 0 ? frame.map.length : lengths(j);
    first[j] = -double(passed(j) < begins(j) + held ? passed(j) : ends[j]);
  }
  first = line_.max(first);
  for (std::size_t j = 0; j < first.size(); ++j) passed(j) = static_cast<long>(-first[j]);
  Kokkos::deep_copy(Exec(), passed_, passed);
  Exec().fence();
}

template <class Real>
void Trust<Real>::add_up_ranks() {
  const auto totals = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), totals_);
  std::vector<double> all(totals.data(), totals.data() + totals.size());
  all = line_.sum(all);
  std::copy(all.begin(), all.end(), totals.data());
  Kokkos::deep_copy(Exec(), totals_, totals);
  Exec().fence();
}

template <class Real>
void Trust<Real>::observe(const Frame& frame, const scan::Active& active, const std::vector<long>& ends,
                          const scan::Panel<Real>& states, const scan::Panel<Real>& residual,
                          const scan::Panel<Real>& jacobian, const LaneNumbers<Real>& worst,
                          const std::vector<double>& largest) {
  if (model_.bound != TrustModel::Bound::relative) return;
  const scan::LaneMap& map = frame.map;
  const Kokkos::RangePolicy<Exec> slots(0, map.batch);
  Kokkos::parallel_for("trusted prefix", slots,
                       ExtendPrefix<Real>{frame, active, residual, worst, known_, reach_, trusted_, passed_});
  if (!line_.whole()) agree_on_prefix(frame, ends);
  Kokkos::parallel_for("sum squares", Kokkos::RangePolicy<Exec>(0, map.lanes()),
                       SumSquares<Real>{frame, active, states, residual, known_, trusted_, passed_, lane_sums_});
  Kokkos::parallel_for(
      "add up lanes", slots,
      AddUpLanes<Real>{frame, active, lane_sums_, known_, trusted_, passed_, line_.is_first(), totals_});
  if (!line_.whole()) add_up_ranks();
  Kokkos::parallel_for("rescale", slots,
                       Rescale<Real>{frame, active, static_cast<Real>(model_.factor), initial_, totals_, passed_, sums_,
                                     scales_, trusted_, counted_, reach_, known_, slot_bounds_});
  scan::spread_bounds(map, slot_bounds_, bound_);
  if (model_.mend)
    over_blocks("mend", map, items_per_group, Mend<Real>{frame, active, dead_zone(), states, residual, jacobian});
  if (!model_.by_step) return;

  // Where residuals fall no more for rounding, a narrower region lets float32 come closer.
  const auto reach = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), reach_);
  const auto sequences = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), frame.sequences);
  const auto sigma2 = Kokkos::create_mirror_view(slot_sigma2_);
  for (std::size_t j = 0; j < largest.size(); ++j) {
    const auto b = static_cast<std::size_t>(sequences(j));
    const double rounding = 1e4 * double(std::numeric_limits<Real>::epsilon()) * double(reach(b));
    if (!(largest[j] < rounding)) {
      caution_[b] = 1;
      best_[b] = std::numeric_limits<double>::infinity();
      waiting_[b] = 0;
    } else if (largest[j] < adaptive::progress * best_[b]) {
      best_[b] = largest[j];
      waiting_[b] = 0;
    } else if (++waiting_[b] >= adaptive::patience) {
      caution_[b] = std::max(caution_[b] / 4, adaptive::least_sigma2 / adaptive::diagonal_sigma2);
      waiting_[b] = 0;
      best_[b] = largest[j];
    }
    sigma2(j, 0) = static_cast<Real>(model_.sigma2 * caution_[b]);
  }
  Kokkos::deep_copy(Exec(), slot_sigma2_, sigma2);
  scan::spread_bounds(map, slot_sigma2_, lane_sigma2_);
  over_blocks("set regions", map, items_per_group,
              SetRegions<Real>{frame, active, line_.is_first(),
                               static_cast<Real>(model_.factor > 0 ? model_.calm / model_.factor : 1), bound_,
                               lane_sigma2_, residual, region_.each});
}

template <class Real>
std::vector<double> Trust<Real>::regions(const Frame& frame, const scan::Active& active) const {
  const double one = static_cast<double>(region_.value);
  if (!model_.by_step) return {one, one, one};
  const auto each = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), region_.each);
  const auto flags = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), active.sequences);
  const auto lengths = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), frame.map.lengths);
  scan::LaneMap map = frame.map;
  std::vector<double> all;
  for (long lane = 0; lane < map.lanes(); ++lane) {
    const long slot = map.sequence_of(lane);
    if (!flags(slot)) continue;
    const long held = (lengths.extent(0) == 0 ? map.length : lengths(slot)) - map.chunk_of(lane) * map.steps;
    for (long k = 0; k < std::min(map.steps, held); ++k)
      if (k > 0 || map.chunk_of(lane) > 0 || !line_.is_first())
        all.push_back(double(each(lane / lane_width, k, 0, lane % lane_width)));
  }
  const auto extremes = std::minmax_element(all.begin(), all.end());
  const double none = std::numeric_limits<double>::lowest();
  const std::vector<double> ends =
      line_.max({all.empty() ? none : -*extremes.first, all.empty() ? none : *extremes.second});
  const double count = line_.sum({double(all.size())})[0];
  if (count == 0) return {one, one, one};
  double low = -ends[0], high = ends[1];
  if (line_.whole()) {
    const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
    std::nth_element(all.begin(), middle, all.end());
    return {low, *middle, high};
  }
  // The median over ranks: its logarithm by bisection, to six digits.
  for (int halving = 0; halving < 40 && high > low * (1 + 1e-6); ++halving) {
    const double middle = std::sqrt(low * high);
    const auto below = std::count_if(all.begin(), all.end(), [&](double x) { return x <= middle; });
    (line_.sum({double(below)})[0] > count / 2 ? high : low) = middle;
  }
  return {-ends[0], high, ends[1]};
}

template <class Real>
std::vector<double> Trust<Real>::bounded_states(const Frame& frame, const scan::Panel<Real>& increment) const {
  std::vector<double> out(static_cast<std::size_t>(frame.map.batch), 0.0);
  if (!bounded()) return out;
  const auto lanes = make_view<Vector<double>>("bounded", frame.map.lanes());
  Kokkos::parallel_for("count bounded", Kokkos::RangePolicy<Exec>(0, frame.map.lanes()),
                       CountBounded<Real>{frame, bound_, increment, lanes});
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), lanes);
  for (long lane = 0; lane < frame.map.lanes(); ++lane)
    out[static_cast<std::size_t>(frame.map.sequence_of(lane))] += host(lane);
  return out;
}

template class Trust<float>;
template class Trust<double>;

}  // namespace elkhorn::solvers
