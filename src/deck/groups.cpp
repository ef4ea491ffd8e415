#include "deck/groups.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <optional>
#include <regex>

#include "deck/fields.hpp"
#include "deck/text.hpp"

namespace elkhorn::deck {
namespace {

Origin at(const std::string& file, const std::string& key, const toml::node& node) {
  return {file, key, file == set_option ? 0 : static_cast<int>(node.source().begin.line)};
}

}  // namespace

const std::vector<std::string>& sections() {
  static const std::vector<std::string> all = {"system", "problem", "solver", "measure", "parallel", "output"};
  return all;
}

std::vector<const toml::node*> items(const Entry& entry) {
  const auto* list = entry.node->as_array();
  if (!list) return {entry.node};
  if (list->empty()) fail(entry.origin, "the list is empty; give at least one value, or leave the key out");
  std::vector<const toml::node*> all;
  for (const toml::node& item : *list) all.push_back(&item);
  return all;
}

Origin item_origin(const Entry& entry, const toml::node& item) { return at(entry.origin.file, entry.origin.key, item); }

std::regex filter_regex(const std::string& text, const Origin& where) {
  constexpr size_t longest = 1000;  // the library's parser goes one call deeper with every bracket
  if (text.size() > longest) fail(where, fmt::format("has {} characters; a filter may have {}", text.size(), longest));
  auto grammar = std::regex::ECMAScript;
#ifdef __GLIBCXX__
  grammar |= std::regex_constants::__polynomial;  // "(a*)*b" would else try all ways to divide a name
#endif
  try {
    return std::regex(text, grammar);
  } catch (const std::regex_error&) {
    fail(where, in_quotes(text) + " is not a valid regular expression");
  }
}

namespace {

std::vector<std::string> keys_of(const std::string& section) {
  std::vector<std::string> keys;
  for (const Field& field : common_fields())
    if (field.section == section) keys.push_back(field.key);
  if (section == "system" || section == "problem")
    for (const systems::SystemInfo& system : systems::infos())
      for (const systems::Option& option : system.options)
        if (std::find(keys.begin(), keys.end(), option.name) == keys.end()) keys.push_back(option.name);
  return keys;
}

/// `; it belongs in [problem]` for a key of exactly that name elsewhere.
std::string belongs(const std::string& key) {
  for (const std::string& section : sections()) {
    const std::vector<std::string> keys = keys_of(section);
    if (key != "kind" && std::find(keys.begin(), keys.end(), key) != keys.end())
      return "; it belongs in " + (section == "solver" ? "[[solver]]" : "[" + section + "]");
  }
  return "";
}

// ---- reading ------------------------------------------------------------------------------------------

/// Checks one `key = value` of a section and adds it to the layer. `prefix` ("quick.") is for messages.
void read_key(Layer& layer, const std::string& file, const std::string& deck_file, const std::string& prefix,
              const std::string& section, const std::string& key, const toml::node& node, const Origin& where,
              bool own) {
  if (section == "measure" && key == "repetitions") {
    if (const auto* table = node.as_table()) {
      for (auto&& [name, value] : *table) {
        const std::string full = key + "." + std::string(name.str());
        read_key(layer, file, deck_file, prefix, section, full, value,
                 at(file, fmt::format("{}{}.{}", prefix, section, full), value), own);
      }
      return;
    }
    if (!node.is_integer())
      fail(where, "must be { min = 5, max = 100 } or one whole number for both, not " + describe(node));
    read_key(layer, file, deck_file, prefix, section, "repetitions.min", node, where, own);
    read_key(layer, file, deck_file, prefix, section, "repetitions.max", node, where, own);
    return;
  }

  std::string path = section + "." + key;
  const Field* field = find_common_field(path);
  if (!field) {  // not a key that all systems share
    if ((section == "system" || section == "problem") && is_any_systems_option(key)) {
      path = "system." + key;  // a system's own key may stand in either table
    } else {
      const std::vector<std::string> known = keys_of(section);
      fail(where, "unknown key" + did_you_mean(key, known) + belongs(key) + "; [" + section + "] takes " +
                      alternatives(known));
    }
  }
  const auto twice = layer.find(path);
  if (own && twice != layer.end())
    fail(where,
         "is set twice, also as " + twice->second.origin.key + " in line " + std::to_string(twice->second.origin.line));

  const Entry entry{&node, where, own};
  Case scratch;  // the values are stored on expansion; here they are checked, also those that end up unused
  scratch.deck_file = deck_file;
  for (const toml::node* item : items(entry)) {
    if (item->is_array()) fail(item_origin(entry, *item), "a list may hold single values only, not another list");
    if (field) field->set(scratch, *item, item_origin(entry, *item));
  }
  layer[path] = entry;
}

void read_section(Layer& layer, const std::string& file, const std::string& prefix, const std::string& section,
                  const toml::node& node, bool own) {
  const auto* table = node.as_table();
  if (!table)
    fail(at(file, prefix + section, node), "must be a table, [" + prefix + section + "], not " + describe(node));
  for (auto&& [key, value] : *table) {
    const std::string name(key.str());
    read_key(layer, file, file, prefix, section, name, value,
             at(file, fmt::format("{}{}.{}", prefix, section, name), value), own);
  }
}

std::vector<SolverTable> read_solvers(const std::string& file, const toml::node& node) {
  const auto* list = node.as_array();
  const Origin where = at(file, "solver", node);
  if (node.is_table()) fail(where, "write [[solver]] with two brackets, one such table for each solver");
  if (!list || list->empty())
    fail(where, "must be one or more [[solver]] tables, not " + (list ? std::string("an empty list") : describe(node)));
  std::vector<SolverTable> solvers;
  for (const toml::node& item : *list) {
    SolverTable solver;
    solver.origin = at(file, "solver", item);
    if (!item.is_table()) fail(solver.origin, "must be a [[solver]] table, not " + describe(item));
    read_section(solver.entries, file, "", "solver", item, true);
    if (solver.entries.find("solver.kind") == solver.entries.end())
      fail(Origin{file, "solver.kind", solver.origin.line}, "is missing; say which solver, such as kind = \"deer\"");
    solvers.push_back(std::move(solver));
  }
  return solvers;
}

std::vector<std::string> read_filter(const std::string& file, const toml::node& node) {
  std::vector<std::string> filters;
  const Entry entry{&node, at(file, "filter", node), true};
  for (const toml::node* item : items(entry)) {
    const auto* text = item->as_string();
    if (!text) fail(item_origin(entry, *item), "must be a regular expression as a string, not " + describe(*item));
    filters.push_back(text->get());
    filter_regex(text->get(), item_origin(entry, *item));
  }
  return filters;
}

/// The `[quick]` table of a deck or group; laid over `settings` and `solver_overrides` where asked for.
void read_quick(const std::string& file, const toml::node& node, bool apply, Group& group) {
  const auto* quick = node.as_table();
  if (!quick) fail(at(file, "quick", node), "must hold tables such as [quick.problem], not " + describe(node));
  for (auto&& [key, value] : *quick) {
    const std::string section(key.str());
    const Origin where = at(file, "quick." + section, value);
    if (std::find(sections().begin(), sections().end(), section) == sections().end())
      fail(where,
           "unknown section" + did_you_mean(section, sections()) + "; [quick] takes " + alternatives(sections()));
    if (section == "solver" && value.is_array())
      fail(where, "write [quick.solver] with single brackets; it applies to all solvers");
    Layer layer;
    read_section(layer, file, "quick.", section, value, true);
    for (auto& [path, entry] : layer) {
      entry.own = false;
      if (apply) (section == "solver" ? group.solver_overrides : group.settings)[path] = entry;
    }
  }
}

/// Reads the tables that a deck and a [[group]] have in common into `group`, over what is there.
void read_tables(const std::string& file, const toml::table& table, Group& group) {
  for (auto&& [key, value] : table) {
    const std::string section(key.str());
    if (section == "filter") {
      group.filters = read_filter(file, value);
    } else if (section == "solver") {
      group.solvers = read_solvers(file, value);
    } else if (std::find(sections().begin(), sections().end(), section) != sections().end()) {
      group.section_origin[section] = at(file, section, value);
    }
  }
  // system before problem, as a system's own key may stand in either: a key set in both is an error
  Layer layer;
  for (const std::string& section : sections())
    if (const toml::node* value = table.get(section); value && section != "solver")
      read_section(layer, file, "", section, *value, true);
  for (auto& [path, entry] : layer) group.settings[path] = entry;
}

void check_keys(const std::string& file, const toml::table& table, const std::string& what,
                const std::vector<std::string>& others) {
  std::vector<std::string> known = sections();
  known.insert(known.end(), others.begin(), others.end());
  for (auto&& [key, value] : table) {
    const std::string name(key.str());
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const bool section = value.is_table() || value.is_array_of_tables();
    fail(at(file, name, value), std::string("unknown ") + (section ? "section" : "key") + did_you_mean(name, known) +
                                    belongs(name) + "; " + what + " takes " + alternatives(known));
  }
}

std::string trimmed(std::string text) {
  text.erase(0, text.find_first_not_of(" \t\r"));
  text.erase(text.find_last_not_of(" \t\r") + 1);
  return text;
}

/// `; text needs quotes: kind = "gru"` where a line gives a key a bare word, or a list that begins with one.
std::string quotes_hint(const std::string& text, int line) {
  size_t begin = 0;
  for (int i = 1; i < line && begin < text.size(); ++i) begin = std::min(text.find('\n', begin), text.size() - 1) + 1;
  const std::string whole = text.substr(begin, text.find('\n', begin) - begin);
  const size_t equals = whole.find('=');
  if (equals == std::string::npos) return "";
  const size_t from = whole.find_first_not_of(" \t[", equals + 1);
  if (from == std::string::npos || !std::isalpha(static_cast<unsigned char>(whole[from]))) return "";
  const std::string word = trimmed(whole.substr(from, whole.find_first_of(",]#\"'", from) - from));
  if (word == "true" || word == "false" || word == "nan" || word == "inf") return "";
  return "; text needs quotes: " + trimmed(whole.substr(0, equals)) + " = " + in_quotes(word);
}

/// Refuses a table header that does not begin with a name, such as `[[[solver]]`: toml++ up to 3.3 asserts
/// that it does, so a build with assertions would abort. A line inside a multi-line string or list that looks
/// like such a header is refused too; no deck needs one.
void check_headers(const std::string& text, const std::string& file) {
  int line = 1;
  for (size_t begin = 0; begin < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const size_t bracket = text.find_first_not_of(" \t\xef\xbb\xbf", begin);  // the last three: a byte order mark
    if (bracket < end && text[bracket] == '[') {
      const size_t name = text.find_first_not_of(" \t", bracket + (text[bracket + 1] == '[' ? 2 : 1));
      const std::string letters = "_-\"']";  // and the closing bracket, whose message toml++ has
      if (name < text.size() && !std::isalnum(static_cast<unsigned char>(text[name])) &&
          letters.find(text[name]) == std::string::npos)
        fail(Origin{file, "", line}, "not valid TOML: a table is [name] or [[name]]");
    }
    begin = end + 1;
  }
}

// ---- --set --------------------------------------------------------------------------------------------

/// `text` as a TOML value if it is one.
std::optional<toml::table> parse_value(const std::string& text) {
  try {
    toml::table table = toml::parse("value = " + text);
    if (table.size() == 1 && text.find('\n') == std::string::npos) return table;
  } catch (const toml::parse_error&) {
  }
  return std::nullopt;
}

/// The same with bare words taken as strings, also in a list: `[float32, float64]`.
std::optional<toml::table> parse_bare(const std::string& text) {
  if (auto table = parse_value(text)) return table;
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return parse_value(in_quotes(text));
  std::string list;
  for (size_t begin = 1; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size() - 1);
    const std::string item = trimmed(text.substr(begin, end - begin));
    list += (list.empty() ? "" : ", ") + (parse_value(item) ? item : in_quotes(item));
    begin = end + 1;
  }
  return parse_value("[" + list + "]");
}

}  // namespace

