#include "scan/smoother.hpp"

#include <stdexcept>

#include "scan/engines_impl.hpp"

namespace elkhorn::scan {

namespace {

/// Where step t of a sequence is stored.
struct Place {
  long group, step;
  int lane;
};
KOKKOS_INLINE_FUNCTION Place place(const LaneMap& map, long t, long sequence) {
  const long lane = t / map.steps * map.batch + sequence;
  return {lane / lane_width, t % map.steps, static_cast<int>(lane % lane_width)};
}

/// What the step before this rank's first one needs to know of it: (sequence, A | filtered δ | σ²).
template <class Filter>
struct TakeEdge {
  using Real = typename Filter::Real;

  LaneMap map;
  Filter filter;
  Matrix<Real> edge;

  KOKKOS_INLINE_FUNCTION void operator()(long sequence) const {
    const Place first = place(map, 0, sequence);
    const auto a = strip<Real>(filter.jacobian, first.group, 0, first.lane);
    const auto mean = strip<Real>(filter.increment, first.group, 0, first.lane);
    const int entries = static_cast<int>(filter.jacobian.extent(2));
    for (int i = 0; i < entries; ++i) edge(sequence, i) = a[i];
    for (int i = 0; i < filter.dim; ++i) edge(sequence, entries + i) = mean[i];
    edge(sequence, entries + filter.dim) = filter.sigma2.template at<Real>(Site{first.group, 0, first.lane});
  }
};

/// What has arrived of it, laid out as panels are, so that the same instructions make the same bits of it.
template <class Real>
struct PutEdge {
  Matrix<Real> edge;
  Panel<Real> panel;  ///< out (group of sequences, 1, A | δ | σ², lane)

  KOKKOS_INLINE_FUNCTION void operator()(long sequence) const {
    for (int i = 0; i < static_cast<int>(edge.extent(1)); ++i)
      panel(sequence / lane_width, 0, i, sequence % lane_width) = edge(sequence, i);
  }
};

/// Fills the backward recurrence, time reversed: with P⁻_{t+1} = A_{t+1} P_t A_{t+1}ᵀ + I and the gain
/// G_t = P_t A_{t+1}ᵀ (P⁻_{t+1})⁻¹, smoothed δ_t = G_t δ_{t+1} + m_t − G_t m⁻_{t+1}. The predicted mean is recovered from
/// the filtered one, m⁻ = m + P⁻ m / σ², since the filter has overwritten the residuals.
template <class Filter, class Affine>
struct PrepareBackward {
  using Real = typename Filter::Real;

  LaneMap map;
  Active active;
  Filter filter;
  Affine backward;
  Panel<Real> edge;  ///< of the step after the last one (PutEdge); empty: there is none
  Matrix<Real> workspace;
  detail::Token token;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const long t = index / map.batch, sequence = index % map.batch;
    if (!active.sequence(sequence)) return;
    const int D = filter.dim, entries = static_cast<int>(filter.jacobian.extent(2));
    const Place here = place(map, t, sequence), there = place(map, map.length - 1 - t, sequence);
    const auto mean = strip<Real>(filter.increment, here.group, here.step, here.lane);
    const auto gain = strip<Real>(backward.jacobian, there.group, there.step, there.lane);
    const auto offset = strip<Real>(backward.increment, there.group, there.step, there.lane);  // minus the bias
    const auto p = strip<Real>(filter.covariances, here.group, here.step, here.lane);
    if (t + 1 < map.length) {
      const Place next = place(map, t + 1, sequence);
      prepare(p, mean, strip<Real>(filter.jacobian, next.group, next.step, next.lane),
              strip<Real>(filter.increment, next.group, next.step, next.lane),
              filter.sigma2.template at<Real>(Site{next.group, next.step, next.lane}), gain, offset);
    } else if (edge.extent(0) > 0) {
      const auto next = strip<Real>(edge, sequence / lane_width, 0, static_cast<int>(sequence % lane_width));
      prepare(p, mean, next, next.from(entries), next[entries + D], gain, offset);
    } else {
      for (int i = 0; i < entries; ++i) gain.set(i, Real(0));
      for (int i = 0; i < D; ++i) offset.set(i, -mean[i]);
    }
  }

