/// The gates of a GRU (PyTorch's formulas and gate order r, z, n), for cells that are one or contain one.
#pragma once

#include "core/math.hpp"
#include "systems/gate_tiles.hpp"

namespace elkhorn::systems {

template <class Real_>
struct GruGates {
  using Real = Real_;
  using Tiles = GateTiles<Real, 3, true>;

  Tiles tiles;

  KOKKOS_INLINE_FUNCTION int inputs() const { return tiles.inputs; }
  KOKKOS_INLINE_FUNCTION int hidden() const { return tiles.hidden; }

  /// What one unit's new state and derivatives are made of.
  template <class P>
  struct Unit {
    P r, z, n;
    P h;              ///< the unit's own state
    P recurrent;      ///< W_hn h + b_hn
    const Real* own;  ///< weights of the unit's own state: Tiles::own_weights

    /// h' = (1 − z) n + z h
    KOKKOS_FORCEINLINE_FUNCTION P next() const { return multiply_add(z, h - n, n); }
    /// Factors of the pre-activations' derivatives: dh' = to_r·d(r) + to_z·d(z) + to_n·d(input part) …
    KOKKOS_INLINE_FUNCTION P to_z() const { return (h - n) * z * (P(Real(1)) - z); }
    KOKKOS_INLINE_FUNCTION P to_n() const { return (P(Real(1)) - z) * (P(Real(1)) - n * n); }
    KOKKOS_INLINE_FUNCTION P to_r() const { return to_n() * recurrent * r * (P(Real(1)) - r); }
  };

  /// Calls use(j, unit) for every unit j, in order. Numbers of h and x may be wider than Real: what comes out is then
  /// accurate enough for results that are rounded to Real once.
  template <class S, class U, class Use>
  KOKKOS_INLINE_FUNCTION void for_each_unit(const S& h, const U& x, const Use& use) const {
    using P = typename S::Number;
    tiles.for_each_part(
        h, x, [](auto& sums) { activate_parts(sums); },
        [&](const int first, const int count, const auto& sum) ELKHORN_INLINE_LAMBDA {
          const Real* own = tiles.own_weights(first);
          for (int j = 0; j < count; ++j, own += Tiles::to_next_own)
            use(first + j, Unit<P>{sum[0].part[j], sum[1].part[j], sum[2].part[j], h[first + j], sum[3].part[j], own});
        });
  }

  /// From pre-activations to r, z and n.
  template <class P>
  KOKKOS_INLINE_FUNCTION static void activate(P (&sum)[4]) {
    reset(sum);
    candidate(sum);
    update(sum);
  }
  /// The same of several parts, gate by gate: no part waits for its own r.
  template <class P, int parts>
  ELKHORN_OWN_REGISTERS static void activate_parts(P (&sum)[parts][4]) {
    unrolled<parts>([&](auto p) ELKHORN_INLINE_LAMBDA { reset(sum[p]); });
    unrolled<parts>([&](auto p) ELKHORN_INLINE_LAMBDA { update(sum[p]); });
    unrolled<parts>([&](auto p) ELKHORN_INLINE_LAMBDA { candidate(sum[p]); });
  }

  /// From pre-activations to h', for numbers of any kind.
  template <class P>
  KOKKOS_INLINE_FUNCTION static void advance(P (&sum)[4], const P (&h)[1], P (&next)[1]) {
    activate(sum);
    next[0] = Unit<P>{sum[0], sum[1], sum[2], h[0], sum[3], nullptr}.next();
  }

  /// ∂h'_j/∂h_k
  template <class P>
  KOKKOS_INLINE_FUNCTION P derivative(const Unit<P>& u, int j, int k) const {
    const P d = u.to_r() * P(tiles.state_weight(0, j, k)) + u.to_z() * P(tiles.state_weight(1, j, k)) +
                u.to_n() * u.r * P(tiles.state_weight(2, j, k));
    return j == k ? d + u.z : d;
  }
  /// ∂h'_j/∂h_j, in the fewest operations: z + (1 − z) · (r (1 − n²) · (w_n + m (1 − r) w_r) + (h − n) z w_z) with
  /// m = W_hn h + b_hn.
  template <class P>
  KOKKOS_FORCEINLINE_FUNCTION P own_derivative(const Unit<P>& u) const {
    const P one(Real(1));
    const P by_n = multiply_add(u.recurrent * (one - u.r), P(u.own[0]), P(u.own[2 * Tiles::tile]));
    const P by_z = (u.h - u.n) * u.z * P(u.own[Tiles::tile]);
    return multiply_add(one - u.z, multiply_add(multiply_add(-u.n, u.n, one) * u.r, by_n, by_z), u.z);
  }
  /// ∂h'_j/∂x_i
  template <class P>
  KOKKOS_INLINE_FUNCTION P input_derivative(const Unit<P>& u, int j, int i) const {
    return u.to_r() * P(tiles.input_weight(0, j, i)) + u.to_z() * P(tiles.input_weight(1, j, i)) +
           u.to_n() * P(tiles.input_weight(2, j, i));
  }

 private:
  template <class P>
  KOKKOS_FORCEINLINE_FUNCTION static void reset(P (&sum)[4]) {
    sum[0] = sigmoid<Real>(sum[0]);
  }
  template <class P>
  KOKKOS_FORCEINLINE_FUNCTION static void update(P (&sum)[4]) {
    sum[1] = sigmoid<Real>(sum[1]);
  }
  template <class P>
  KOKKOS_FORCEINLINE_FUNCTION static void candidate(P (&sum)[4]) {
    sum[2] = hyperbolic_tangent<Real>(multiply_add(sum[0], sum[3], sum[2]));
  }
};

}  // namespace elkhorn::systems
