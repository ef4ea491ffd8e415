/// Packed affine maps of gated cells: the pre-activations W_ih x + b_ih + W_hh h + b_hh of a few units at a time.
#pragma once

#include <algorithm>

#include "core/kokkos.hpp"
#include "systems/recurrent_weights.hpp"

namespace elkhorn::systems {

/// Fewer inputs than these are projected again in every evaluation: that costs no more than reading projections, which are
/// several numbers a unit (measured: benchmarks/evaluate, docs/performance.md).
inline constexpr long fewest_projected_inputs = 16;

/// The input of a step as cells with GateTiles take it: its drivers, or what GateTiles::project has made of them.
template <class Strip>
struct StepInput {
  using Number = typename Strip::Number;
  Strip strip;
  bool projected;
  KOKKOS_INLINE_FUNCTION Number operator[](long i) const { return strip[i]; }
};

template <class U>
KOKKOS_INLINE_FUNCTION bool is_projected(const U&) {
  return false;
}
template <class Strip>
KOKKOS_INLINE_FUNCTION bool is_projected(const StepInput<Strip>& input) {
  return input.projected;
}

/// `Gates` affine maps of H units each. With `Split` the last gate keeps its input and its state part apart (a GRU's n
/// needs that): one more sum, at index Gates.
///
/// Packed by tiles of `tile` units, a vector register of them on hosts: the biases of all sums, then for every input and
/// every state the weights to the tile's units of all gates, so that a tile's sums stream through consecutive memory.
/// Sums are taken in that order, a multiply-add each, wherever they are taken: they are the same numbers everywhere.
template <class Real_, int Gates, bool Split, int Part = 4>
struct GateTiles {
  using Real = Real_;
  static constexpr int gates = Gates;
  static constexpr int sums = Gates + (Split ? 1 : 0);
  static constexpr int tile = exec_is_host ? register_bytes / int(sizeof(Real)) : Part;
  /// Units of a tile whose sums, numbers P, fit into registers or nearly so (fewer would hide less of their latency).
  template <class P>
  KOKKOS_INLINE_FUNCTION static constexpr int part_of() {
    constexpr int registers = exec_is_host ? registers_of<P> : 1;
    constexpr int part = Part / registers < 1 ? 1 : Part / registers < tile ? Part / registers : tile;
    static_assert(tile % part == 0);
    return part;
  }
  template <class P>
  KOKKOS_INLINE_FUNCTION static constexpr int parts_of() {  ///< parts of a tile
    return exec_is_host ? tile / part_of<P>() : 1;
  }

  /// Parts that are activated together: functions are chains of operations, and more of them side by side wait less.
  template <class P>
  KOKKOS_INLINE_FUNCTION static constexpr int parts_together() {
    return exec_is_host && part_of<P>() < 8 ? 2 : 1;
  }

  Vector<Real> packed;
  int inputs;
  int hidden;
  int only = -1;  ///< the tile whose units are taken; -1: all of them

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

  KOKKOS_INLINE_FUNCTION int tiles() const { return (hidden + tile - 1) / tile; }
  /// Whether weights are more than a second-level cache keeps from one step to the next: steps then take turns tile by tile.
  bool streams() const { return packed.size() * sizeof(Real) > (1 << 19); }
  KOKKOS_INLINE_FUNCTION long tile_size() const { return tile * (sums + static_cast<long>(gates) * (inputs + hidden)); }
  /// Biases of a tile's sums, and its weights of input i; those of state k are the weights of input inputs + k.
  KOKKOS_INLINE_FUNCTION const Real* biases(int index) const { return packed.data() + index * tile_size(); }
  KOKKOS_INLINE_FUNCTION const Real* weights(int index, long i) const {
    return biases(index) + tile * (sums + gates * i);
  }
  /// Weight of input i to a gate of unit j.
  KOKKOS_INLINE_FUNCTION Real input_weight(int gate, int j, int i) const {
    return weights(j / tile, i)[gate * tile + j % tile];
  }
  /// Weights of unit j's own state to its gates: of gate g at [g · tile]. Those of the tile's next unit follow `to_next_own` on.
  KOKKOS_INLINE_FUNCTION const Real* own_weights(int j) const { return weights(j / tile, inputs + j) + j % tile; }
  static constexpr int to_next_own = gates * tile + 1;
  /// Weight of state k to a gate of unit j.
  KOKKOS_INLINE_FUNCTION Real state_weight(int gate, int j, int k) const { return input_weight(gate, j, inputs + k); }
  /// The sum that takes a gate's state part.
  KOKKOS_INLINE_FUNCTION static constexpr int state_sum(int gate) { return Split && gate == gates - 1 ? gates : gate; }

