/// What decks and overrides say, read and checked key by key but not yet expanded into cases.
#pragma once

#include <toml++/toml.h>

#include <list>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace elkhorn::deck {

/// A key's value, a scalar or a list of scalars; it points into a document of the Reader.
struct Entry {
  const toml::node* node = nullptr;
  Origin origin;
  /// Written in the deck's own tables, so it must fit; an override is passed over where it does not apply.
  bool own = true;
};
using Layer = std::map<std::string, Entry>;  ///< "problem.length" → value

struct SolverTable {
  Layer entries;
  Origin origin;
};

/// One product of lists: the whole deck, or one [[group]] of it on top of the deck's defaults.
struct Group {
  Layer settings;  ///< all sections but solver; quick and --set included
  std::vector<SolverTable> solvers;
  Layer solver_overrides;            ///< from [quick.solver] and --set, for all solvers
  std::vector<std::string> filters;  ///< regular expressions, all of which a name must match
  std::string deck_file;
  Origin origin;                                 ///< of the group, for what is missing in it
  std::map<std::string, Origin> section_origin;  ///< of its tables
};

/// A `--set section.key=value`, parsed.
struct Setting {
  std::string section, key;
  const toml::node* node = nullptr;
};

inline constexpr const char* set_option = "--set";

/// Collects the groups of one or several decks. All --set come first, then the decks.
class Reader {
 public:
  explicit Reader(bool quick) : quick_(quick) {}

  void add_setting(const std::string& text);
  void add_deck(const std::string& text, const std::string& file);

  const std::vector<Setting>& settings() const { return settings_; }
  const std::vector<std::string>& titles() const { return titles_; }
  const std::vector<Group>& groups() const { return groups_; }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  bool quick_;
  std::list<toml::table> documents_;  // a list: what points into them stays good
  std::vector<Setting> settings_;
  std::vector<std::string> titles_;
  std::vector<Group> groups_;
  std::vector<std::string> notes_;
};

/// The sections of a deck, in the order in which they are written.
const std::vector<std::string>& sections();

/// A list's items; a scalar is a list of one. Throws InputError for an empty list.
std::vector<const toml::node*> items(const Entry& entry);

/// Where one item of a list stands.
Origin item_origin(const Entry& entry, const toml::node& item);

/// A filter as a regular expression (ECMAScript without back-references: matching time grows with the length of a name,
/// not exponentially). Throws InputError where `text` is none, or longer than any filter.
std::regex filter_regex(const std::string& text, const Origin& where);

}  // namespace elkhorn::deck
