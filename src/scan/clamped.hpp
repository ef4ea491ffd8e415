/// Increments bounded inside the recurrence, so that a blow-up cannot spread, for diagonal Jacobians: still associative
/// scans. docs/clamped-scan.md proves that the maps are closed under composition.
///
///   quasi-DEER, Jacobi, Picard   Scan<AffineDiagonalClamped>
///   quasi-ELK                    ClampedFilter: a scan of the variances, which fixes the gains, then a clamped one
#pragma once

#include "scan/engines.hpp"

namespace elkhorn::scan {

/// Bounds (sequence, component) spread over the lanes of `map`, into `to.each`, which is allocated where it does not
/// fit. Bounds must not be negative; infinity where there is none.
/// @throws std::invalid_argument where `bounds` is not for the sequences of `map`
template <class Real>
void spread_bounds(const LaneMap& map, const Matrix<Real>& bounds, StepBound<Real>& to);

/// 2^n
template <class Real>
KOKKOS_INLINE_FUNCTION constexpr Real two_to(int n) {
  Real x(1);
  for (; n > 0; --n) x *= Real(2);
  for (; n < 0; ++n) x /= Real(2);
  return x;
}

/// δ_t = clamp(a_t ∘ δ_{t−1} − r_t, −bound, bound).
///
/// The summary is the map x → clamp(a x + b, lo, hi), stored as (a, b, lo, hi) in tiles: the affine summary, and the
/// image of all numbers, on which maps act end by end. A constant has lo = hi, whatever its (a, b).
/// An increment that is not a number (a_t or r_t is not) becomes 0: a step that broke stops there.
template <class Real_>
struct AffineDiagonalClamped : AffineDiagonal<Real_> {
  using Real = Real_;
  using Affine = AffineDiagonal<Real_>;
  using Affine::components;
  using Affine::increment;
  using Affine::tile;

  StepBound<Real> bound;

  KOKKOS_INLINE_FUNCTION int summary_size() const { return 4 * tile; }

  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void advance(const X& x, Site at, int slot, const W&, bool emit) const {
    using P = typename X::Number;
    const auto a = this->template coefficient<P>(at, slot);
    const auto r = strip<P>(increment, at.group, at.step, at.lane).from(slot * tile);
    const auto limit = bound.template of<P>(at, slot * tile);
    for (int i = 0; i < components(slot); ++i) {
      const P next = bounded(a[i] * x[i] - r[i], -limit[i], limit[i]);
      x.set(i, next);
      if (emit) r.set(i, next);
    }
  }