  /// Calls activate(sum) for some parts at a time, sum[p][g] being the pre-activations of gate g of part p, which it
  /// overwrites, and then use(first, count, sum[p]) for each: sum[p][g].part[j] is of unit first + j, 0 ≤ j < count.
  template <class S, class U, class Activate, class Use>
  KOKKOS_INLINE_FUNCTION void for_each_part(const S& h, const U& x, const Activate& activate, const Use& use) const {
    // Zero states, as most guesses are, have no products to be added.
    const bool blank = is_blank(h);
    if (exec_is_host && hidden > 2 * products_at_once) return for_each_part_of_tiles(h, x, blank, activate, use);
    constexpr int part = part_of<typename S::Number>(), together = parts_together<typename S::Number>();
    int first = begin();
    if constexpr (together > 1)
      for (; first + (together - 1) * part < end(); first += together * part)
        take_parts<together>(first, h, x, blank, activate, use);
    for (; first < end(); first += part) take_parts<1>(first, h, x, blank, activate, use);
  }

  /// The same with the products W_hh x alone: product[g].part[j] of gate g of unit first + j.
  template <class X, class Use>
  KOKKOS_INLINE_FUNCTION void for_each_product(const X& x, const Use& use) const {
    constexpr int part = part_of<typename X::Number>();
    for (int first = 0; first < hidden; first += part) {
      Several<typename X::Number, part> product[gates];
      multiply(first, x, product);
      use(first, first + part < hidden ? part : hidden - first, product);
    }
  }

  /// Numbers that the inputs of a step become by `project`: the gates' sums so far, unit by unit, of whole parts.
  long projected_size() const {
    constexpr int largest = Part < tile ? Part : tile;
    return static_cast<long>(gates) * largest * ((hidden + largest - 1) / largest);
  }
  KOKKOS_INLINE_FUNCTION static constexpr long projected_at(int gate, int unit) {
    return static_cast<long>(unit) * gates + gate;
  }

  /// Takes inputs as far as they go without states: out.set(i, …) for all numbers i of the units.
  template <class U, class Out>
  KOKKOS_INLINE_FUNCTION void project(const U& x, const Out& out) const {
    constexpr int part = part_of<typename U::Number>();
    for (int first = begin(); first < end(); first += part) project_part(first, x, out);
  }

 private:
  template <int parts, class S, class U, class Activate, class Use>
  KOKKOS_FORCEINLINE_FUNCTION void take_parts(int first, const S& h, const U& x, bool blank, const Activate& activate,
                                              const Use& use) const {
    constexpr int part = part_of<typename S::Number>();
    Several<typename S::Number, part> sum[parts][sums];
    for (int p = 0; p < parts; ++p) accumulate(first + p * part, h, x, blank, sum[p]);
    activate(sum);
    use_parts(first, hidden, sum, use);
  }
  template <int parts, class P, int part, class Use>
  KOKKOS_FORCEINLINE_FUNCTION static void use_parts(int first, int end, Several<P, part> (&sum)[parts][sums],
                                                    const Use& use) {
    for (int p = 0; p < parts && first < end; ++p, first += part)
      use(first, first + part < end ? part : end - first, sum[p]);
  }

  KOKKOS_INLINE_FUNCTION int begin() const { return only < 0 ? 0 : only * tile; }
  KOKKOS_INLINE_FUNCTION int end() const { return only < 0 || (only + 1) * tile > hidden ? hidden : (only + 1) * tile; }

  /// Biases and input projections of the units from `first`. Returns the weights of the first state.
  template <class P, class U, int sized>
  KOKKOS_FORCEINLINE_FUNCTION const Real* add_inputs(int first, const U& x, P (&sum)[sized]) const {
    constexpr int part = sized / sums;
    const Real* w = biases(first / tile) + first % tile;
    unrolled<sized>([&](auto i) ELKHORN_INLINE_LAMBDA { sum[i] = P(w[i / part * tile + i % part]); });
    return add_products<false>(w + sums * tile, x, 0, inputs, sum);
  }

  /// Adds products of the inputs or states from `begin` to `end`. Returns the weights of the next one.
  template <bool States, class P, class X, int sized>
  KOKKOS_FORCEINLINE_FUNCTION static const Real* add_products(const Real* w, const X& x, int begin, int end,
                                                              P (&sum)[sized]) {
    constexpr int part = sized / sums;
    for (int k = begin; k < end; ++k, w += gates * tile) {
      const P xk = x[k];
      unrolled<gates * part>([&](auto s) ELKHORN_INLINE_LAMBDA {
        constexpr int to = (States ? state_sum(s / part) : s / part) * part + s % part;
        sum[to] = multiply_add(P(w[s / part * tile + s % part]), xk, sum[to]);
      });
    }
    return w;
  }

  template <class U, class Out>
  ELKHORN_OWN_REGISTERS void project_part(int first, const U& x, const Out& out) const {
    constexpr int part = part_of<typename U::Number>();
    typename U::Number sum[sums * part];
    add_inputs(first, x, sum);
    unrolled<gates * part>([&](auto s)
                               ELKHORN_INLINE_LAMBDA { out.set(projected_at(s / part, first + s % part), sum[s]); });
  }