void Reader::add_setting(const std::string& text) {
  const size_t equals = text.find('=');
  const size_t dot = text.find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot > equals || equals == dot + 1)
    fail(Origin{set_option, "", 0},
         in_quotes(text) + " is not of the form section.key=value, such as solver.tolerance=1e-6");
  Setting setting{trimmed(text.substr(0, dot)), trimmed(text.substr(dot + 1, equals - dot - 1)), nullptr};
  const std::string path = setting.section + "." + setting.key;
  const std::string value = trimmed(text.substr(equals + 1));
  if (std::find(sections().begin(), sections().end(), setting.section) == sections().end())
    fail(Origin{set_option, path, 0},
         "unknown section" + did_you_mean(setting.section, sections()) + "; choose " + alternatives(sections()));
  // A mistyped list or table stays one: only what does not look like TOML is a bare word.
  const bool broken = value.empty() || value[0] == '"' || value[0] == '\'' || value[0] == '{' ||
                      (value[0] == '[' && value.back() != ']');
  std::optional<toml::table> table = broken ? parse_value(value) : parse_bare(value);
  if (!table) fail(Origin{set_option, path, 0}, in_quotes(value) + " is not a TOML value");
  documents_.push_back(std::move(*table));
  setting.node = documents_.back().get("value");
  settings_.push_back(std::move(setting));
}

