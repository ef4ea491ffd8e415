/// The commands of the program, one function each; all are collective over the suite's communicator.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "deck/deck.hpp"
#include "parallel/comm.hpp"
#include "systems/system.hpp"

namespace elkhorn::app {

/// Exit codes: every case reached a verdict that is neither wrong nor failed; some case did not; nothing was run.
inline constexpr int success = 0;
inline constexpr int some_case_failed = 1;
inline constexpr int bad_input = 2;
/// The run was asked to stop, or its time is over: finished cases are kept, --resume goes on (EX_TEMPFAIL of sysexits.h).
inline constexpr int interrupted = 75;

struct RunOptions {
  std::vector<std::string> decks;
  deck::Overrides overrides;
  std::string out;         ///< empty: the first deck's name with .h5, in the current directory
  std::string time_limit;  ///< measure::Interruptible
  bool resume = false;
  bool dry_run = false;
  bool json = false;
  bool interleave = false;        ///< cases take turns, a sample each
  bool roofs = true;              ///< measure what the machine can do first
  std::vector<std::string> argv;  ///< for the record
};

/// Runs the cases of decks, or lists them with their modelled memory (`dry_run`).
int run(const parallel::Comm& comm, const RunOptions& options);

/// `elkhorn list systems|solvers|scans|DECK…`
int list(const parallel::Comm& comm, const std::vector<std::string>& what, const deck::Overrides& overrides);

int info(const parallel::Comm& comm, const std::vector<std::string>& argv);

int check(const parallel::Comm& comm, const std::vector<std::string>& files);

struct AnalyzeOptions {
  std::vector<std::string> decks;
  deck::Overrides overrides;
  long sequences = 1;  ///< of each batch, from the first
  bool json = false;
};

/// Says of each problem of the decks which solvers will work (docs/analysis.md). Rank 0 alone does it.
int analyze(const parallel::Comm& comm, const AnalyzeOptions& options);

struct CheckedPlan : deck::Plan {
  std::vector<systems::Shape> shapes;  ///< of each case, for the memory model
};

/// The cases of decks, with sizes that files fix filled in and everything checked that can be before running.
/// Throws InputError.
CheckedPlan load_checked_plan(const std::vector<std::string>& decks, const deck::Overrides& overrides, int ranks);

/// Runs `section` on every rank; where it throws anywhere, prints one line on rank 0 and gives the exit code for it.
int guarded(const parallel::Comm& comm, const std::function<void()>& section);

}  // namespace elkhorn::app
