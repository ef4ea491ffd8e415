/// The Rauch–Tung–Striebel smoother of the damped step: the exact Levenberg–Marquardt increment
///
///   argmin over δ of  Σ_t |δ_t − A_t δ_{t−1} + r_t|² + (1/σ²) Σ_t |δ_t|²,   δ_0 = 0
///
/// where the filter alone (the published ELK) looks at each residual's past only. A filter pass that keeps its
/// covariances is followed by a scan backward in time, which is an affine scan over reversed panels, so both passes
/// run on any engine, and along a time line. Source: Särkkä & García-Fernández, arXiv 1905.13002, section IV; arXiv 2407.19115, section 4.
#pragma once

#include <type_traits>

#include "scan/engines.hpp"

namespace elkhorn::scan {

/// Filter: KalmanDiagonal or KalmanDense. Costs three more Jacobian-sized panels than the filter.
template <class Filter>
class Smoother {
 public:
  using Real = typename Filter::Real;
  using Affine = std::conditional_t<std::is_same_v<Filter, KalmanDense<Real>>, AffineDense<Real>, AffineDiagonal<Real>>;

  /// `map` is of this rank's segment of `line`.
  Smoother(Engine engine, const LaneMap& map, const Filter& filter,
           const parallel::TimeLine& line = parallel::TimeLine());

  /// Replaces r_t by the smoothed δ_t in the filter's increment panel for all active sequences. Collective over the line.
  void run(const Active& active) const;

 private:
  LaneMap map_;
  Filter filter_;
  Affine backward_;
  Scan<Filter> forward_scan_;
  Scan<Affine> backward_scan_;
  parallel::TimeLine backward_line_;
  Matrix<Real> workspace_;
  Matrix<Real> own_edge_, next_edge_;  ///< of this rank's first step, and of the step after its last one, if elsewhere
  Panel<Real> next_;
};

extern template class Smoother<KalmanDiagonal<float>>;
extern template class Smoother<KalmanDiagonal<double>>;
extern template class Smoother<KalmanDense<float>>;
extern template class Smoother<KalmanDense<double>>;

}  // namespace elkhorn::scan
