/// The elements of the scans: what one time step does to an increment, and how steps compose.
///
/// Every element offers the same operations, so that any element runs on any engine:
///
///   state    what runs through time: δ (affine), or (δ, P) with the filter's covariance P (Kalman); it starts at 0
///   summary  the composition of consecutive steps as a map of the state
///   advance  state ← step(state); with `emit`, δ_t replaces r_t in the panel (phase "finish", all of a serial scan)
///            (advance_steps, where an element says AdvancesSteps of itself: through consecutive steps at once)
///   identity, append   summary ← step ∘ summary               (phase "summarise"; cheaper than composing two summaries)
///   compose  first ← second ∘ first, neither the identity      (non-commutative, associative)
///   apply    state ← summary(state)                            (phase "scan the summaries"; a site of the sequence)
///
/// A lane's problem falls into `slots` independent ones: tiles of components for diagonal Jacobians, one for dense ones.
/// Sizes count numbers of P; the strips given to an operation hold state_size(), summary_size(), scratch_size() of them.
#pragma once

#include "scan/panel.hpp"
#include "scan/small_dense.hpp"

namespace elkhorn::scan {

/// Which step of which lanes an operation reads and writes.
struct Site {
  long group;
  long step;
  int lane;  ///< first lane: 0 where P is a pack
};

/// σ² of the trust region: one number, or one a step and sequence in a panel with one component.
template <class Real>
struct TrustRegion {
  Real value = 0;
  Panel<Real> each;  ///< empty: `value` everywhere

  template <class P>
  KOKKOS_INLINE_FUNCTION P at(Site s) const {
    return each.extent(0) == 0 ? P(value) : strip<P>(each, s.group, s.step, s.lane)[0];
  }
};

/// Components that are read from a panel, or one number for all of them.
template <class P>
struct StripOrNumber {
  PanelStrip<P> each;  ///< null: `number` everywhere
  P number;
  KOKKOS_INLINE_FUNCTION P operator[](int i) const { return each.p ? each[i] : number; }
};

/// v moved into [lo, hi]; what is not a number becomes 0 first. Infinite ends leave every number as it is.
template <class P>
KOKKOS_INLINE_FUNCTION P bounded(P v, P lo, P hi) {
  const P number = select_less_equal(v, v, v, P(real_of<P>(0)));
  return smaller(larger(number, lo), hi);
}

/// How far an increment may go, |δ_{t,d}| ≤ bound, enforced inside the recurrence: one number, or one a coordinate and
/// sequence (constant in time) in a panel (group, 1, D, lane), which spread_bounds fills. Infinity (default): no bound.
template <class Real>
struct StepBound {
  Real value = Limits<Real>::infinity;
  Panel<Real> each;  ///< empty: `value` everywhere

  KOKKOS_INLINE_FUNCTION bool any() const { return each.extent(0) != 0 || value <= Limits<Real>::most; }
  /// The bounds of components first, first + 1, … of the lanes at a site; any step of them will do.
  template <class P>
  KOKKOS_INLINE_FUNCTION StripOrNumber<P> of(Site s, int first = 0) const {
    if (each.extent(0) == 0) return {{nullptr}, P(value)};
    return {strip<P>(each, s.group, 0, s.lane).from(first), P(value)};
  }
  /// Bounds the first `dim` numbers of a state.
  template <class X>
  KOKKOS_INLINE_FUNCTION void limit(const X& x, int dim, Site s) const {
    if (!any()) return;
    const auto bound = of<typename X::Number>(s);
    for (int i = 0; i < dim; ++i) x.set(i, bounded(x[i], -bound[i], bound[i]));
  }
};

// --------------------------------------------------------------------------------------------- affine, diagonal

/// δ_t = a_t ∘ δ_{t−1} − r_t with a_t = diag(A_t): undamped solvers with a diagonal linearization, and with one number
/// for a_t those with none (0, Jacobi) and the identity (1, Picard).
template <class Real_>
struct AffineDiagonal {
  using Real = Real_;
  static constexpr int tile = 8;         ///< components a slot
  using AdvancesSteps = AffineDiagonal;  ///< not what derives from it and advances otherwise

  Panel<Real> jacobian;   ///< (group, step, D, lane); empty: `constant` everywhere
  Panel<Real> increment;  ///< in: r_t, out: δ_t
  int dim;
  Real constant = 0;

