/// lstm: long short-term memory, PyTorch's formulas and gate order i, f, g, o. The state is s = (h, c), D = 2 H:
///
///   i, f, o = σ(W_i· x + b_i· + W_h· h + b_h·),   g = tanh(…),   c' = f c + i g,   h' = o tanh(c')
#include "core/math.hpp"
#include "systems/recurrent.hpp"

namespace elkhorn::systems {

namespace {

template <class Real_>
struct LstmCell {
  using Real = Real_;
  static constexpr bool step_pairs = true;
  static constexpr int states_per_unit = 2;
  static constexpr int factors_per_unit = 6;
  using Tiles = GateTiles<Real, 4, false>;

  Tiles tiles;

  KOKKOS_INLINE_FUNCTION int state_dim() const { return 2 * tiles.hidden; }
  KOKKOS_INLINE_FUNCTION int input_dim() const { return tiles.inputs; }

  double flops(Linearization l) const {
    const double H = tiles.hidden, n = tiles.inputs;
    const double step = 8 * H * (H + n) + 9 * H;
    switch (l) {
      case Linearization::diagonal: return step + 29 * H;
      case Linearization::dense: return step + 9 * H * H + 20 * H;
      case Linearization::factored: return step + 20 * H + 8 * H * H + 13 * H;
      default: return step;
    }
  }

  template <Linearization L, class S, class U, class Out>
  KOKKOS_INLINE_FUNCTION void evaluate(const S& s, const U& u, Out& out) const {
    using P = typename S::Number;
    const int H = tiles.hidden;
    tiles.for_each_part(
        s, u, [](auto& sums) { activate_parts(sums); },
        [&](const int first, const int count, const auto& sum) ELKHORN_INLINE_LAMBDA {
          std::decay_t<decltype(sum[0])> cells;
          for (int unit = 0; unit < cells.count; ++unit) cells.part[unit] = s[H + first + (unit < count ? unit : 0)];
          const auto next_cells = multiply_add(sum[1], cells, sum[0] * sum[2]);
          const auto all_bounded = hyperbolic_tangent(next_cells);
          for (int unit = 0; unit < count; ++unit) {
            const int j = first + unit;
            const P one(Real(1));
            const P i = sum[0].part[unit], f = sum[1].part[unit], g = sum[2].part[unit], o = sum[3].part[unit];
            const P c = cells.part[unit], bounded = all_bounded.part[unit];
            out.value(j, o * bounded);
            out.value(H + j, next_cells.part[unit]);
            if (L == Linearization::zero) continue;
            // dc' = to_i d(sum i) + to_f d(sum f) + to_g d(sum g) + f dc;   dh' = to_o d(sum o) + h_by_c dc'
            const P to_i = i * (one - i) * g, to_f = f * (one - f) * c, to_g = i * (one - g * g);
            const P to_o = o * (one - o) * bounded, h_by_c = o * (one - bounded * bounded);
            const auto c_by_h = [&](int k) {
              return to_i * P(tiles.state_weight(0, j, k)) + to_f * P(tiles.state_weight(1, j, k)) +
                     to_g * P(tiles.state_weight(2, j, k));
            };
            if (L == Linearization::diagonal) {
              out.diagonal(j, to_o * P(tiles.state_weight(3, j, j)) + h_by_c * c_by_h(j));
              out.diagonal(H + j, f);
            } else if (L == Linearization::factored) {
              const P factors[factors_per_unit] = {to_i, to_f, to_g, f, to_o, h_by_c};
              for (int a = 0; a < factors_per_unit; ++a) out.factor(a * H + j, factors[a]);
            } else {
              for (int k = 0; k < H; ++k) {
                const P d = c_by_h(k);
                out.dense(j, k, to_o * P(tiles.state_weight(3, j, k)) + h_by_c * d);
                out.dense(H + j, k, d);
                out.dense(j, H + k, k == j ? h_by_c * f : P(Real(0)));
                out.dense(H + j, H + k, k == j ? f : P(Real(0)));
              }
            }
          }
        });
  }

  template <class A, class X, class Out>
  KOKKOS_INLINE_FUNCTION void multiply(const A& factors, const X& x, const Out& out) const {
    using P = typename X::Number;
    const int H = tiles.hidden;
    tiles.for_each_product(x, [&](const int first, const int count, const auto& product) ELKHORN_INLINE_LAMBDA {
      for (int unit = 0; unit < count; ++unit) {
        const int j = first + unit;
        P dc = factors[3 * H + j] * x[H + j];
        for (int g = 0; g < 3; ++g) dc = multiply_add(factors[g * H + j], product[g].part[unit], dc);
        out(H + j, dc);
        out(j, multiply_add(factors[5 * H + j], dc, factors[4 * H + j] * product[3].part[unit]));
      }
    });
  }

  /// From pre-activations to i, f, g and o.
  template <class P>
  KOKKOS_INLINE_FUNCTION static void activate(P (&sum)[4]) {
    unrolled<4>([&](auto gate) ELKHORN_INLINE_LAMBDA {
      sum[gate] = gate == 2 ? hyperbolic_tangent(sum[gate]) : sigmoid(sum[gate]);
    });
  }

  template <class P, int parts>
  ELKHORN_OWN_REGISTERS static void activate_parts(P (&sum)[parts][4]) {
    for (int p = 0; p < parts; ++p) activate(sum[p]);
  }

  KOKKOS_INLINE_FUNCTION const Tiles& unit_tiles() const { return tiles; }
  KOKKOS_INLINE_FUNCTION Tiles& unit_tiles() { return tiles; }
  template <class P>
  static void advance(P (&sum)[4], const P (&s)[2], P (&next)[2]) {
    activate(sum);
    next[1] = multiply_add(sum[1], s[1], sum[0] * sum[2]);
    next[0] = sum[3] * hyperbolic_tangent(next[1]);
  }
};

}  // namespace

Registration register_lstm() {
  SystemInfo info = recurrent_info("lstm",
                                   "long short-term memory, PyTorch's formulas and weight names; "
                                   "the state is (h, c), D = 2 H");
  info.default_state_dim = 16;
  info.min_state_dim = 2;
  return register_recurrent<LstmCell>(info, {"lstm", 4, 2});
}

}  // namespace elkhorn::systems
