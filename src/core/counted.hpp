/// A number and what it counts.
#pragma once

#include <string>

namespace elkhorn {

/// "1 rank", "2 ranks", "0 cases".
inline std::string counted(long n, const std::string& noun) {
  return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

}  // namespace elkhorn