  /// Sums of the units from `first`. A function of its own on hosts: its sums fill the registers, which compilers that see
  /// the caller too would spend on the caller's constants.
  template <class P, class S, class U, int part>
  ELKHORN_OWN_REGISTERS void accumulate(int first, const S& h, const U& x, bool blank,
                                        Several<P, part> (&out)[sums]) const {
    P sum[sums * part];
    const Real* w;
    if (is_projected(x)) {
      unrolled<gates * part>([&](auto s)
                                 ELKHORN_INLINE_LAMBDA { sum[s] = x[projected_at(s / part, first + s % part)]; });
      const Real* const bias = biases(first / tile) + first % tile;
      unrolled<(sums - gates) * part>([&](auto i) { sum[gates * part + i] = P(bias[gates * tile + i]); });
      w = weights(first / tile, inputs) + first % tile;
    } else {
      w = add_inputs(first, x, sum);
    }
    add_products<true>(w, h, 0, blank ? 0 : hidden, sum);
    unrolled<sums * part>([&](auto s) ELKHORN_INLINE_LAMBDA { out[s / part].part[s % part] = sum[s]; });
  }

  template <class P, class X, int part>
  ELKHORN_OWN_REGISTERS void multiply(int first, const X& x, Several<P, part> (&out)[gates]) const {
    P sum[sums * part];
    unrolled<sums * part>([&](auto s) ELKHORN_INLINE_LAMBDA { sum[s] = P(Real(0)); });
    add_products<true>(weights(first / tile, inputs) + first % tile, x, 0, hidden, sum);
    unrolled<gates * part>([&](auto s) ELKHORN_INLINE_LAMBDA {
      out[s / part].part[s % part] = sum[state_sum(s / part) * part + s % part];
    });
  }

  template <class S, class U, class Activate, class Use>
  ELKHORN_OWN_REGISTERS void for_each_part_of_tiles(const S& h, const U& x, bool blank, const Activate& activate,
                                                    const Use& use) const {
    constexpr int part = part_of<typename S::Number>(), by_parts = parts_of<typename S::Number>();
    for (int tile_begin = begin(); tile_begin < end(); tile_begin += tile) {
      Several<typename S::Number, part> sum[by_parts][sums];
      accumulate_tile(tile_begin, h, x, blank, sum);
      activate(sum);
      use_parts(tile_begin, hidden, sum, use);
    }
  }

  /// The sums of a tile whose weights do not fit in a first-level cache, some products of all parts at a time: so the
  /// parts, which use a share of each line of the weights, all find them there.
  template <class P, class S, class U, int part, int by_parts>
  KOKKOS_INLINE_FUNCTION void accumulate_tile(int first, const S& h, const U& x, bool blank,
                                              Several<P, part> (&sum)[by_parts][sums]) const {
    const int index = first / tile;
    const bool ready = is_projected(x);
    const int left = (hidden - first + part - 1) / part, parts = left < by_parts ? left : by_parts;
    for (int p = 0; p < parts; ++p)
      unrolled<sums * part>([&](auto s) ELKHORN_INLINE_LAMBDA {
        constexpr int g = s / part, j = s % part;
        sum[p][g].part[j] = ready && g < gates ? P(x[projected_at(g, first + p * part + j)])
                                               : P(biases(index)[g * tile + p * part + j]);
      });
    for (int k = 0; k < (ready ? 0 : inputs); k += products_at_once)
      for (int p = 0; p < parts; ++p) add<false>(weights(index, k) + p * part, x, k, least(k, inputs), sum[p]);
    for (int k = 0; k < (blank ? 0 : hidden); k += products_at_once)
      for (int p = 0; p < parts; ++p) add<true>(weights(index, inputs + k) + p * part, h, k, least(k, hidden), sum[p]);
  }

  /// Numbers of a strip that are multiplied at a time.
  static constexpr int products_at_once = 128;
  KOKKOS_INLINE_FUNCTION static int least(int from, int all) {
    return from + products_at_once < all ? from + products_at_once : all;
  }

  template <bool States, class P, class X, int part>
  ELKHORN_OWN_REGISTERS void add(const Real* w, const X& x, int begin, int end, Several<P, part> (&out)[sums]) const {
    P sum[sums * part];
    unrolled<sums * part>([&](auto s) ELKHORN_INLINE_LAMBDA { sum[s] = out[s / part].part[s % part]; });
    add_products<States>(w, x, begin, end, sum);
    unrolled<sums * part>([&](auto s) ELKHORN_INLINE_LAMBDA { out[s / part].part[s % part] = sum[s]; });
  }

  template <class S>
  KOKKOS_INLINE_FUNCTION bool is_blank(const S& h) const {
    using P = typename S::Number;
    for (int k = 0; k < hidden; ++k) {
      real_of<P> lanes[width_of<P>];
      store<P>(lanes, h[k]);
      for (const real_of<P> lane : lanes)
        if (lane != real_of<P>(0)) return false;
    }
    return true;
  }
};

}  // namespace elkhorn::systems
