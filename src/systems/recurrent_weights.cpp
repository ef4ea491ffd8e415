#include "systems/recurrent_weights.hpp"

#include <fmt/format.h>

#include "systems/data.hpp"
#include "systems/gate_tiles.hpp"

namespace elkhorn::systems {

namespace {

/// The name under which the weights hold `name`: a cell's own, or with the suffix of a module's only layer.
std::string stored_name(const deck::Case& c, const std::string& name) {
  return has_weights(c, name) || !has_weights(c, name + "_l0") ? name : name + "_l0";
}

RecurrentWeights read(const deck::Case& c, const RecurrentKind& kind) {
  const Origin origin = c.origin("system.weights");
  for (const char* more : {"weight_ih_l1", "weight_ih_l0_reverse", "weight_hr_l0"})
    if (has_weights(c, more))
      throw InputError(
          origin, fmt::format("{} has {}: a cell has one layer, one direction and no projection", c.weights, more));
  const Array ih = read_weights(c, stored_name(c, "weight_ih"), {-1, -1});
  const Array hh = read_weights(c, stored_name(c, "weight_hh"), {ih.shape[0], -1});
  RecurrentWeights w;
  w.inputs = ih.shape[1];
  w.hidden = hh.shape[1];
  if (hh.shape[0] != kind.gates * w.hidden || w.hidden == 0)
    throw InputError(origin, fmt::format("weight_hh of {} has shape {}; {} needs [{}, H] (PyTorch's layout)", c.weights,
                                         record::shape_text(hh.shape), kind.name,
                                         kind.gates == 1 ? "H" : std::to_string(kind.gates) + " H"));
  w.weight_ih = ih.values;
  w.weight_hh = hh.values;
  w.bias_ih = read_weights_or_zeros(c, stored_name(c, "bias_ih"), {hh.shape[0]}).values;
  w.bias_hh = read_weights_or_zeros(c, stored_name(c, "bias_hh"), {hh.shape[0]}).values;
  return w;
}

RecurrentWeights draw(const deck::Case& c, const RecurrentKind& kind) {
  RecurrentWeights w;
  const long asked_inputs = static_cast<long>(c.system_options.at("input_dim"));
  const long H = w.hidden = c.state_dim / kind.states_per_unit;
  w.inputs = asked_inputs > 0 ? asked_inputs : H;
  const long rows = kind.gates * H;
  const std::uint64_t inputs_end = static_cast<std::uint64_t>(rows * w.inputs) * 64;
  w.weight_ih = random_lecun_normal(rows * w.inputs, w.inputs, c.seed, 0);
  for (int gate = 0; gate < kind.gates; ++gate)
    for (const double x : random_orthogonal(H, c.seed, inputs_end + static_cast<std::uint64_t>(gate * H * H)))
      w.weight_hh.push_back(c.system_options.at("gain") * x);
  w.bias_ih.assign(static_cast<std::size_t>(rows), 0.0);
  w.bias_hh = w.bias_ih;
  return w;
}

}  // namespace

RecurrentWeights recurrent_weights(const deck::Case& c, const RecurrentKind& kind) {
  const long asked_inputs = static_cast<long>(c.system_options.at("input_dim"));
  if (c.state_dim % kind.states_per_unit != 0)
    throw InputError(c.origin("system.state_dim"),
                     fmt::format("is {}; {}'s state is (h, c), so D must be even", c.state_dim, kind.name));
  if (c.weights == "random") return draw(c, kind);
  const RecurrentWeights w = read(c, kind);
  const long dim = w.hidden * kind.states_per_unit;
  if (c.state_dim > 0 && c.state_dim != dim)
    throw InputError(c.origin("system.state_dim"),
                     fmt::format("is {}, but the weights in {} have D = {}", c.state_dim, c.weights, dim));
  if (asked_inputs > 0 && asked_inputs != w.inputs)
    throw InputError(c.origin("system.input_dim"),
                     fmt::format("is {}, but the weights in {} take {} inputs", asked_inputs, c.weights, w.inputs));
  return w;
}

Shape inspect_recurrent(const deck::Case& c, const RecurrentKind& kind) {
  Shape shape;
  if (c.weights == "random" && c.state_dim % kind.states_per_unit == 0) {  // sizes without drawing any weight
    const long asked_inputs = static_cast<long>(c.system_options.at("input_dim"));
    shape = {c.state_dim, asked_inputs > 0 ? asked_inputs : c.state_dim / kind.states_per_unit};
  } else {
    const RecurrentWeights w = recurrent_weights(c, kind);
    shape = {w.hidden * kind.states_per_unit, w.inputs};
  }
  const long units = shape.state_dim / kind.states_per_unit;
  shape.parameters = double(kind.gates * units) * double(shape.input_dim + units + 2);
  if (shape.input_dim >= fewest_projected_inputs) shape.projected_dim = kind.gates * units;
  inspect_initial_state(c, shape.state_dim);
  shape.length = inspect_drivers(c, shape.input_dim, 0);
  return shape;
}

SystemInfo recurrent_info(const std::string& kind, const std::string& doc) {
  SystemInfo info;
  info.kind = kind;
  info.doc = doc + "; random weights are flax's initialisers";
  info.default_state_dim = 8;
  info.options = {{"input_dim", 0, 0, 1e6, true, "number of inputs a step; 0: as many as units"},
                  {"gain", 1, 0, 1e3, false, "factor on the random recurrent weights (1: orthogonal)"}};
  return info;
}

}  // namespace elkhorn::systems
