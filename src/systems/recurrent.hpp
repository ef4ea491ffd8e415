/// What the registrations of gru, lstm and rnn share.
#pragma once

#include "systems/cell_system.hpp"
#include "systems/data.hpp"
#include "systems/gate_tiles.hpp"
#include "systems/recurrent_weights.hpp"
#include "systems/registration.hpp"

namespace elkhorn::systems {

/// A case of a cell that is made from its packed weights: `Cell<Real>{tiles}` with `Cell<Real>::Tiles`.
template <template <class> class Cell, class Real>
Instance<Real> make_recurrent(const deck::Case& c, parallel::Range batch, const RecurrentKind& kind) {
  using Tiles = typename Cell<Real>::Tiles;
  const RecurrentWeights w = recurrent_weights(c, kind);
  const Tiles tiles{to_device<Real>(Tiles::pack(w)), static_cast<int>(w.inputs), static_cast<int>(w.hidden)};
  Instance<Real> out;
  out.system =
      std::make_shared<CellSystem<Cell<Real>>>(Cell<Real>{{tiles}}, double(tiles.packed.size()) * sizeof(Real));
  out.drivers = make_drivers<Real>(c, driver_steps(c, w.inputs, 0), w.inputs, batch);
  out.initial = make_initial_state<Real>(c, w.hidden * kind.states_per_unit, batch);
  return out;
}

template <template <class> class Cell>
Registration register_recurrent(const SystemInfo& info, const RecurrentKind& kind) {
  return {info,
          [kind](const deck::Case& c) {
            Shape shape = inspect_recurrent(c, kind);
            shape.factors = Cell<float>::factors_per_unit * (shape.state_dim / kind.states_per_unit);
            return shape;
          },
          [kind](const deck::Case& c, parallel::Range batch) { return make_recurrent<Cell, float>(c, batch, kind); },
          [kind](const deck::Case& c, parallel::Range batch) { return make_recurrent<Cell, double>(c, batch, kind); }};
}

}  // namespace elkhorn::systems