void Reader::add_deck(const std::string& text, const std::string& file) {
  check_headers(text, file);
  try {
    documents_.push_back(toml::parse(text, file));
  } catch (const toml::parse_error& error) {
    const int line = static_cast<int>(error.source().begin.line);
    fail(Origin{file, "", line}, "not valid TOML: " + std::string(error.description()) + quotes_hint(text, line));
  }
  const toml::table& root = documents_.back();
  if (root.empty())
    fail(Origin{file, "", 1}, "the deck is empty; it needs at least [system], [problem] and [[solver]]");

  check_keys(file, root, "a deck", {"title", "filter", "group", "quick"});
  std::string title = std::filesystem::path(file).stem().string();
  if (const toml::node* node = root.get("title")) {
    if (!node->is_string()) fail(at(file, "title", *node), "must be a string, not " + describe(*node));
    title = node->as_string()->get();
  }
  titles_.push_back(title);

  Group defaults;
  defaults.deck_file = file;
  defaults.origin = Origin{file, "", 1};
  read_tables(file, root, defaults);

  std::vector<std::pair<Group, const toml::table*>> groups;
  if (const toml::node* node = root.get("group")) {
    const auto* list = node->as_array();
    if (!list || list->empty())
      fail(at(file, "group", *node),
           "must be [[group]] tables, with two brackets, not " + (list ? "an empty list" : describe(*node)));
    for (const toml::node& item : *list) {
      Group group = defaults;
      group.origin = at(file, "group", item);
      if (!item.is_table()) fail(group.origin, "must be a [[group]] table, not " + describe(item));
      check_keys(file, *item.as_table(), "a [[group]]", {"filter", "quick"});
      read_tables(file, *item.as_table(), group);
      groups.emplace_back(std::move(group), item.as_table());
    }
  } else {
    groups.emplace_back(defaults, nullptr);
  }

  bool has_quick = false;
  for (auto& [group, table] : groups) {
    for (const toml::table* source : {&root, table}) {
      const toml::node* quick = source ? source->get("quick") : nullptr;
      if (!quick) continue;
      has_quick = true;
      read_quick(file, *quick, quick_, group);
    }
    for (const Setting& setting : settings_) {
      const std::string path = setting.section + "." + setting.key;
      read_key(setting.section == "solver" ? group.solver_overrides : group.settings, set_option, file, "",
               setting.section, setting.key, *setting.node, Origin{set_option, path, 0}, false);
    }
    groups_.push_back(std::move(group));
  }
  if (quick_ && !has_quick) notes_.push_back(file + ": has no [quick] table; --quick changes nothing in it");
}

}  // namespace elkhorn::deck
