/// From decks (TOML) to a checked plan of cases. The format is described in docs/decks.md.
#pragma once

#include <string>
#include <vector>

#include "deck/case.hpp"

namespace elkhorn::deck {

/// What the command line changes about the decks.
struct Overrides {
  std::vector<std::string> set;  ///< `section.key=value`, the value as in TOML; a bare word is a string
  std::string filter;            ///< regular expression; only cases whose name it is found in are kept
  bool quick = false;            ///< apply the decks' `[quick]` tables
};

struct Plan {
  std::string title;
  /// One deck, as TOML with every default written out, that loads to the same cases (from the same
  /// directory).
  std::string resolved_text;
  std::vector<Case> cases;         ///< in the order they run; names are unique
  std::vector<std::string> notes;  ///< remarks for stderr: dropped duplicates, an override that applied nowhere
};

/// Reads, checks and expands decks. Throws InputError, one line that names file, line and key, on the first
/// thing that is wrong: nothing may run then. Data files are checked for existence only.
Plan load_plan(const std::vector<std::string>& deck_files, const Overrides& overrides = {});

/// The same for a deck in memory; `deck_file` stands in messages, and relative data files start from its
/// folder.
Plan plan_from_text(const std::string& deck_text, const std::string& deck_file, const Overrides& overrides = {});

/// Throws InputError where a case cannot be split over this number of MPI ranks. Call it before anything
/// runs.
void check_ranks(const std::vector<Case>& cases, int n_ranks);

}  // namespace elkhorn::deck
