/// ar_gru: the trained noisy-sine autoregressive GRU of the ELK paper (arXiv 2407.19115, section 6.2).
///
/// s = (x, h) with h in R^3: h' = GRU(x, h), o = h' + x, μ = w_μ·o + b_μ, ℓ = w_ℓ·o + b_ℓ, x' = μ + softplus(ℓ) u.
/// s_0 = f((0, 0), u_0), with one driver more than steps, unless `initial_state` names another start.
///
/// f is evaluated in double precision and rounded once, in float32 too (Jacobians are not). The system is marginally
/// stable, so rounding adds up over 10,000 steps; but rounded once, two float32 trajectories a few units in the last place
/// apart merge again, and with rounding in every operation they do not. Solvers thus end up to ten times nearer to the
/// sequential states: tests/solvers/test_ar_gru_floors.cpp.
#include <cmath>

#include "systems/cell_system.hpp"
#include "systems/data.hpp"
#include "systems/gru_gates.hpp"
#include "systems/widened.hpp"

namespace elkhorn::systems {

namespace {

constexpr int hidden = 3;

template <class Real_>
struct ArGruCell {
  using Real = Real_;

  GruGates<Real> gates;
  Real mean_weight[hidden], mean_bias;
  Real scale_weight[hidden], scale_bias;

  KOKKOS_INLINE_FUNCTION int state_dim() const { return 1 + hidden; }
  KOKKOS_INLINE_FUNCTION int input_dim() const { return 1; }

  double flops(Linearization l) const {
    const double step = 6 * hidden * (hidden + 1) + 12 * hidden + 4 * hidden + 6;
    return l == Linearization::dense ? step + 60 * hidden : l == Linearization::diagonal ? step + 36 * hidden : step;
  }

