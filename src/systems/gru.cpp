/// gru: the gated recurrent unit (PyTorch's formulas), random (flax's initialisers) or with given weights.
#include "systems/gru_gates.hpp"
#include "systems/recurrent.hpp"

namespace elkhorn::systems {

namespace {

template <class Real_>
struct GruCell {
  using Real = Real_;
  static constexpr bool step_pairs = true;
  static constexpr int states_per_unit = 1;
  static constexpr int factors_per_unit = 4;
  using Tiles = typename GruGates<Real>::Tiles;

  GruGates<Real> gates;

  KOKKOS_INLINE_FUNCTION int state_dim() const { return gates.hidden(); }
  KOKKOS_INLINE_FUNCTION int input_dim() const { return gates.inputs(); }

  double flops(Linearization l) const {
    const double H = gates.hidden(), n = gates.inputs();
    const double step = 6 * H * (H + n) + 12 * H;
    switch (l) {
      case Linearization::diagonal: return step + 18 * H;
      case Linearization::dense: return step + 6 * H * H + 12 * H;
      case Linearization::factored: return step + 12 * H + 6 * H * H + 8 * H;
      default: return step;
    }
  }

  template <Linearization L, class S, class U, class Out>
  KOKKOS_INLINE_FUNCTION void evaluate(const S& s, const U& u, Out& out) const {
    using P = typename S::Number;
    gates.for_each_unit(s, u,
                        [&](const int j, const typename GruGates<Real>::template Unit<P>& unit) ELKHORN_INLINE_LAMBDA {
                          out.value(j, unit.next());
                          if (L == Linearization::diagonal) out.diagonal(j, gates.own_derivative(unit));
                          if (L == Linearization::dense)
                            for (int k = 0; k < gates.hidden(); ++k) out.dense(j, k, gates.derivative(unit, j, k));
                          if (L == Linearization::factored) {
                            const int H = gates.hidden();
                            out.factor(j, unit.to_r());
                            out.factor(H + j, unit.to_z());
                            out.factor(2 * H + j, unit.to_n() * unit.r);
                            out.factor(3 * H + j, unit.z);
                          }
                        });
  }

  template <class A, class X, class Out>
  KOKKOS_INLINE_FUNCTION void multiply(const A& factors, const X& x, const Out& out) const {
    using P = typename X::Number;
    const int H = gates.hidden();
    gates.tiles.for_each_product(x, [&](const int first, const int count, const auto& product) ELKHORN_INLINE_LAMBDA {
      for (int unit = 0; unit < count; ++unit) {
        const int j = first + unit;
        P sum = factors[3 * H + j] * x[j];
        for (int g = 0; g < 3; ++g) sum = multiply_add(factors[g * H + j], product[g].part[unit], sum);
        out(j, sum);
      }
    });
  }

  KOKKOS_INLINE_FUNCTION const Tiles& unit_tiles() const { return gates.tiles; }
  KOKKOS_INLINE_FUNCTION Tiles& unit_tiles() { return gates.tiles; }
  template <class P>
  static void advance(P (&sum)[4], const P (&h)[1], P (&next)[1]) {
    GruGates<Real>::advance(sum, h, next);
  }
};

}  // namespace

Registration register_gru() {
  return register_recurrent<GruCell>(recurrent_info("gru", "gated recurrent unit, PyTorch's formulas and weight names"),
                                     {"gru", 3, 1});
}

}  // namespace elkhorn::systems
