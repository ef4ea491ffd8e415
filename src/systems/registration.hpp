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

// One a system, defined in the system's file.
Registration register_gru();
Registration register_ar_gru();
Registration register_linear();
Registration register_lorenz96();

}  // namespace elkhorn::systems
