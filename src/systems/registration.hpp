/// How a system's file announces it: its description and how to make it.
#pragma once

#include <functional>

#include "systems/registry.hpp"
#include "systems/system.hpp"

namespace elkhorn::systems {

struct Registration {
  SystemInfo info;
  std::function<Shape(const deck::Case&)> inspect;
  std::function<Instance<float>(const deck::Case&, parallel::Range)> make_float;
  std::function<Instance<double>(const deck::Case&, parallel::Range)> make_double;
};

/// Adds a system to the list, for programs that bring their own: call it before any deck is read.
void add_system(const Registration& registration);

// One a system, defined in the system's file.
Registration register_gru();
Registration register_lstm();
Registration register_rnn();
Registration register_ar_gru();
Registration register_linear();
Registration register_lorenz96();

}  // namespace elkhorn::systems
