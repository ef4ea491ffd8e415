#include "scan/clamped.hpp"

#include <stdexcept>

namespace elkhorn::scan {

namespace {

template <class Real>
struct SpreadBounds {
  LaneMap map;
  Matrix<Real> bounds;
  Panel<Real> each;

  KOKKOS_INLINE_FUNCTION void operator()(long lane) const {
    const long sequence = map.sequence_of(lane);  // padding too: its numbers are computed with, though never used
    for (std::size_t i = 0; i < bounds.extent(1); ++i)
      each(lane / lane_width, 0, i, lane % lane_width) = bounds(sequence, i);
  }
};

}  // namespace

template <class Real>
void spread_bounds(const LaneMap& map, const Matrix<Real>& bounds, StepBound<Real>& to) {
  if (long(bounds.extent(0)) != map.batch)
    throw std::invalid_argument("bounds of " + std::to_string(bounds.extent(0)) + " sequences for " +
                                std::to_string(map.batch));
  if (long(to.each.extent(0)) != map.groups || to.each.extent(2) != bounds.extent(1))
    to.each = make_view<Panel<Real>>("step bounds", map.groups, 1, bounds.extent(1), lane_width);
  Kokkos::parallel_for("spread bounds", Kokkos::RangePolicy<Exec>(0, map.batch > 0 ? map.groups * lane_width : 0),
                       SpreadBounds<Real>{map, bounds, to.each});
}

template <class Real>
ClampedFilter<Real>::ClampedFilter(Engine engine, const LaneMap& map, const KalmanDiagonal<Real>& filter,
                                   const StepBound<Real>& bound, const parallel::TimeLine& line)
    : variances_{filter.jacobian, filter.increment, filter.dim, filter.sigma2},
      means_{{filter.jacobian, filter.increment, filter.dim}, bound},
      variance_scan_(engine, map, variances_, line),
      mean_scan_(engine, map, means_, line) {}

template <class Real>
void ClampedFilter<Real>::run(const Active& active) const {
  variance_scan_.run(variances_, active);
  mean_scan_.run(means_, active);
}

template void spread_bounds(const LaneMap&, const Matrix<float>&, StepBound<float>&);
template void spread_bounds(const LaneMap&, const Matrix<double>&, StepBound<double>&);
template class ClampedFilter<float>;
template class ClampedFilter<double>;

}  // namespace elkhorn::scan
