/// The typed, checked description of one case: what a deck expands to (docs: decks.md).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/error.hpp"

namespace elkhorn::deck {

enum class Precision { float32, float64 };
enum class Stop { residual, update, iterations };
/// What the guard does with a state that is not finite or exceeds the overflow bound.
enum class Guard { none, zero, guess };
/// How an iteration goes through the steps: all of them in each of its parts, or block by block with all parts at once.
enum class Pass { automatic, fused, separate };

/// One solver with all of its options, as in a `[[solver]]` table.
struct SolverConfig {
  std::string kind = "sequential";  ///< a name of solvers::kinds()
  /// Trust region of the damped solvers: σ² > 0; nothing where `sigma2_adaptive` or for undamped solvers.
  std::optional<double> sigma2;
  bool sigma2_adaptive = false;
  long max_iterations = 0;  ///< 0: the length T (what an undamped solver needs at most), capped at 10000
  double tolerance = 1e-4;  ///< on max_t |residual| or max_t |update|, absolute, per sequence
  Stop stop = Stop::residual;
  std::string window = "full";
  std::string step_bound = "none";
  std::string scan = "auto";  ///< auto | serial | flat | chunked | chunked:N (N chunks in time)
  Pass pass = Pass::automatic;
  std::string guess = "zero";  ///< zero | initial_state | previous | file.h5:/dataset
  Guard guard = Guard::guess;
  double damping_factor = 0;    ///< k: Jacobians are scaled by 1 − k
  bool clip_jacobians = false;  ///< Jacobian entries are clipped to [−1, 1] first
  bool smoother = false;        ///< damping = "smoother": the exact Levenberg–Marquardt step instead of the filter's
};

/// How long and how often a case is timed, as in `[measure]`.
struct MeasureConfig {
  long warmup = 2;
  long min_repetitions = 5;
  long max_repetitions = 100;
  double ci_width = 0.05;      ///< relative width of the 95 % interval of the median at which sampling stops
  double time_limit_s = 30.0;  ///< sampling of one case stops after this many seconds
};

struct Case {
  long index = 0;  ///< position in the plan, from 0
  std::string name;
  std::string deck_file;

  std::string system;                            ///< a name of systems::registry()
  std::map<std::string, double> system_options;  ///< the system's own keys, defaults filled in
  long state_dim = 0;                            ///< D; 0: fixed by the system or its weights
  std::string weights = "random";                ///< random | file.h5:/group

  long length = 0;  ///< T, unknown states s_1..s_T; 0: fixed by the driver file
  long batch = 1;   ///< B
  std::uint64_t seed = 1;
  std::string drivers = "random";      ///< random | file.h5:/dataset
  std::string initial_state = "zero";  ///< zero | random | file.h5:/dataset

  SolverConfig solver;
  Precision precision = Precision::float32;
  MeasureConfig measure;
  long time_ranks = 1;
  bool history = true;
  bool states = false;

  /// Where each key was set ("system.weights" → file, line), for errors found later, e.g. on reading data.
  std::map<std::string, Origin> origins;

  /// Origin of `key`; where the deck leaves it to the default, the deck itself with that key.
  Origin origin(const std::string& key) const {
    const auto found = origins.find(key);
    return found != origins.end() ? found->second : Origin{deck_file, key, 0};
  }
};

inline const char* to_string(Precision p) { return p == Precision::float32 ? "float32" : "float64"; }
inline const char* to_string(Stop s) {
  return s == Stop::residual ? "residual" : s == Stop::update ? "update" : "iterations";
}
inline const char* to_string(Pass p) { return p == Pass::automatic ? "auto" : p == Pass::fused ? "fused" : "separate"; }
inline const char* to_string(Guard g) { return g == Guard::none ? "none" : g == Guard::zero ? "zero" : "guess"; }

}  // namespace elkhorn::deck
