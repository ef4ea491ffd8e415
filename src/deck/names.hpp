/// Names of cases: short, unique in a plan, the same from run to run.
#pragma once

#include <string>
#include <vector>

#include "deck/fields.hpp"

namespace elkhorn::deck {

/// Everything that makes a case what it is, as text: equal for two cases exactly if they would do the same.
std::string identity(const Case& one);

/// Sets the name of each case. Cases of equal identity get the same name, all others different ones.
void assign_names(std::vector<Case>& cases);

}  // namespace elkhorn::deck