  template <class X>
  KOKKOS_INLINE_FUNCTION void identity(const X& sum, int slot) const {
    using P = typename X::Number;
    Affine::identity(sum, slot);
    for (int i = 0; i < components(slot); ++i) {
      sum.set(2 * tile + i, -P(largest));
      sum.set(3 * tile + i, P(largest));
    }
  }

  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void append(const X& sum, Site at, int slot, const W&) const {
    using P = typename X::Number;
    const auto a = this->template coefficient<P>(at, slot);
    const auto r = strip<P>(increment, at.group, at.step, at.lane).from(slot * tile);
    const auto limit = bound.template of<P>(at, slot * tile);
    for (int i = 0; i < components(slot); ++i) {
      const P end = smaller(limit[i], P(largest));
      const P lo = bounded(a[i] * sum[2 * tile + i] - r[i], -end, end);
      const P hi = bounded(a[i] * sum[3 * tile + i] - r[i], -end, end);
      set_summary(sum, i, a[i] * sum[i], a[i] * sum[tile + i] - r[i], lo, hi);
    }
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void compose(const X& first, const Y& second, int slot, const W&) const {
    using P = typename X::Number;
    for (int i = 0; i < components(slot); ++i) {
      const P a = second[i], b = second[tile + i], end = second[2 * tile + i], other_end = second[3 * tile + i];
      const P lo = bounded(a * first[2 * tile + i] + b, end, other_end);
      const P hi = bounded(a * first[3 * tile + i] + b, end, other_end);
      set_summary(first, i, a * first[i], a * first[tile + i] + b, lo, hi);
    }
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void apply(const X& sum, const Y& x, Site, int slot, const W&) const {
    for (int i = 0; i < components(slot); ++i)
      x.set(i, bounded(sum[i] * x[i] + sum[tile + i], sum[2 * tile + i], sum[3 * tile + i]));
  }

 private:
  /// Ends are finite, so that 0 · end is 0; no increment is larger.
  static constexpr Real largest = std::numeric_limits<Real>::max();
  /// Coefficients of summaries below this cannot overflow when two of them are multiplied.
  static constexpr Real steep = two_to<Real>(std::numeric_limits<Real>::max_exponent / 2 - 4);
  static constexpr Real flatten = two_to<Real>(-std::numeric_limits<Real>::max_exponent / 4);

  /// Ends in either order. Coefficients about to overflow are scaled down together, which moves neither the zero of
  /// a x + b nor its sign: the map stays a jump from one end to the other at the same x, as steep as numbers can tell.
  template <class X, class P>
  KOKKOS_INLINE_FUNCTION static void set_summary(const X& sum, int i, P a, P b, P end, P other_end) {
    const P lo = smaller(end, other_end), hi = larger(end, other_end);
    const P may = select_less(larger(-lo, hi), P(steep * flatten), P(flatten), P(Real(1)));
    for (int round = 0; round < 2; ++round) {  // a product of two needs both
      const P factor = select_less(P(steep), larger(absolute(a), absolute(b)), may, P(Real(1)));
      a = a * factor;
      b = b * factor;
    }
    sum.set(i, a);
    sum.set(tile + i, b);
    sum.set(2 * tile + i, lo);
    sum.set(3 * tile + i, hi);
  }
};

/// The variances of the filter of KalmanDiagonal, which do not depend on its means: P_t from P_{t−1}. In place of a_t
/// and r_t it leaves k_t a_t and k_t r_t, k_t = σ²/(P⁻_t + σ²): the means are δ_t = (k_t a_t) δ_{t−1} − k_t r_t.
///
/// The summary is the map P → A² P / (1 + J P) + C, the (A, C, J) of the five-tuple: sums of terms that are not
/// negative, so nothing cancels, and J ≤ a₁², C ≤ σ², A² ≤ J σ² (a₁ of the first step, σ² of the last): nothing grows
/// with length. Jacobians are cut at `cap`.
template <class Real_>
struct KalmanVariance {
  using Real = Real_;
  static constexpr int tile = 8;
  /// Jacobians beyond this count as this, and those that are not numbers as 0, so that a step that broke does not cost
  /// those after it their gains; within it no product above overflows for σ² up to its square.
  static constexpr Real cap = two_to<Real>(std::numeric_limits<Real>::max_exponent / 4 - 2);

  Panel<Real> jacobian;   ///< (group, step, D, lane), in: a_t, out: k_t a_t
  Panel<Real> increment;  ///< in: r_t, out: k_t r_t
  int dim;
  TrustRegion<Real> sigma2;

  KOKKOS_INLINE_FUNCTION int slots() const { return (dim + tile - 1) / tile; }
  KOKKOS_INLINE_FUNCTION int state_size() const { return tile; }
  KOKKOS_INLINE_FUNCTION int summary_size() const { return 3 * tile; }
  KOKKOS_INLINE_FUNCTION int scratch_size() const { return 0; }
  KOKKOS_INLINE_FUNCTION int components(int slot) const { return dim - slot * tile < tile ? dim - slot * tile : tile; }

  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void advance(const X& x, Site at, int slot, const W&, bool emit) const {
    using P = typename X::Number;
    const auto a = strip<P>(jacobian, at.group, at.step, at.lane).from(slot * tile);
    const auto r = strip<P>(increment, at.group, at.step, at.lane).from(slot * tile);
    const P s2 = sigma2.template at<P>(at);
    for (int i = 0; i < components(slot); ++i) {
      const P variance = predicted(usable(a[i]), x[i]);
      const P gain = s2 * (P(Real(1)) / (variance + s2));
      x.set(i, gain * variance);
      if (emit) {
        a.set(i, gain * usable(a[i]));
        r.set(i, gain * r[i]);
      }
    }
  }

  template <class X>
  KOKKOS_INLINE_FUNCTION void identity(const X& sum, int slot) const {
    using P = typename X::Number;
    for (int i = 0; i < components(slot); ++i) {
      sum.set(i, P(Real(1)));
      sum.set(tile + i, P(Real(0)));
      sum.set(2 * tile + i, P(Real(0)));
    }
  }

  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void append(const X& sum, Site at, int slot, const W&) const {
    using P = typename X::Number;
    const auto a = strip<P>(jacobian, at.group, at.step, at.lane).from(slot * tile);
    const P s2 = sigma2.template at<P>(at);
    for (int i = 0; i < components(slot); ++i) {
      const P slope = usable(a[i]) * sum[i];
      const P variance = predicted(usable(a[i]), sum[tile + i]);
      const P precision = P(Real(1)) / (variance + s2);
      sum.set(i, s2 * precision * slope);
      sum.set(tile + i, s2 * precision * variance);
      sum.set(2 * tile + i, sum[2 * tile + i] + slope * (slope * precision));
    }
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void compose(const X& first, const Y& second, int slot, const W&) const {
    using P = typename X::Number;
    for (int i = 0; i < components(slot); ++i) {
      const P a1 = first[i], c1 = first[tile + i], j1 = first[2 * tile + i];
      const P a2 = second[i], c2 = second[tile + i], j2 = second[2 * tile + i];
      const P inverse = P(Real(1)) / (P(Real(1)) + c1 * j2);
      first.set(i, a1 * inverse * a2);
      first.set(tile + i, c1 * inverse * a2 * a2 + c2);
      first.set(2 * tile + i, j2 * inverse * a1 * a1 + j1);
    }
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void apply(const X& sum, const Y& x, Site, int slot, const W&) const {
    using P = typename X::Number;
    for (int i = 0; i < components(slot); ++i) {
      const P inverse = P(Real(1)) / (P(Real(1)) + x[i] * sum[2 * tile + i]);
      x.set(i, x[i] * inverse * sum[i] * sum[i] + sum[tile + i]);
    }
  }

 private:
  static constexpr Real largest_variance = std::numeric_limits<Real>::max() / 4;

  template <class P>
  KOKKOS_INLINE_FUNCTION static P usable(P a) {
    return bounded(a, P(-cap), P(cap));
  }
  template <class P>
  KOKKOS_INLINE_FUNCTION static P predicted(P a, P variance) {
    return smaller(a * a * variance + P(Real(1)), P(largest_variance));
  }
};

/// The filter of KalmanDiagonal with increments bounded inside the recurrence, in two scans: the gains, then
/// δ_t = clamp(k_t (a_t δ_{t−1} − r_t), −bound, bound). Up to rounding KalmanDiagonal where the bound is infinite.
/// An a_t that is not a number counts as 0 (for that step only), one beyond 2^30 (float; 2^254 double) as that.
template <class Real>
class ClampedFilter {
 public:
  ClampedFilter(Engine engine, const LaneMap& map, const KalmanDiagonal<Real>& filter, const StepBound<Real>& bound,
                const parallel::TimeLine& line = parallel::TimeLine());

  /// Replaces r_t by δ_t in the filter's increment panel for all active sequences; the Jacobians of their lane groups
  /// do not survive.
  void run(const Active& active) const;

 private:
  KalmanVariance<Real> variances_;
  AffineDiagonalClamped<Real> means_;
  Scan<KalmanVariance<Real>> variance_scan_;
  Scan<AffineDiagonalClamped<Real>> mean_scan_;
};

extern template class Scan<AffineDiagonalClamped<float>>;
extern template class Scan<AffineDiagonalClamped<double>>;
extern template class Scan<KalmanVariance<float>>;
extern template class Scan<KalmanVariance<double>>;
extern template class ClampedFilter<float>;
extern template class ClampedFilter<double>;
extern template void spread_bounds(const LaneMap&, const Matrix<float>&, StepBound<float>&);
extern template void spread_bounds(const LaneMap&, const Matrix<double>&, StepBound<double>&);

}  // namespace elkhorn::scan