  /// a_t of a slot: read from the panel, or the constant.
  template <class P>
  KOKKOS_INLINE_FUNCTION StripOrNumber<P> coefficient(Site at, int slot) const {
    if (jacobian.extent(0) == 0) return {{nullptr}, P(constant)};
    return {strip<P>(jacobian, at.group, at.step, at.lane).from(slot * tile), P(constant)};
  }

  KOKKOS_INLINE_FUNCTION int slots() const { return (dim + tile - 1) / tile; }
  KOKKOS_INLINE_FUNCTION int state_size() const { return tile; }
  KOKKOS_INLINE_FUNCTION int summary_size() const { return 2 * tile; }
  KOKKOS_INLINE_FUNCTION int scratch_size() const { return 0; }
  KOKKOS_INLINE_FUNCTION int components(int slot) const { return dim - slot * tile < tile ? dim - slot * tile : tile; }

  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void advance(const X& x, Site at, int slot, const W&, bool emit) const {
    using P = typename X::Number;
    const auto a = coefficient<P>(at, slot);
    const auto r = strip<P>(increment, at.group, at.step, at.lane).from(slot * tile);
    for (int i = 0; i < components(slot); ++i) {
      const P next = multiply_add(a[i], x[i], -r[i]);
      x.set(i, next);
      if (emit) r.set(i, next);
    }
  }

  /// `advance` through consecutive steps, the state of a whole tile being kept in registers.
  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void advance_steps(const X& x, Site at, long steps, int slot, const W& work, bool emit) const {
    if constexpr (is_pack<typename X::Number>) {
      if (components(slot) == tile && jacobian.extent(0) != 0)
        return emit ? advance_tile<true>(x.p, at, steps, slot) : advance_tile<false>(x.p, at, steps, slot);
    }
    for (; steps > 0; --steps, ++at.step) advance(x, at, slot, work, emit);
  }

