/// gru: the gated recurrent unit (PyTorch's formulas), random (flax's initialisers) or with given weights.
#include "systems/cell_system.hpp"
#include "systems/data.hpp"
#include "systems/gru_gates.hpp"

namespace elkhorn::systems {

namespace {

template <class Real_>
struct GruCell {
  using Real = Real_;

  GruGates<Real> gates;

  KOKKOS_INLINE_FUNCTION int state_dim() const { return gates.hidden; }
  KOKKOS_INLINE_FUNCTION int input_dim() const { return gates.inputs; }

  double flops(Linearization l) const {
    const double H = gates.hidden, n = gates.inputs;
    const double step = 6 * H * (H + n) + 12 * H;
    return l == Linearization::dense ? step + 6 * H * H + 12 * H
           : l == Linearization::diagonal ? step + 18 * H
                                          : step;
  }

  template <Linearization L, class S, class U, class Out>
  KOKKOS_INLINE_FUNCTION void evaluate(const S& s, const U& u, Out& out) const {
    using P = typename S::Number;
    gates.for_each_unit(s, u, [&](const int j, const typename GruGates<Real>::template Unit<P>& unit) {
      out.value(j, unit.next());
      if (L == Linearization::diagonal) out.diagonal(j, gates.derivative(unit, j, j));
      if (L == Linearization::dense)
        for (int k = 0; k < gates.hidden; ++k) out.dense(j, k, gates.derivative(unit, j, k));
    });
  }
};

GruWeights weights_of(const deck::Case& c) {
  GruWeights w;
  const long asked_inputs = static_cast<long>(c.system_options.at("input_dim"));
  if (c.weights != "random") {
    const Array ih = read_weights(c, "weight_ih", {-1, -1});
    const Array hh = read_weights(c, "weight_hh", {ih.shape[0], -1});
    w.inputs = ih.shape[1];
    w.hidden = hh.shape[1];
    if (hh.shape[0] != 3 * w.hidden)
      throw InputError(c.origin("system.weights"), c.weights + "/weight_hh has shape " + record::shape_text(hh.shape) +
                                                       ", a GRU needs [3 D, D] (PyTorch's layout)");
    if (c.state_dim > 0 && c.state_dim != w.hidden)
      throw InputError(c.origin("system.state_dim"), "is " + std::to_string(c.state_dim) + ", but the weights in " +
                                                         c.weights + " have D = " + std::to_string(w.hidden));
    if (asked_inputs > 0 && asked_inputs != w.inputs)
      throw InputError(c.origin("system.input_dim"), "is " + std::to_string(asked_inputs) + ", but the weights in " +
                                                         c.weights + " take " + std::to_string(w.inputs) + " inputs");
    w.weight_ih = ih.values;
    w.weight_hh = hh.values;
    w.bias_ih = read_weights_or_zeros(c, "bias_ih", {3 * w.hidden}).values;
    w.bias_hh = read_weights_or_zeros(c, "bias_hh", {3 * w.hidden}).values;
    return w;
  }
  w.hidden = c.state_dim;
  w.inputs = asked_inputs > 0 ? asked_inputs : c.state_dim;
  const long H = w.hidden;
  const std::uint64_t inputs_end = static_cast<std::uint64_t>(3 * H * w.inputs) * 64;
  w.weight_ih = random_lecun_normal(3 * H * w.inputs, w.inputs, c.seed, 0);
  for (std::uint64_t gate = 0; gate < 3; ++gate)
    for (const double x : random_orthogonal(H, c.seed, inputs_end + gate * static_cast<std::uint64_t>(H * H)))
      w.weight_hh.push_back(c.system_options.at("gain") * x);
  w.bias_ih.assign(static_cast<std::size_t>(3 * H), 0.0);
  w.bias_hh = w.bias_ih;
  return w;
}

Shape inspect_gru(const deck::Case& c) {
  long dim = c.state_dim, inputs = static_cast<long>(c.system_options.at("input_dim"));
  if (c.weights != "random") {
    const GruWeights w = weights_of(c);
    dim = w.hidden;
    inputs = w.inputs;
  } else if (inputs == 0) {
    inputs = dim;
  }
  inspect_initial_state(c, dim);
  return {dim, inputs, inspect_drivers(c, inputs, 0).steps};
}

template <class Real>
Instance<Real> make_gru(const deck::Case& c, parallel::Range batch) {
  const GruWeights w = weights_of(c);
  const GruGates<Real> gates{to_device<Real>(GruGates<Real>::pack(w)), static_cast<int>(w.inputs),
                             static_cast<int>(w.hidden)};
  Instance<Real> out;
  out.system = std::make_shared<CellSystem<GruCell<Real>>>(GruCell<Real>{gates},
                                                           double(gates.packed.size()) * sizeof(Real));
  out.drivers = make_drivers<Real>(c, inspect_drivers(c, w.inputs, 0).steps, w.inputs, batch);
  out.initial = make_initial_state<Real>(c, w.hidden, batch);
  return out;
}

}  // namespace

Registration register_gru() {
  SystemInfo info;
  info.kind = "gru";
  info.doc = "gated recurrent unit, PyTorch's formulas and weight names; random weights are flax's initialisers";
  info.default_state_dim = 8;
  info.options = {{"input_dim", 0, 0, 1e6, true, "number of inputs a step; 0: as many as states"},
                  {"gain", 1, 0, 1e3, false, "factor on the random recurrent weights (1: orthogonal)"}};
  return {info, inspect_gru, make_gru<float>, make_gru<double>};
}

}  // namespace elkhorn::systems
