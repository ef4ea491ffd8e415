/// Weights of PyTorch's recurrent cells: read from files under PyTorch's names, or drawn as flax's initialisers do.
#pragma once

#include <string>
#include <vector>

#include "deck/case.hpp"
#include "systems/registry.hpp"
#include "systems/system.hpp"

namespace elkhorn::systems {

/// weight_ih [G H, n], weight_hh [G H, H], biases [G H] of a cell with G gates of H units, in doubles.
struct RecurrentWeights {
  long inputs = 0;  ///< n
  long hidden = 0;  ///< H
  std::vector<double> weight_ih, weight_hh, bias_ih, bias_hh;

  /// Place of a gate's unit j in a bias, or of its column `col` in a weight with `cols` columns.
  std::size_t at(int gate, long j, long cols = 1, long col = 0) const {
    return static_cast<std::size_t>((gate * hidden + j) * cols + col);
  }
};

/// What distinguishes a recurrent cell here: its name in messages, G, and how many numbers of the state a unit has.
struct RecurrentKind {
  const char* name;
  int gates;
  int states_per_unit;
};

/// The weights of a case (`system.weights`, options `input_dim` and `gain`). InputError where they do not fit together
/// or belong to a model of several layers, directions or projections.
RecurrentWeights recurrent_weights(const deck::Case& c, const RecurrentKind& kind);

/// Shape of a case, with all files it names checked.
Shape inspect_recurrent(const deck::Case& c, const RecurrentKind& kind);

/// Options `input_dim` and `gain`, and the default D.
SystemInfo recurrent_info(const std::string& kind, const std::string& doc);

}  // namespace elkhorn::systems
