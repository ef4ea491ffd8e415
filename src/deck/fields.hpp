/// The schema of a deck: every key, what it accepts, how it is written back and named (docs: decks.md).
#pragma once

#include <toml++/toml.h>

#include <functional>
#include <string>
#include <vector>

#include "deck/case.hpp"
#include "solvers/kinds.hpp"
#include "systems/registry.hpp"

namespace elkhorn::deck {

/// When a key is part of a case's name.
enum class InName {
  always,          ///< what everybody wants to see: system, D, T, B, precision, solver, σ²
  unless_default,  ///< changes what is computed, and rarely set
  when_needed,     ///< only where two cases of a plan would otherwise share a name
};

/// One key that holds one scalar of a Case; the reader turns lists into several cases before it gets here.
struct Field {
  std::string section;  ///< system, problem, solver, measure, parallel or output
  std::string key;
  /// Checks one value and stores it; throws an InputError that says what would be accepted.
  std::function<void(Case&, const toml::node&, const Origin&)> set;
  /// The value as TOML; empty where the key is left out (a size that a file fixes, σ² of an undamped solver).
  std::function<std::string(const Case&)> literal;
  /// The value's part of a case name, made of [A-Za-z0-9._=+-]; may be empty.
  std::function<std::string(const Case&)> label;
  InName in_name = InName::when_needed;

  std::string path() const { return section + "." + key; }
};

/// All keys common to every system, in the order cases expand and names are built, outermost first.
/// `system.kind` is the first, `solver.kind` the first of the solver's.
const std::vector<Field>& common_fields();

/// `common_fields()` with the system's own options after its other `[system]` keys.
std::vector<Field> fields_of(const systems::SystemInfo& system);

/// The named common field ("solver.sigma2"), or nullptr.
const Field* find_common_field(const std::string& path);

/// Whether any system has an option of that name.
bool is_any_systems_option(const std::string& key);

/// Whether a `[[solver]]` key means anything to this kind of solver.
bool applies(const Field& field, const solvers::SolverKind& solver);

/// The part of `file.h5:/dataset` before the colon; empty for words such as "random".
std::string data_file(const std::string& source);

/// What a TOML value is, for messages: `"abc"`, `1.5`, `a table`.
std::string describe(const toml::node& node);

}  // namespace elkhorn::deck
