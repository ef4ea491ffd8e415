/// How far an iteration may move the states: bounds on increments and the trust region σ², fixed or adaptive.
///
/// Increments are bounded inside the recurrence, |δ_{t,d}| ≤ κ · scale_d (scan/clamped.hpp), so that a blow-up cannot
/// spread. The scale of a coordinate is the rms of states that can be trusted: f at the guess, and the prefix whose
/// residuals are small already. States ahead of the front are not asked: a scale that they set feeds on itself.
///
/// `sigma2 = "adaptive"` rests on the bound (docs/solvers.md has the measurements):
///   dense     σ² is so large that the filter only keeps covariances from overflowing; the bound is the trust region
///   diagonal  σ²_t = σ₀² min(1, (θ/ρ_t)²) with the residual ρ_t of the step relative to the scale: steps that are far
///             from their solution are held back, so that states ahead of the front stay calm until it arrives
#pragma once

#include <limits>

#include "deck/case.hpp"
#include "parallel/time_line.hpp"
#include "scan/clamped.hpp"
#include "solvers/frame.hpp"
#include "solvers/kinds.hpp"

namespace elkhorn::solvers {

/// σ² of dense solvers with "adaptive", whose bounds do the rest, and of all that march, which need none.
inline constexpr double undamped_sigma2 = 1e12;

struct TrustModel {
  enum class Bound { none, absolute, relative };
  Bound bound = Bound::none;
  double factor = 0;     ///< the bound itself, or κ
  bool damped = false;   ///< a trust region at all
  bool by_step = false;  ///< σ² differs from step to step
  double sigma2 = 0;     ///< of all steps, or its largest value
  double calm = 0;       ///< θ
  bool mend = false;     ///< steps that overflowed or are rounding only count as solved

  TrustModel() = default;
  TrustModel(const SolverKind& kind, const deck::SolverConfig& config);
};

template <class Real>
class Trust {
 public:
  /// @param initial (B, D): s_0   @param line ranks that share the sequences: scales and prefixes are those of all steps
  Trust(const TrustModel& model, const Matrix<Real>& initial, const parallel::TimeLine& line);

  void restart();

  /// Bounds and regions for the next increments of the slots of `frame`, from the evaluation of their present states.
  /// @param frame in time: where slots are in their sequences   @param ends of the slots, on whichever rank
  /// @param residual (group, step, D, lane), may be mended   @param jacobian likewise, diagonal or dense or empty
  /// @param largest of each slot's residuals
  void observe(const Frame& frame, const scan::Active& active, const std::vector<long>& ends,
               const scan::Panel<Real>& states, const scan::Panel<Real>& residual, const scan::Panel<Real>& jacobian,
               const LaneNumbers<Real>& worst, const std::vector<double>& largest);

  /// What the scan elements take; views stay the same as long as `prepare` is not called.
  const scan::StepBound<Real>& bound() const { return bound_; }
  const scan::TrustRegion<Real>& region() const { return region_; }
  /// Allocates for a frame, of which this rank holds the part that `line` says.
  void prepare(const scan::LaneMap& map, const parallel::TimeLine& line);

  bool adaptive() const { return model_.by_step || model_.mend; }
  /// Residuals up to this multiple of the states before and after a step are taken for zero.
  Real dead_zone() const { return model_.mend ? Real(0.5) * std::numeric_limits<Real>::epsilon() : Real(0); }
  bool bounded() const { return model_.bound != TrustModel::Bound::none; }

  /// For histories: smallest, median and largest σ² over the steps of active slots, and bounded states of each slot.
  std::vector<double> regions(const Frame& frame, const scan::Active& active) const;
  std::vector<double> bounded_states(const Frame& frame, const scan::Panel<Real>& increment) const;

 private:
  void agree_on_prefix(const Frame& frame, const std::vector<long>& ends);
  void add_up_ranks();

  TrustModel model_;
  parallel::TimeLine line_;
  Matrix<Real> initial_;  ///< (B, D)
  scan::StepBound<Real> bound_;
  scan::TrustRegion<Real> region_;

  // of sequences
  Matrix<double> sums_;  ///< Σ s² over the trusted prefix, s_0 included
  Matrix<Real> scales_;
  Vector<long> trusted_;  ///< steps of the trusted prefix
  Vector<long> counted_;  ///< states in the sums
  Vector<Real> reach_;    ///< max_d scale
  Vector<int> known_;     ///< the scale at the guess is known
  std::vector<double> caution_, best_;
  std::vector<int> waiting_;
  // of the frame
  scan::Panel<double> lane_sums_;
  Vector<long> passed_;    ///< trusted prefix by the last evaluation
  Matrix<double> totals_;  ///< (slot, D + 1): sums of squares to be added, and how many steps they are of
  Matrix<Real> slot_bounds_, slot_sigma2_;
  scan::StepBound<Real> lane_sigma2_;
};

}  // namespace elkhorn::solvers
