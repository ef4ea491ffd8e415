/// Packed affine maps of gated cells: the pre-activations W_ih x + b_ih + W_hh h + b_hh of a few units at a time.
#pragma once

#include "core/kokkos.hpp"
#include "systems/recurrent_weights.hpp"

#if defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIPCC__)
#define ELKHORN_OWN_REGISTERS __attribute__((noinline))
#else
#define ELKHORN_OWN_REGISTERS KOKKOS_INLINE_FUNCTION
#endif

namespace elkhorn::systems {

/// `Gates` affine maps of H units each, in tiles of `Tile` units whose sums stay in registers. With `Split` the last gate
/// keeps its input and its state part apart (a GRU's n needs that): one more sum, at index Gates.
///
/// Packed by tiles: the biases of all sums, then for every input and every state the weights to the tile's units of all
/// gates, so that a tile's accumulation streams through consecutive memory.
template <class Real_, int Gates, bool Split, int Tile = 4>
struct GateTiles {
  using Real = Real_;
  static constexpr int gates = Gates;
  static constexpr int sums = Gates + (Split ? 1 : 0);
  static constexpr int tile = Tile;

  Vector<Real> packed;
  int inputs;
  int hidden;

  /// Weights with rows in the order of the gates, as PyTorch stacks them.
  static std::vector<double> pack(const RecurrentWeights& w) {
    std::vector<double> out;
    const long H = w.hidden;
    for (long first = 0; first < H; first += tile) {
      const auto each_unit = [&](auto value) {
        for (long j = first; j < first + tile; ++j) out.push_back(j < H ? value(j) : 0.0);
      };
      for (int g = 0; g < gates; ++g) {
        const bool apart = Split && g == gates - 1;
        each_unit([&](long j) { return w.bias_ih[w.at(g, j)] + (apart ? 0.0 : w.bias_hh[w.at(g, j)]); });
      }
      if (Split) each_unit([&](long j) { return w.bias_hh[w.at(gates - 1, j)]; });
      for (long i = 0; i < w.inputs; ++i)
        for (int g = 0; g < gates; ++g) each_unit([&](long j) { return w.weight_ih[w.at(g, j, w.inputs, i)]; });
      for (long k = 0; k < H; ++k)
        for (int g = 0; g < gates; ++g) each_unit([&](long j) { return w.weight_hh[w.at(g, j, H, k)]; });
    }
    return out;
  }

  KOKKOS_INLINE_FUNCTION long tile_size() const { return tile * (sums + static_cast<long>(gates) * (inputs + hidden)); }
  /// Weight of input i to a gate of unit j.
  KOKKOS_INLINE_FUNCTION Real input_weight(int gate, int j, int i) const {
    return packed(j / tile * tile_size() + sums * tile + (static_cast<long>(gates) * i + gate) * tile + j % tile);
  }
  /// Weight of state k to a gate of unit j.
  KOKKOS_INLINE_FUNCTION Real state_weight(int gate, int j, int k) const { return input_weight(gate, j, inputs + k); }

  /// Calls use(first, count, sum) for every tile: units first … first + count − 1, and sum[g][j] the pre-activation of
  /// gate g of unit first + j, which use may overwrite.
  template <class S, class U, class Use>
  KOKKOS_INLINE_FUNCTION void for_each_tile(const S& h, const U& x, const Use& use) const {
    using P = typename S::Number;
    for (int first = 0; first < hidden; first += tile) {
      P sum[sums][tile];
      accumulate(first, h, x, sum);
      use(first, first + tile < hidden ? tile : hidden - first, sum);
    }
  }

  /// The same for one sequence on a host: a tile's units lie in the lanes of V, and use(first, count, sum) gets sum[g][0].
  template <class V, class Use>
  void for_each_tile_in_lanes(const Real* h, const Real* x, const Use& use) const {
    static_assert(V::width == tile);
    const Real* w = packed.data();
    for (int first = 0; first < hidden; first += tile) {
      V sum[sums][1];
      for (int g = 0; g < sums; ++g, w += tile) sum[g][0] = load<V>(w);
      for (int i = 0; i < inputs; ++i, w += gates * tile)
        for (int g = 0; g < gates; ++g) sum[g][0] = multiply_add(load<V>(w + g * tile), V(x[i]), sum[g][0]);
      for (int k = 0; k < hidden; ++k, w += gates * tile)
        for (int g = 0; g < gates; ++g) {
          V& to = sum[Split && g == gates - 1 ? gates : g][0];
          to = multiply_add(load<V>(w + g * tile), V(h[k]), to);
        }
      use(first, first + tile < hidden ? tile : hidden - first, sum);
    }
  }

 private:
  /// Sums of the tile that starts with unit `first`. A function of its own on hosts: its sums fill the registers, which
  /// compilers that see the caller too would spend on the caller's constants.
  template <class P, class S, class U>
  ELKHORN_OWN_REGISTERS void accumulate(int first, const S& h, const U& x, P (&out)[sums][tile]) const {
    const Real* w = &packed(first / tile * tile_size());
    P sum[sums][tile];
    for (int g = 0; g < sums; ++g)
      for (int j = 0; j < tile; ++j) sum[g][j] = P(w[g * tile + j]);
    w += sums * tile;
    for (int i = 0; i < inputs; ++i, w += gates * tile) {
      const P xi = x[i];
      for (int g = 0; g < gates; ++g)
        for (int j = 0; j < tile; ++j) sum[g][j] = multiply_add(P(w[g * tile + j]), xi, sum[g][j]);
    }
    for (int k = 0; k < hidden; ++k, w += gates * tile) {
      const P hk = h[k];
      for (int g = 0; g < gates; ++g) {
        constexpr int last = gates - 1;
        P* const to = sum[Split && g == last ? gates : g];
        for (int j = 0; j < tile; ++j) to[j] = multiply_add(P(w[g * tile + j]), hk, to[j]);
      }
    }
    for (int g = 0; g < sums; ++g)
      for (int j = 0; j < tile; ++j) out[g][j] = sum[g][j];
  }
};

}  // namespace elkhorn::systems