  template <class X>
  KOKKOS_INLINE_FUNCTION void identity(const X& sum, int slot) const {
    using P = typename X::Number;
    for (int i = 0; i < components(slot); ++i) {
      sum.set(i, P(Real(1)));
      sum.set(tile + i, P(Real(0)));
    }
  }

  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void append(const X& sum, Site at, int slot, const W&) const {
    using P = typename X::Number;
    const auto a = coefficient<P>(at, slot);
    const auto r = strip<P>(increment, at.group, at.step, at.lane).from(slot * tile);
    for (int i = 0; i < components(slot); ++i) {
      sum.set(i, a[i] * sum[i]);
      sum.set(tile + i, a[i] * sum[tile + i] - r[i]);
    }
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void compose(const X& first, const Y& second, int slot, const W&) const {
    for (int i = 0; i < components(slot); ++i) {
      first.set(tile + i, second[i] * first[tile + i] + second[tile + i]);
      first.set(i, second[i] * first[i]);
    }
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void apply(const X& sum, const Y& x, Site, int slot, const W&) const {
    for (int i = 0; i < components(slot); ++i) x.set(i, sum[i] * x[i] + sum[tile + i]);
  }

 private:
  /// Components of a tile lie one after the other, in panels as in states.
  template <bool emit>
  ELKHORN_OWN_REGISTERS void advance_tile(Real* state, Site at, long steps, int slot) const {
    using P = std::conditional_t<lane_packs_pair<Real>, LanePackPair<Real>, LanePack<Real>>;
    constexpr int width = width_of<P>, packs = tile * lane_width / width;
    const long row = static_cast<long>(dim) * lane_width;
    const Real* a = &jacobian(at.group, at.step, slot * tile, 0);
    Real* r = &increment(at.group, at.step, slot * tile, 0);
    P x[packs];
    unrolled<packs>([&](auto i) ELKHORN_INLINE_LAMBDA { x[i] = load<P>(state + i * width); });
    for (; steps > 0; --steps, a += row, r += row)
      unrolled<packs>([&](auto i) ELKHORN_INLINE_LAMBDA {
        x[i] = multiply_add(load<P>(a + i * width), x[i], -load<P>(r + i * width));
        if constexpr (emit) store<P>(r + i * width, x[i]);
      });
    unrolled<packs>([&](auto i) ELKHORN_INLINE_LAMBDA { store<P>(state + i * width, x[i]); });
  }
};

// --------------------------------------------------------------------------------------------- affine, dense

/// δ_t = A_t δ_{t−1} − r_t: DEER.
///
/// With a bound, δ_t is bounded as it is produced. Such maps are not closed under composition, so summaries stay linear
/// and their image of a chunk's incoming state is bounded instead: every δ_t obeys the bound on every engine, yet where
/// it bites the answer depends on the number of chunks (one chunk: the exact bounded recurrence; `flat` cuts time by
/// threads). r = 0 gives δ = 0 either way, so fixed points of an iteration do not depend on it.
template <class Real_>
struct AffineDense {
  using Real = Real_;

  Panel<Real> jacobian;   ///< (group, step, D·D row by row, lane)
  Panel<Real> increment;  ///< in: r_t, out: δ_t
  int dim;
  StepBound<Real> bound = {};

  KOKKOS_INLINE_FUNCTION int slots() const { return 1; }
  KOKKOS_INLINE_FUNCTION int state_size() const { return dim; }
  KOKKOS_INLINE_FUNCTION int summary_size() const { return dim * dim + dim; }
  KOKKOS_INLINE_FUNCTION int scratch_size() const { return dim * dim + dim; }

  /// out ← A x + sign·c, with out distinct from x.
  template <class A, class X, class C, class O>
  KOKKOS_INLINE_FUNCTION static void affine(int dim, const A& a, const X& x, const C& c, Real sign, const O& out) {
    using P = typename X::Number;
    for (int i = 0; i < dim; ++i) {
      P sum = P(sign) * c[i];
      for (int j = 0; j < dim; ++j) sum = multiply_add(P(a[static_cast<long>(i) * dim + j]), P(x[j]), sum);
      out.set(i, sum);
    }
  }

  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void advance(const X& x, Site at, int, const W& work, bool emit) const {
    using P = typename X::Number;
    const auto r = strip<P>(increment, at.group, at.step, at.lane);
    affine(dim, strip<P>(jacobian, at.group, at.step, at.lane), x, r, Real(-1), work);
    bound.limit(work, dim, at);
    for (int i = 0; i < dim; ++i) {
      const P next = work[i];
      x.set(i, next);
      if (emit) r.set(i, next);
    }
  }

  template <class X>
  KOKKOS_INLINE_FUNCTION void identity(const X& sum, int) const {
    using P = typename X::Number;
    const auto a = block(sum, dim, dim);
    for (int i = 0; i < dim; ++i) {
      for (int j = 0; j < dim; ++j) a.set(i, j, P(Real(i == j)));
      sum.set(dim * dim + i, P(Real(0)));
    }
  }

  /// sum ← (A, sign·c) ∘ sum
  template <class X, class A, class C, class W>
  KOKKOS_INLINE_FUNCTION void prepend_map(const X& sum, const A& a, const C& c, Real sign, const W& work) const {
    const auto product = block(work, dim, dim);
    multiply<Plain, Plain>(block(a, dim, dim), block(sum, dim, dim), product);
    const auto moved = work.from(dim * dim);
    affine(dim, a, sum.from(dim * dim), c, sign, moved);
    for (int i = 0; i < summary_size(); ++i) sum.set(i, work[i]);
  }

  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void append(const X& sum, Site at, int, const W& work) const {
    using P = typename X::Number;
    prepend_map(sum, strip<P>(jacobian, at.group, at.step, at.lane), strip<P>(increment, at.group, at.step, at.lane),
                Real(-1), work);
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void compose(const X& first, const Y& second, int, const W& work) const {
    prepend_map(first, second, second.from(dim * dim), Real(1), work);
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void apply(const X& sum, const Y& x, Site at, int, const W& work) const {
    affine(dim, sum, x, sum.from(dim * dim), Real(1), work);
    bound.limit(work, dim, at);
    for (int i = 0; i < dim; ++i) x.set(i, work[i]);
  }
};

// --------------------------------------------------------------------------------------------- Kalman, diagonal

/// The Kalman filter of a damped step in increment form, one scalar filter a component: quasi-ELK.
///
/// Dynamics a_t, bias −r_t, process noise 1, observations 0 of variance σ². The state is (m, P), the summary the
/// five-tuple (A, b, C, η, J) of Särkkä & García-Fernández (arXiv 1905.13002, Lemmas 7 and 8) in scalar form.
/// Starting from (0, 0), the first step gives the prior mean −r_1 and prior variance 1 by itself.
template <class Real_>
struct KalmanDiagonal {
  using Real = Real_;
  static constexpr int tile = 8;

  Panel<Real> jacobian;
  Panel<Real> increment;
  int dim;
  TrustRegion<Real> sigma2;
  Panel<Real> covariances;  ///< out, unless empty: the filtered P_t, for a smoother

  KOKKOS_INLINE_FUNCTION int slots() const { return (dim + tile - 1) / tile; }
  KOKKOS_INLINE_FUNCTION int state_size() const { return 2 * tile; }
  KOKKOS_INLINE_FUNCTION int summary_size() const { return 5 * tile; }
  KOKKOS_INLINE_FUNCTION int scratch_size() const { return 0; }
  KOKKOS_INLINE_FUNCTION int components(int slot) const { return dim - slot * tile < tile ? dim - slot * tile : tile; }

  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void advance(const X& x, Site at, int slot, const W&, bool emit) const {
    using P = typename X::Number;
    const auto a = strip<P>(jacobian, at.group, at.step, at.lane).from(slot * tile);
    const auto r = strip<P>(increment, at.group, at.step, at.lane).from(slot * tile);
    const P s2 = sigma2.template at<P>(at);
    for (int i = 0; i < components(slot); ++i) {
      const P predicted_mean = a[i] * x[i] - r[i];
      const P predicted_variance = a[i] * a[i] * x[tile + i] + P(Real(1));
      // 1 − gain, in the same operations as in append
      const P damping = s2 * (P(Real(1)) / (predicted_variance + s2));
      const P mean = damping * predicted_mean;
      x.set(i, mean);
      x.set(tile + i, damping * predicted_variance);
      if (emit) r.set(i, mean);
    }
    if (emit && covariances.extent(0) != 0) {
      const auto out = strip<P>(covariances, at.group, at.step, at.lane).from(slot * tile);
      for (int i = 0; i < components(slot); ++i) out.set(i, x[tile + i]);
    }
  }

  template <class X>
  KOKKOS_INLINE_FUNCTION void identity(const X& sum, int slot) const {
    using P = typename X::Number;
    for (int i = 0; i < components(slot); ++i) {
      sum.set(i, P(Real(1)));
      for (int part = 1; part < 5; ++part) sum.set(part * tile + i, P(Real(0)));
    }
  }

  /// A filter step conditional on the state before the first step of the summary: (A, b, C) is its filtered law,
  /// (η, J) the likelihood of the observations so far as a function of that state.
  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void append(const X& sum, Site at, int slot, const W&) const {
    using P = typename X::Number;
    const auto a = strip<P>(jacobian, at.group, at.step, at.lane).from(slot * tile);
    const auto r = strip<P>(increment, at.group, at.step, at.lane).from(slot * tile);
    const P s2 = sigma2.template at<P>(at);
    for (int i = 0; i < components(slot); ++i) {
      const P slope = a[i] * sum[i];
      const P mean = a[i] * sum[tile + i] - r[i];
      const P variance = a[i] * a[i] * sum[2 * tile + i] + P(Real(1));
      const P precision = P(Real(1)) / (variance + s2);  // of the observation, given the state before
      const P damping = s2 * precision;
      sum.set(i, damping * slope);
      sum.set(tile + i, damping * mean);
      sum.set(2 * tile + i, damping * variance);
      sum.set(3 * tile + i, sum[3 * tile + i] - slope * precision * mean);
      sum.set(4 * tile + i, sum[4 * tile + i] + slope * slope * precision);
    }
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void compose(const X& first, const Y& second, int slot, const W&) const {
    using P = typename X::Number;
    for (int i = 0; i < components(slot); ++i) {
      const P a1 = first[i], b1 = first[tile + i], c1 = first[2 * tile + i], e1 = first[3 * tile + i],
              j1 = first[4 * tile + i];
      const P a2 = second[i], b2 = second[tile + i], c2 = second[2 * tile + i], e2 = second[3 * tile + i],
              j2 = second[4 * tile + i];
      const P inverse = P(Real(1)) / (P(Real(1)) + c1 * j2);
      first.set(i, a1 * a2 * inverse);
      first.set(tile + i, a2 * (c1 * e2 + b1) * inverse + b2);
      first.set(2 * tile + i, c1 * a2 * a2 * inverse + c2);
      first.set(3 * tile + i, a1 * (e2 - j2 * b1) * inverse + e1);
      first.set(4 * tile + i, j2 * a1 * a1 * inverse + j1);
    }
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void apply(const X& sum, const Y& x, Site, int slot, const W&) const {
    using P = typename X::Number;
    for (int i = 0; i < components(slot); ++i) {
      const P a = sum[i];
      const P inverse = P(Real(1)) / (P(Real(1)) + x[tile + i] * sum[4 * tile + i]);
      x.set(i, a * (x[tile + i] * sum[3 * tile + i] + x[i]) * inverse + sum[tile + i]);
      x.set(tile + i, x[tile + i] * a * a * inverse + sum[2 * tile + i]);
    }
  }
};

// --------------------------------------------------------------------------------------------- Kalman, dense

/// The same with full Jacobians: ELK. State (m [D], P [D,D]); summary (A [D,D], b [D], C [D,D], η [D], J [D,D]).
/// With a bound, the filtered mean is bounded as it is produced; see AffineDense for what that means for chunks.
template <class Real_>
struct KalmanDense {
  using Real = Real_;

  Panel<Real> jacobian;
  Panel<Real> increment;
  int dim;
  TrustRegion<Real> sigma2;
  Panel<Real> covariances;  ///< out, unless empty: the filtered P_t, for a smoother
  StepBound<Real> bound = {};

  KOKKOS_INLINE_FUNCTION int square() const { return dim * dim; }
  KOKKOS_INLINE_FUNCTION int slots() const { return 1; }
  KOKKOS_INLINE_FUNCTION int state_size() const { return dim + square(); }
  KOKKOS_INLINE_FUNCTION int summary_size() const { return 3 * square() + 2 * dim; }
  KOKKOS_INLINE_FUNCTION int scratch_size() const { return 5 * square() + 3 * dim; }

  // Parts of a summary.
  template <class X>
  KOKKOS_INLINE_FUNCTION auto slope(const X& s) const {
    return block(s, dim, dim);
  }
  template <class X>
  KOKKOS_INLINE_FUNCTION X mean(const X& s) const {
    return s.from(square());
  }
  template <class X>
  KOKKOS_INLINE_FUNCTION auto covariance(const X& s) const {
    return block(s.from(square() + dim), dim, dim);
  }
  template <class X>
  KOKKOS_INLINE_FUNCTION X eta(const X& s) const {
    return s.from(2 * square() + dim);
  }
  template <class X>
  KOKKOS_INLINE_FUNCTION auto information(const X& s) const {
    return block(s.from(2 * square() + 2 * dim), dim, dim);
  }

  /// out ← F·cov·Fᵀ + I, symmetric to the last bit; half is overwritten.
  template <class F, class C, class H, class O>
  KOKKOS_INLINE_FUNCTION void predict_covariance(const F& f, const C& cov, const H& half, const O& out) const {
    multiply<Plain, Plain>(f, cov, half);
    multiply<Plain, Transposed>(half, f, out);
    using P = typename O::P;
    for (int i = 0; i < dim; ++i) {
      out.set(i, i, out(i, i) + P(Real(1)));
      for (int j = 0; j < i; ++j) {
        const P both = P(Real(0.5)) * (out(i, j) + out(j, i));
        out.set(i, j, both);
        out.set(j, i, both);
      }
    }
  }

  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void advance(const X& x, Site at, int, const W& work, bool emit) const {
    using P = typename X::Number;
    const auto f = strip<P>(jacobian, at.group, at.step, at.lane);
    const auto r = strip<P>(increment, at.group, at.step, at.lane);
    const P s2 = sigma2.template at<P>(at);
    const auto cov = block(x.from(dim), dim, dim);
    const auto half = block(work, dim, dim);
    // right-hand sides of the innovation covariance: predicted covariance | predicted mean
    const int width = dim + 1;
    const auto rhs = block(work.from(2 * square()), dim, width);
    const auto predicted = block(rhs.s, dim, dim, width);
    predict_covariance(block(f, dim, dim), cov, half, predicted);
    for (int i = 0; i < dim; ++i) {
      P sum = -r[i];
      for (int j = 0; j < dim; ++j) sum = sum + f[static_cast<long>(i) * dim + j] * x[j];
      rhs.set(i, dim, sum);
    }
    const auto innovation = half;
    for (int i = 0; i < dim; ++i)
      for (int j = 0; j < dim; ++j) innovation.set(i, j, i == j ? predicted(i, j) + s2 : predicted(i, j));
    solve_spd(innovation, rhs);
    for (int i = 0; i < dim; ++i) {
      x.set(i, s2 * rhs(i, dim));
      for (int j = 0; j < dim; ++j) cov.set(i, j, s2 * rhs(i, j));
    }
    bound.limit(x, dim, at);
    if (emit)
      for (int i = 0; i < dim; ++i) r.set(i, x[i]);
    if (emit && covariances.extent(0) != 0) {
      const auto out = strip<P>(covariances, at.group, at.step, at.lane);
      for (int i = 0; i < square(); ++i) out.set(i, cov.s[i]);
    }
  }

  template <class X>
  KOKKOS_INLINE_FUNCTION void identity(const X& sum, int) const {
    using P = typename X::Number;
    for (int i = 0; i < summary_size(); ++i) sum.set(i, P(Real(0)));
    for (int i = 0; i < dim; ++i) slope(sum).set(i, i, P(Real(1)));
  }

  template <class X, class W>
  KOKKOS_INLINE_FUNCTION void append(const X& sum, Site at, int, const W& work) const {
    using P = typename X::Number;
    const auto f = strip<P>(jacobian, at.group, at.step, at.lane);
    const auto r = strip<P>(increment, at.group, at.step, at.lane);
    const P s2 = sigma2.template at<P>(at);
    const auto innovation = block(work, dim, dim);
    const auto moved = block(work.from(square()), dim, dim);  // F·A, kept unsolved for the likelihood
    // right-hand sides: predicted covariance | predicted mean | F·A
    const int width = 2 * dim + 1;
    const auto rhs = block(work.from(2 * square()), dim, width);
    const auto predicted = block(rhs.s, dim, dim, width);
    const auto moved_rhs = block(rhs.s.from(dim + 1), dim, dim, width);
    predict_covariance(block(f, dim, dim), covariance(sum), innovation, predicted);
    multiply<Plain, Plain>(block(f, dim, dim), slope(sum), moved);
    const auto b = mean(sum);
    for (int i = 0; i < dim; ++i) {
      P m = -r[i];
      for (int j = 0; j < dim; ++j) {
        m = m + f[static_cast<long>(i) * dim + j] * b[j];
        innovation.set(i, j, i == j ? predicted(i, j) + s2 : predicted(i, j));
        moved_rhs.set(i, j, moved(i, j));
      }
      rhs.set(i, dim, m);
    }
    solve_spd(innovation, rhs);
    add_product<Transposed, Plain>(moved, moved_rhs, information(sum));
    const auto e = eta(sum);
    for (int i = 0; i < dim; ++i) {
      P likelihood = e[i];
      for (int k = 0; k < dim; ++k) likelihood = likelihood - moved(k, i) * rhs(k, dim);
      e.set(i, likelihood);
    }
    for (int i = 0; i < dim; ++i) {
      b.set(i, s2 * rhs(i, dim));
      for (int j = 0; j < dim; ++j) {
        slope(sum).set(i, j, s2 * moved_rhs(i, j));
        covariance(sum).set(i, j, s2 * rhs(i, j));
      }
    }
  }

  /// (m, C) ← the second summary applied to a state or to a first summary's (b, C); with `Full` also (A, η, J).
  ///
  /// With C₁ = M Mᵀ and G = I + Mᵀ J₂ M, which is symmetric positive definite, (I + C₁ J₂)⁻¹ = M G⁻¹ M⁻¹: no
  /// unsymmetric solve is needed and nothing cancels where C₁ J₂ is large.
  template <bool Full, class X, class B, class C, class Y, class W>
  KOKKOS_INLINE_FUNCTION void join(const X& first, const B& b1, const C& c1, const Y& second, const W& work) const {
    using P = typename Y::Number;
    const int width = Full ? 2 * dim + 1 : dim + 1;
    const auto m = block(work, dim, dim);
    const auto g = block(work.from(square()), dim, dim);
    const auto rhs = block(work.from(2 * square()), dim, width);  // Mᵀ | vector | M⁻¹A₁
    const auto temp = block(work.from(2 * square() + dim * width), dim, dim);
    const auto j2 = information(second);
    const auto e2 = eta(second);
    cholesky(c1, m);
    multiply<Transposed, Plain>(m, j2, temp);
    multiply<Plain, Plain>(temp, m, g);
    for (int i = 0; i < dim; ++i) g.set(i, i, g(i, i) + P(Real(1)));

    // M⁻¹ b₁ + Mᵀ η₂ into the vector column, using temp's first row as room
    const auto column = block(rhs.s.from(dim), dim, 1, width);
    for (int i = 0; i < dim; ++i) column.set(i, 0, b1[i]);
    solve_lower(m, column);
    for (int i = 0; i < dim; ++i) {
      P sum = column(i, 0);
      for (int k = i; k < dim; ++k) sum = sum + m(k, i) * e2[k];
      column.set(i, 0, sum);
      for (int j = 0; j < dim; ++j) rhs.set(i, j, m(j, i));
    }
    if constexpr (Full) {
      const auto whitened = block(rhs.s.from(dim + 1), dim, dim, width);
      for (int i = 0; i < dim; ++i)
        for (int j = 0; j < dim; ++j) whitened.set(i, j, slope(first)(i, j));
      solve_lower(m, whitened);
      // η and J need A₁ᵀ M⁻ᵀ G⁻¹ · [Mᵀ(η₂ − J₂ b₁), Mᵀ J₂ A₁], that is whitenedᵀ · G⁻¹ · (…): solve for G⁻¹·whitened
      // below and use its symmetry.
    }
    solve_spd(g, rhs);
    if constexpr (Full) {
      const auto solved = block(rhs.s.from(dim + 1), dim, dim, width);  // G⁻¹ M⁻¹ A₁
      // lift = M·solved = (I + C₁J₂)⁻¹ A₁
      const auto lift = g;
      multiply<Plain, Plain>(m, solved, lift);
      // J = J₁ + liftᵀ J₂ A₁ and η = η₁ + liftᵀ (η₂ − J₂ b₁)
      multiply<Plain, Plain>(j2, slope(first), temp);
      add_product<Transposed, Plain>(lift, temp, information(first));
      const auto e1 = eta(first);
      for (int k = 0; k < dim; ++k) {
        P gap = e2[k];
        for (int j = 0; j < dim; ++j) gap = gap - j2(k, j) * b1[j];
        for (int i = 0; i < dim; ++i) e1.set(i, e1[i] + lift(k, i) * gap);
      }
      multiply<Plain, Plain>(slope(second), lift, slope(first));
    }
    // M G⁻¹ (·) for mean and covariance
    const auto mean_column = g;  // first column
    for (int i = 0; i < dim; ++i) {
      P sum(Real(0));
      for (int k = 0; k <= i; ++k) sum = sum + m(i, k) * rhs(k, dim);
      mean_column.set(i, 0, sum);
    }
    const auto b2 = mean(second);
    for (int i = 0; i < dim; ++i) {
      P sum = b2[i];
      for (int k = 0; k < dim; ++k) sum = sum + slope(second)(i, k) * mean_column(k, 0);
      b1.set(i, sum);
    }
    // C = A₂ M G⁻¹ Mᵀ A₂ᵀ + C₂
    const auto solved_m = block(rhs.s, dim, dim, width);
    multiply<Plain, Plain>(m, solved_m, temp);
    multiply<Plain, Plain>(slope(second), temp, g);
    multiply<Plain, Transposed>(g, slope(second), temp);
    for (int i = 0; i < dim; ++i)
      for (int j = 0; j < dim; ++j) c1.set(i, j, P(Real(0.5)) * (temp(i, j) + temp(j, i)) + covariance(second)(i, j));
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void compose(const X& first, const Y& second, int, const W& work) const {
    join<true>(first, mean(first), covariance(first), second, work);
  }

  template <class X, class Y, class W>
  KOKKOS_INLINE_FUNCTION void apply(const X& sum, const Y& x, Site at, int, const W& work) const {
    join<false>(x, x, block(x.from(dim), dim, dim), sum, work);
    bound.limit(x, dim, at);
  }
};

}  // namespace elkhorn::scan
