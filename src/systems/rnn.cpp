/// rnn: Elman's recurrent network with tanh, as PyTorch's nn.RNN: h' = tanh(W_ih x + b_ih + W_hh h + b_hh).
#include "core/math.hpp"
#include "systems/recurrent.hpp"

namespace elkhorn::systems {

namespace {

template <class Real_>
struct RnnCell {
  using Real = Real_;
  static constexpr bool step_pairs = true;
  static constexpr int states_per_unit = 1;
  static constexpr int factors_per_unit = 1;
  using Tiles = GateTiles<Real, 1, false, 8>;  // one gate: more units a part, to hide the latency of sums

  Tiles tiles;

  KOKKOS_INLINE_FUNCTION int state_dim() const { return tiles.hidden; }
  KOKKOS_INLINE_FUNCTION int input_dim() const { return tiles.inputs; }

  double flops(Linearization l) const {
    const double H = tiles.hidden, n = tiles.inputs;
    const double step = 2 * H * (H + n) + H;
    switch (l) {
      case Linearization::diagonal: return step + 3 * H;
      case Linearization::dense: return step + H * H + 2 * H;
      case Linearization::factored: return step + 2 * H + 2 * H * H + 2 * H;
      default: return step;
    }
  }

  template <Linearization L, class S, class U, class Out>
  KOKKOS_INLINE_FUNCTION void evaluate(const S& s, const U& u, Out& out) const {
    using P = typename S::Number;
    tiles.for_each_part(
        s, u, [](auto& sums) { activate_parts(sums); },
        [&](const int first, const int count, const auto& sum) ELKHORN_INLINE_LAMBDA {
          for (int j = 0; j < count; ++j) {
            const P next = sum[0].part[j], slope = P(Real(1)) - next * next;
            out.value(first + j, next);
            if (L == Linearization::diagonal)
              out.diagonal(first + j, slope * P(tiles.state_weight(0, first + j, first + j)));
            if (L == Linearization::dense)
              for (int k = 0; k < tiles.hidden; ++k)
                out.dense(first + j, k, slope * P(tiles.state_weight(0, first + j, k)));
            if (L == Linearization::factored) out.factor(first + j, slope);
          }
        });
  }

  template <class A, class X, class Out>
  KOKKOS_INLINE_FUNCTION void multiply(const A& factors, const X& x, const Out& out) const {
    tiles.for_each_product(x, [&](const int first, const int count, const auto& product) ELKHORN_INLINE_LAMBDA {
      for (int j = 0; j < count; ++j) out(first + j, factors[first + j] * product[0].part[j]);
    });
  }

  template <class P, int parts>
  ELKHORN_OWN_REGISTERS static void activate_parts(P (&sum)[parts][1]) {
    unrolled<parts>([&](auto p) ELKHORN_INLINE_LAMBDA { sum[p][0] = hyperbolic_tangent(sum[p][0]); });
  }

  KOKKOS_INLINE_FUNCTION const Tiles& unit_tiles() const { return tiles; }
  KOKKOS_INLINE_FUNCTION Tiles& unit_tiles() { return tiles; }
  template <class P>
  static void advance(P (&sum)[1], const P (&)[1], P (&next)[1]) {
    next[0] = hyperbolic_tangent(sum[0]);
  }
};

}  // namespace

Registration register_rnn() {
  return register_recurrent<RnnCell>(
      recurrent_info("rnn", "Elman network with tanh, PyTorch's formulas and weight names"), {"rnn", 1, 1});
}

}  // namespace elkhorn::systems
