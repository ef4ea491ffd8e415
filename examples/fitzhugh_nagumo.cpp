/// fitzhugh_nagumo: a ring of excitable units, R. FitzHugh, Biophys. J. 1 (1961) 445; J. Nagumo et al. (1962).
///
///   v_i' = v_i + h (v_i − v_i³/3 − w_i + u_i + g (v_{i−1} − 2 v_i + v_{i+1})),
///   w_i' = w_i + h ε (v_i + 0.7 − 0.8 w_i)
///
/// One forward Euler step of h = 0.1 a time step, ε = 0.08; state s = (v, w) of N units, D = 2 N; drivers u ~ N(0, 1).
#include "systems/cell_system.hpp"
#include "systems/data.hpp"
#include "systems/registration.hpp"

namespace elkhorn::systems {

namespace {

template <class Real_>
struct FitzHughNagumoCell {
  using Real = Real_;

  int units;
  Real coupling;  // g

  KOKKOS_INLINE_FUNCTION int state_dim() const { return 2 * units; }
  KOKKOS_INLINE_FUNCTION int input_dim() const { return units; }

  /// Operations of a step, and what its Jacobian adds.
  double flops(Linearization l) const {
    return units * (l == Linearization::dense || l == Linearization::diagonal ? 24 : 19);
  }

  /// s[i], u[i] are packs of lanes on hosts and numbers on GPUs: write numbers as P(Real(…)), and no branches on them.
  template <Linearization L, class S, class U, class Out>
  KOKKOS_INLINE_FUNCTION void evaluate(const S& s, const U& u, Out& out) const {
    using P = typename S::Number;
    const P h(Real(0.1)), slow(Real(0.008)), g(coupling);  // h, h ε
    for (int i = 0; i < units; ++i) {
      const int left = i == 0 ? units - 1 : i - 1, right = i + 1 == units ? 0 : i + 1;
      const P v = s[i], w = s[units + i];
      const P spread = g * (s[left] - P(Real(2)) * v + s[right]);
      out.value(i, v + h * (v - P(Real(1.0 / 3)) * v * v * v - w + u[i] + spread));
      out.value(units + i, w + slow * (v + P(Real(0.7)) - P(Real(0.8)) * w));
      const P by_v = P(Real(1)) + h * (P(Real(1)) - v * v - P(Real(2)) * g), by_w = P(Real(1)) - P(Real(0.8)) * slow;
      if (L == Linearization::diagonal) {
        out.diagonal(i, by_v);
        out.diagonal(units + i, by_w);
      }
      if (L == Linearization::dense) {
        for (int j = 0; j < 2 * units; ++j) {  // every entry, the zeros too
          out.dense(i, j, j == i ? by_v : j == units + i ? -h : j == left || j == right ? h * g : P(Real(0)));
          out.dense(units + i, j, j == i ? slow : j == units + i ? by_w : P(Real(0)));
        }
      }
    }
  }
};

/// Sizes of a case, its files checked. What does not fit is an InputError with the deck's own line.
Shape inspect_fitzhugh_nagumo(const deck::Case& c) {
  if (c.state_dim % 2 != 0) throw InputError(c.origin("system.state_dim"), "must be even: a unit has two states");
  inspect_initial_state(c, c.state_dim);
  return {c.state_dim, c.state_dim / 2, inspect_drivers(c, c.state_dim / 2, 0)};
}

/// The cell and the data of the sequences of this rank.
template <class Real>
Instance<Real> make_fitzhugh_nagumo(const deck::Case& c, parallel::Range batch) {
  const Shape shape = inspect_fitzhugh_nagumo(c);
  const FitzHughNagumoCell<Real> cell{static_cast<int>(shape.input_dim),
                                      static_cast<Real>(c.system_options.at("coupling"))};
  Instance<Real> out;
  out.system = std::make_shared<CellSystem<FitzHughNagumoCell<Real>>>(cell, 0.0);  // 0 bytes of parameters
  out.drivers = make_drivers<Real>(c, shape.length, shape.input_dim, batch);
  out.initial = make_initial_state<Real>(c, shape.state_dim, batch);
  return out;
}

}  // namespace

Registration register_fitzhugh_nagumo() {
  SystemInfo info;
  info.kind = "fitzhugh_nagumo";
  info.doc = "a ring of N excitable units, D = 2 N";
  info.default_state_dim = 8;
  info.min_state_dim = 6;  // three units: a unit's neighbours differ
  info.has_weights = false;
  info.options = {{"coupling", 0.5, 0, 2, false, "g, between neighbours"}};
  return {info, inspect_fitzhugh_nagumo, make_fitzhugh_nagumo<float>, make_fitzhugh_nagumo<double>};
}

}  // namespace elkhorn::systems
