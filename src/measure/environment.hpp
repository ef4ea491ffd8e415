/// What a measurement ran on: everything `/meta` of a results file and `elkhorn info` say.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "measure/placement.hpp"
#include "parallel/comm.hpp"

namespace elkhorn::measure {

using Value = std::variant<std::string, long, double>;

struct Environment {
  /// Names and values in the order people read them; the names of `/meta` (docs/results.md) among them. Sizes end
  /// in _bytes; times in _s; environment variables begin with "env.". What cannot be found out is "unknown".
  std::vector<std::pair<std::string, Value>> attributes;
  std::vector<Placement> placement;   ///< of all ranks, on rank 0; empty elsewhere
  std::vector<std::string> warnings;  ///< what may spoil timings, on rank 0; empty elsewhere

  /// The named value, or nullptr.
  const Value* find(const std::string& name) const;
};

/// The environment of this run; `argv` is the command line. Complete on rank 0 (host, processor, load and
/// environment variables are rank 0's). Kokkos and MPI must be initialised. Collective.
Environment collect_environment(const parallel::Comm& comm, const std::vector<std::string>& argv);

/// For people: a line an attribute (texts of several lines indented below it), then the warnings. Sizes in KiB to
/// GiB.
std::string render(const Environment& environment);

/// UTC in ISO 8601, "2026-01-31T23:59:59Z".
std::string utc_timestamp(std::chrono::system_clock::time_point time = std::chrono::system_clock::now());

}  // namespace elkhorn::measure