  /// @param p, mean  filtered, of a step   @param a, next_mean, s2  of the step after it
  using Numbers = PanelStrip<Real>;
  KOKKOS_INLINE_FUNCTION void prepare(const Numbers& p, const Numbers& mean, const Numbers& a, const Numbers& next_mean,
                                      Real s2, const Numbers& gain, const Numbers& offset) const {
    const int D = filter.dim;
    if constexpr (!std::is_same_v<Filter, KalmanDense<Real>>) {
      for (int i = 0; i < D; ++i) {
        const Real predicted = a[i] * p[i] * a[i] + Real(1);
        const Real g = p[i] * a[i] / predicted;
        gain.set(i, g);
        offset.set(i, g * (next_mean[i] + predicted * next_mean[i] / s2) - mean[i]);
      }
    } else {
      const int id = token.acquire();
      const auto work = detail::work_strip<Real>(workspace, id, 0);
      const auto A = block(a, D, D), P = block(p, D, D), G = block(gain, D, D);
      const auto AP = block(work, D, D), predicted = block(work.from(D * D), D, D),
                 factors = block(work.from(2 * D * D), D, D);
      filter.predict_covariance(A, P, AP, predicted);  // AP holds A_{t+1} P_t
      for (int i = 0; i < D; ++i)
        for (int j = 0; j < D; ++j) factors.set(i, j, predicted(i, j));
      solve_spd(factors, AP);  // (P⁻)⁻¹ A P, the gain transposed
      const auto predicted_mean = work.from(2 * D * D);
      for (int i = 0; i < D; ++i) {
        Real sum = 0;
        for (int j = 0; j < D; ++j) {
          sum += predicted(i, j) * next_mean[j];
          G.set(i, j, AP(j, i));
        }
        predicted_mean.set(i, next_mean[i] + sum / s2);
      }
      for (int i = 0; i < D; ++i) {
        Real sum = -mean[i];
        for (int j = 0; j < D; ++j) sum += AP(j, i) * predicted_mean[j];
        offset.set(i, sum);
      }
      token.release(id);
    }
  }
};

/// Reversed increments back into their places.
template <class Real>
struct Reverse {
  LaneMap map;
  Active active;
  Panel<Real> from, to;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const long t = index / map.batch, sequence = index % map.batch;
    if (!active.sequence(sequence)) return;
    const Place here = place(map, t, sequence), there = place(map, map.length - 1 - t, sequence);
    for (int i = 0; i < static_cast<int>(to.extent(2)); ++i)
      to(here.group, here.step, i, here.lane) = from(there.group, there.step, i, there.lane);
  }
};

template <class Real>
Panel<Real> like(const char* label, const Panel<Real>& panel) {
  return make_view<Panel<Real>>(label, panel.extent(0), panel.extent(1), panel.extent(2), panel.extent(3));
}

template <class Filter>
Filter with_covariances(Filter filter) {
  if constexpr (std::is_same_v<Filter, KalmanDense<typename Filter::Real>>)
    if (filter.bound.any())  // predicted means are recovered from filtered ones, which a bound would have changed
      throw std::invalid_argument("the smoother cannot bound increments inside the recurrence; bound them afterwards");
  filter.covariances = like("filtered covariances", filter.jacobian);
  return filter;
}

}  // namespace

template <class Filter>
Smoother<Filter>::Smoother(Engine engine, const LaneMap& map, const Filter& filter, const parallel::TimeLine& line)
    : map_(map),
      filter_(with_covariances(filter)),
      backward_{like("smoother gains", filter.jacobian), like("smoother offsets", filter.increment), filter.dim},
      forward_scan_(engine, map, filter_, line),
      backward_scan_(engine, map, backward_, line.reversed()),
      backward_line_(line.reversed()) {
  // Padding steps come last in time here too; the backward scan reads them, so they must be numbers.
  Kokkos::deep_copy(backward_.jacobian, Real(0));
  Kokkos::deep_copy(backward_.increment, Real(0));
  if (std::is_same_v<Filter, KalmanDense<Real>>)
    workspace_ = make_view<Matrix<Real>>("smoother workspace", detail::Token().size(), 3 * filter.dim * filter.dim);
  const long numbers = long(filter.jacobian.extent(2)) + filter.dim + 1;
  if (line.has_previous()) own_edge_ = make_view<Matrix<Real>>("own edge", map.batch, numbers);
  if (!line.has_next()) return;
  next_edge_ = make_view<Matrix<Real>>("next edge", map.batch, numbers);
  next_ = make_view<Panel<Real>>("next step", (map.batch + lane_width - 1) / lane_width, 1, numbers, lane_width);
}

template <class Filter>
void Smoother<Filter>::run(const Active& active) const {
  if (map_.length == 0 || map_.batch == 0) return;
  const Kokkos::RangePolicy<Exec> steps(0, map_.length * map_.batch);
  forward_scan_.run(filter_, active);
  if (own_edge_.extent(0) > 0)
    Kokkos::parallel_for("smoother edge", Kokkos::RangePolicy<Exec>(0, map_.batch),
                         TakeEdge<Filter>{map_, filter_, own_edge_});
  parallel::shift(backward_line_, own_edge_, next_edge_);
  if (next_edge_.extent(0) > 0)
    Kokkos::parallel_for("smoother next", Kokkos::RangePolicy<Exec>(0, map_.batch), PutEdge<Real>{next_edge_, next_});
  Kokkos::parallel_for("smoother gains", steps,
                       PrepareBackward<Filter, Affine>{map_, active, filter_, backward_, next_, workspace_, {}});
  backward_scan_.run(backward_, active);
  Kokkos::parallel_for("smoother reverse", steps, Reverse<Real>{map_, active, backward_.increment, filter_.increment});
}

template class Smoother<KalmanDiagonal<float>>;
template class Smoother<KalmanDiagonal<double>>;
template class Smoother<KalmanDense<float>>;
template class Smoother<KalmanDense<double>>;

}  // namespace elkhorn::scan
