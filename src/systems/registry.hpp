/// The one list of systems. A new system is one file and one line in registry.cpp.
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace elkhorn::systems {

/// A numeric key of a system's own in `[system]` (or `[problem]`), e.g. lorenz96's `forcing`.
struct Option {
  std::string name;
  double default_value = 0;
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool integer = false;
  std::string doc;
};

/// What decks and `elkhorn list systems` need to know of a system, without its data.
struct SystemInfo {
  std::string kind;
  std::string doc;
  long fixed_state_dim = 0;    ///< 0: the deck's `state_dim` (or the weights file) chooses D
  long default_state_dim = 0;  ///< used where the deck says nothing and the weights are random
  long min_state_dim = 1;
  bool has_weights = true;  ///< takes `weights = "file.h5:/group"`
  bool has_drivers = true;  ///< takes `drivers = "file.h5:/dataset"`
  std::vector<Option> options;
};

/// All systems, in the order they are listed to users.
const std::vector<SystemInfo>& infos();

/// The named system's description, or nullptr.
const SystemInfo* find_info(const std::string& kind);

}  // namespace elkhorn::systems