  template <Linearization L, class S, class U, class Out>
  KOKKOS_INLINE_FUNCTION void evaluate(const S& s, const U& u, Out& out) const {
    using P = typename S::Number;
    using Wide = Widened<P>;
    const Wide x = widen(s[0]);
    Wide mean(mean_bias), scale(scale_bias);
    // d(mean), d(scale) by x and by each h; o = h' + x
    P mean_x(Real(0)), scale_x(Real(0)), mean_h[hidden], scale_h[hidden];
    for (int k = 0; k < hidden; ++k) mean_h[k] = scale_h[k] = P(Real(0));
    gates.for_each_unit(WideStrip<S>{s.from(1)}, WideStrip<S>{s}, [&](const int j, const auto& wide) {
      const Wide next = wide.next();
      out.value(1 + j, narrow<P>(next));
      mean += Wide(mean_weight[j]) * (next + x);
      scale += Wide(scale_weight[j]) * (next + x);
      if (L == Linearization::zero) return;
      const typename GruGates<Real>::template Unit<P> unit{narrow<P>(wide.r),         narrow<P>(wide.z),
                                                           narrow<P>(wide.n),         narrow<P>(wide.h),
                                                           narrow<P>(wide.recurrent), wide.own};
      if (L == Linearization::diagonal) out.diagonal(1 + j, gates.own_derivative(unit));
      if (L == Linearization::diagonal || L == Linearization::dense) {
        const P by_x = gates.input_derivative(unit, j, 0);
        mean_x += P(mean_weight[j]) * (by_x + P(Real(1)));
        scale_x += P(scale_weight[j]) * (by_x + P(Real(1)));
        if (L == Linearization::dense) {
          out.dense(1 + j, 0, by_x);
          for (int k = 0; k < hidden; ++k) {
            const P by_h = gates.derivative(unit, j, k);
            out.dense(1 + j, 1 + k, by_h);
            mean_h[k] += P(mean_weight[j]) * by_h;
            scale_h[k] += P(scale_weight[j]) * by_h;
          }
        }
      }
    });
    out.value(0, narrow<P>(mean + softplus<Real>(scale) * widen(u[0])));
    if (L == Linearization::diagonal || L == Linearization::dense) {
      const P slope = sigmoid(narrow<P>(scale)) * u[0];  // softplus' = σ
      if (L == Linearization::diagonal) out.diagonal(0, mean_x + slope * scale_x);
      if (L == Linearization::dense) {
        out.dense(0, 0, mean_x + slope * scale_x);
        for (int k = 0; k < hidden; ++k) out.dense(0, 1 + k, mean_h[k] + slope * scale_h[k]);
      }
    }
  }
};

/// The published error: MAD of the output coordinate over all T states, of which the first is given.
template <class Real>
class ArGru : public CellSystem<ArGruCell<Real>> {
 public:
  using CellSystem<ArGruCell<Real>>::CellSystem;
  ErrorMeasure error_measure(long length) const override { return {0, 1, double(length + 1)}; }
};

bool derives_start(const deck::Case& c) { return c.initial_state == "zero"; }

template <class Real>
ArGruCell<Real> cell_of(const deck::Case& c) {
  if (c.weights == "random")
    throw InputError(c.origin("system.weights"),
                     "ar_gru is a trained model: name its weights, e.g. weights = \"argru_weights.h5:/\"");
  RecurrentWeights w;
  w.inputs = 1;
  w.hidden = hidden;
  w.weight_ih = read_weights(c, "weight_ih", {3 * hidden, 1}).values;
  w.weight_hh = read_weights(c, "weight_hh", {3 * hidden, hidden}).values;
  w.bias_ih = read_weights_or_zeros(c, "bias_ih", {3 * hidden}).values;
  w.bias_hh = read_weights_or_zeros(c, "bias_hh", {3 * hidden}).values;
  const Array decoder = read_weights(c, "decoder.weight", {2, hidden});
  const Array bias = read_weights(c, "decoder.bias", {2});
  ArGruCell<Real> cell;
  using Tiles = typename GruGates<Real>::Tiles;
  cell.gates = {Tiles{to_device<Real>(Tiles::pack(w)), 1, hidden}};
  for (std::size_t i = 0; i < hidden; ++i) {
    cell.mean_weight[i] = static_cast<Real>(decoder.values[i]);
    cell.scale_weight[i] = static_cast<Real>(decoder.values[hidden + i]);
  }
  cell.mean_bias = static_cast<Real>(bias.values[0]);
  cell.scale_bias = static_cast<Real>(bias.values[1]);
  return cell;
}

Shape inspect_ar_gru(const deck::Case& c) {
  cell_of<double>(c);
  inspect_initial_state(c, 1 + hidden);
  const long extra = derives_start(c) ? 1 : 0;
  return {1 + hidden, 1, inspect_drivers(c, 1, extra) - extra};
}

template <class Real>
Instance<Real> make_ar_gru(const deck::Case& c, parallel::Range batch) {
  const ArGruCell<Real> cell = cell_of<Real>(c);
  Instance<Real> out;
  const double parameters = double(cell.gates.tiles.packed.size() + 2 * hidden + 2);
  out.system = std::make_shared<ArGru<Real>>(cell, parameters * sizeof(Real));
  if (!derives_start(c)) {
    out.drivers = make_drivers<Real>(c, driver_steps(c, 1, 0), 1, batch);
    out.initial = make_initial_state<Real>(c, 1 + hidden, batch);
    return out;
  }
  // One step from (0, 0) with u_0 gives s_0; u_1.. drive the unknown states.
  const long steps = driver_steps(c, 1, 1);
  const Rows<Real> all = make_drivers<Real>(c, steps, 1, batch);
  const auto zero = make_view<Matrix<Real>>("zero state", batch.size(), 1 + hidden);
  Kokkos::deep_copy(zero, Real(0));
  const auto first_driver = make_view<Rows<Real>>("first driver", 1, batch.size(), 1);
  const auto first_state = make_view<Rows<Real>>("first state", 1, batch.size(), 1 + hidden);
  out.drivers = make_view<Rows<Real>>("drivers", steps - 1, batch.size(), 1);
  const auto of = [&](long begin, long end) {
    return Kokkos::subview(all, std::make_pair(begin, end), Kokkos::ALL, Kokkos::ALL);
  };
  Kokkos::deep_copy(first_driver, of(0, 1));
  Kokkos::deep_copy(out.drivers, of(1, steps));
  out.system->rollout(first_driver, zero, first_state);
  out.initial = make_view<Matrix<Real>>("initial state", batch.size(), 1 + hidden);
  Kokkos::deep_copy(out.initial, Kokkos::subview(first_state, 0, Kokkos::ALL, Kokkos::ALL));
  return out;
}

}  // namespace

Registration register_ar_gru() {
  SystemInfo info;
  info.kind = "ar_gru";
  info.doc = "the trained noisy-sine autoregressive GRU of the ELK paper; its output is its next input";
  info.fixed_state_dim = 1 + hidden;
  return {info, inspect_ar_gru, make_ar_gru<float>, make_ar_gru<double>};
}

}  // namespace elkhorn::systems
