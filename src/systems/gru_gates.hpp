/// The gates of a GRU (PyTorch's formulas and gate order r, z, n), for cells that are one or contain one.
#pragma once

#include <vector>

#include "core/kokkos.hpp"
#include "core/math.hpp"

namespace elkhorn::systems {

/// Weights of a GRU in doubles, as read or drawn: weight_ih [3H, n], weight_hh [3H, H], biases [3H].
struct GruWeights {
  long inputs = 0;
  long hidden = 0;
  std::vector<double> weight_ih, weight_hh, bias_ih, bias_hh;
};

/// Weights on the device, packed in tiles of units: for each tile the biases, then for every input and every state the
/// weights to the tile's units of all gates, so that a tile's accumulation streams through consecutive memory.
template <class Real_>
struct GruGates {
  using Real = Real_;
  static constexpr int tile = 4;

  Vector<Real> packed;
  int inputs;
  int hidden;

  static std::vector<double> pack(const GruWeights& w) {
    std::vector<double> out;
    const long H = w.hidden, n = w.inputs;
    for (long first = 0; first < H; first += tile) {
      const auto each_unit = [&](auto value) {
        for (long j = first; j < first + tile; ++j) out.push_back(j < H ? value(static_cast<std::size_t>(j)) : 0.0);
      };
      const auto at = [](const std::vector<double>& m, std::size_t row, long cols, long col) {
        return m[row * static_cast<std::size_t>(cols) + static_cast<std::size_t>(col)];
      };
      const std::size_t h = static_cast<std::size_t>(H);
      each_unit([&](std::size_t j) { return w.bias_ih[j] + w.bias_hh[j]; });
      each_unit([&](std::size_t j) { return w.bias_ih[h + j] + w.bias_hh[h + j]; });
      each_unit([&](std::size_t j) { return w.bias_ih[2 * h + j]; });
      each_unit([&](std::size_t j) { return w.bias_hh[2 * h + j]; });
      for (long i = 0; i < n; ++i)
        for (std::size_t gate = 0; gate < 3; ++gate)
          each_unit([&](std::size_t j) { return at(w.weight_ih, gate * h + j, n, i); });
      for (long k = 0; k < H; ++k)
        for (std::size_t gate = 0; gate < 3; ++gate)
          each_unit([&](std::size_t j) { return at(w.weight_hh, gate * h + j, H, k); });
    }
    return out;
  }

  KOKKOS_INLINE_FUNCTION long tile_size() const { return tile * (4 + 3L * (inputs + hidden)); }
  /// Weight of input i to gate (0 r, 1 z, 2 n) of unit j.
  KOKKOS_INLINE_FUNCTION Real input_weight(int gate, int j, int i) const {
    return packed(j / tile * tile_size() + 4 * tile + (3L * i + gate) * tile + j % tile);
  }
  /// Weight of state k to a gate of unit j.
  KOKKOS_INLINE_FUNCTION Real state_weight(int gate, int j, int k) const {
    return input_weight(gate, j, inputs + k);
  }

  /// What one unit's new state and derivatives are made of.
  template <class P>
  struct Unit {
    P r, z, n;
    P h;         ///< the unit's own state
    P recurrent; ///< W_hn h + b_hn

    /// h' = (1 − z) n + z h
    KOKKOS_INLINE_FUNCTION P next() const { return n + z * (h - n); }
    /// Factors of the pre-activations' derivatives: dh' = to_r·d(r) + to_z·d(z) + to_n·d(input part) …
    KOKKOS_INLINE_FUNCTION P to_z() const { return (h - n) * z * (P(Real(1)) - z); }
    KOKKOS_INLINE_FUNCTION P to_n() const { return (P(Real(1)) - z) * (P(Real(1)) - n * n); }
    KOKKOS_INLINE_FUNCTION P to_r() const { return to_n() * recurrent * r * (P(Real(1)) - r); }
  };

  /// Calls use(j, unit) for every unit j, in order.
  template <class S, class U, class Use>
  KOKKOS_INLINE_FUNCTION void for_each_unit(const S& h, const U& x, const Use& use) const {
    using P = typename S::Number;
    for (int first = 0; first < hidden; first += tile) {
      const Real* w = &packed(first / tile * tile_size());
      P r[tile], z[tile], n[tile], m[tile];
      for (int j = 0; j < tile; ++j) {
        r[j] = P(w[j]);
        z[j] = P(w[tile + j]);
        n[j] = P(w[2 * tile + j]);
        m[j] = P(w[3 * tile + j]);
      }
      w += 4 * tile;
      for (int i = 0; i < inputs; ++i, w += 3 * tile) {
        const P xi = x[i];
        for (int j = 0; j < tile; ++j) {
          r[j] = r[j] + P(w[j]) * xi;
          z[j] = z[j] + P(w[tile + j]) * xi;
          n[j] = n[j] + P(w[2 * tile + j]) * xi;
        }
      }
      for (int k = 0; k < hidden; ++k, w += 3 * tile) {
        const P hk = h[k];
        for (int j = 0; j < tile; ++j) {
          r[j] = r[j] + P(w[j]) * hk;
          z[j] = z[j] + P(w[tile + j]) * hk;
          m[j] = m[j] + P(w[2 * tile + j]) * hk;
        }
      }
      for (int j = 0; j < tile && first + j < hidden; ++j) {
        Unit<P> unit;
        unit.r = sigmoid(r[j]);
        unit.z = sigmoid(z[j]);
        unit.recurrent = m[j];
        unit.n = hyperbolic_tangent(n[j] + unit.r * m[j]);
        unit.h = h[first + j];
        use(first + j, unit);
      }
    }
  }

  /// ∂h'_j/∂h_k
  template <class P>
  KOKKOS_INLINE_FUNCTION P derivative(const Unit<P>& u, int j, int k) const {
    P d = u.to_r() * P(state_weight(0, j, k)) + u.to_z() * P(state_weight(1, j, k)) +
          u.to_n() * u.r * P(state_weight(2, j, k));
    return j == k ? d + u.z : d;
  }
  /// ∂h'_j/∂x_i
  template <class P>
  KOKKOS_INLINE_FUNCTION P input_derivative(const Unit<P>& u, int j, int i) const {
    return u.to_r() * P(input_weight(0, j, i)) + u.to_z() * P(input_weight(1, j, i)) +
           u.to_n() * P(input_weight(2, j, i));
  }
};

}  // namespace elkhorn::systems
