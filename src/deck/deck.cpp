#include "deck/deck.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <unordered_set>

#include "core/counted.hpp"
#include "deck/fields.hpp"
#include "deck/groups.hpp"
#include "deck/names.hpp"
#include "deck/text.hpp"
#include "solvers/kinds.hpp"

namespace elkhorn::deck {
namespace {

constexpr size_t max_cases = 100000;

// ---- expansion ----------------------------------------------------------------------------------------

/// What decks may ask for and this version cannot do. The one place to take a line out of when it can.
void reject_unavailable(const Case& one, bool ranks_are_known) {
  const auto unless = [&](bool available, const std::string& key, const std::string& instead) {
    if (!available) fail(one.origin(key), "is not available in this version; " + instead);
  };
  if (one.solver.window != "full" && one.solver.stop != Stop::residual)
    fail(one.origin("solver.window"), "needs stop = \"residual\": only residuals tell which states are settled");
  const bool bounded = one.solver.step_bound != "none";
  if (bounded && one.solver.smoother)
    fail(one.origin("solver.step_bound"), "does not go with the smoother: its increments are not made step by step");
  if (one.solver.sigma2_adaptive && one.solver.smoother)
    fail(one.origin("solver.sigma2"),
         "\"adaptive\" bounds increments, which does not go with the smoother; write a number");
  if (bounded && one.solver.sigma2_adaptive)
    fail(one.origin("solver.step_bound"),
         "does not go with sigma2 = \"adaptive\", which chooses its own; leave it out");
  if (one.solver.pass == Pass::fused) {
    const std::string reason = solvers::why_not_fused(one.solver, one.time_ranks);
    if (!reason.empty()) fail(one.origin("solver.pass"), "\"fused\" " + reason + "; write \"auto\"");
  }
  if (one.time_ranks == 1 || !ranks_are_known) return;
  const std::string one_rank = "write parallel.time_ranks = 1 for it";
  unless(one.solver.scan != "flat", "solver.scan", "\"flat\" scans on one rank only; leave it out, or " + one_rank);
}

void set_item(Case& one, const Field& field, const Entry& entry, const toml::node& item) {
  Origin origin = item_origin(entry, item);
  field.set(one, item, origin);
  one.origins[field.path()] = std::move(origin);
}

/// Every case so far with every value of this key: earlier keys are the outer loops.
void multiply(std::vector<Case>& cases, const Field& field, const Entry& entry) {
  const std::vector<const toml::node*> values = items(entry);
  if (cases.size() * values.size() > max_cases)
    fail(entry.origin, fmt::format("the lists make more than {} cases; shorten them or split the deck", max_cases));
  if (values.size() == 1) {
    for (Case& one : cases) set_item(one, field, entry, *values[0]);
    return;
  }
  std::vector<Case> product;
  product.reserve(cases.size() * values.size());
  for (const Case& one : cases)
    for (const toml::node* value : values) {
      product.push_back(one);
      set_item(product.back(), field, entry, *value);
    }
  cases = std::move(product);
}

const Entry* find(const Layer& layer, const std::string& path) {
  const auto found = layer.find(path);
  return found == layer.end() ? nullptr : &found->second;
}

/// Where to point for a key that a group should have set.
Origin missing(const Group& group, const std::string& section, const std::string& key) {
  const auto table = group.section_origin.find(section);
  return {group.deck_file, section + "." + key,
          table != group.section_origin.end() ? table->second.line : group.origin.line};
}

/// One table of the resolved deck: every key (as "problem.length") with its values or its default, as TOML.
using Resolved = std::vector<std::pair<std::string, std::string>>;

std::string literals(const Field& field, const Entry* entry, Case scratch) {
  if (!entry) return field.literal(scratch);
  std::vector<std::string> values;
  for (const toml::node* item : items(*entry)) {
    field.set(scratch, *item, item_origin(*entry, *item));
    values.push_back(field.literal(scratch));
  }
  return values.size() == 1 ? values[0] : fmt::format("[{}]", fmt::join(values, ", "));
}

/// The solvers of a group as cases that hold nothing but a solver, and as they are written back.
struct Solvers {
  std::vector<Case> cases;
  std::vector<Resolved> resolved;
};

/// `, which …`: why a key does not apply to a solver.
std::string why_not(const Field& field, const solvers::SolverKind& solver) {
  if (!solver.iterative) return ", which does not iterate";
  if (field.key == "sigma2" || field.key == "damping") return ", which has no trust region";
  return ", which uses no Jacobians";
}

Solvers expand_solvers(const Group& group, std::set<std::string>& applied) {
  if (group.solvers.empty())
    fail(Origin{group.deck_file, "solver", group.origin.line},
         "there is no [[solver]]; add one or more, such as [[solver]] and kind = \"deer\" below it");
  Solvers all;
  std::vector<Case> sequential;  // first, so that what follows has a time to be compared with
  std::vector<Resolved> sequential_resolved;
  for (const SolverTable& table : group.solvers) {
    const Entry* override_kind = find(group.solver_overrides, "solver.kind");
    const Entry& kinds = override_kind ? *override_kind : table.entries.at("solver.kind");
    if (override_kind) applied.insert("solver.kind");
    for (const toml::node* kind_item : items(kinds)) {
      Case proto;
      proto.deck_file = group.deck_file;
      const Field& kind_field = *find_common_field("solver.kind");
      set_item(proto, kind_field, kinds, *kind_item);
      const solvers::SolverKind& kind = *solvers::find_kind(proto.solver.kind);
      Resolved resolved{{"solver.kind", kind_field.literal(proto)}};

      std::vector<Case> cases{proto};
      for (const Field& field : common_fields()) {
        if (field.section != "solver" || field.key == "kind") continue;
        const Entry* own = find(table.entries, field.path());
        const Entry* override_entry = find(group.solver_overrides, field.path());
        if (!applies(field, kind)) {
          if (own && !override_kind)
            fail(own->origin, "does not apply to " + in_quotes(kind.name) + why_not(field, kind) +
                                  "; remove it, or give " + in_quotes(kind.name) + " a [[solver]] table of its own");
          continue;
        }
        const Entry* entry = override_entry ? override_entry : own;
        if (override_entry) applied.insert(field.path());
        if (entry) multiply(cases, field, *entry);
        if (!entry && field.key == "sigma2")
          fail(Origin{group.deck_file, field.path(), table.origin.line},
               "is missing: " + in_quotes(kind.name) +
                   " needs its trust region; write for example sigma2 = 1e6 (large: close to Newton, small: "
                   "cautious steps)");
        resolved.emplace_back(field.path(), literals(field, entry, proto));
      }
      for (const Case& one : cases) reject_unavailable(one, false);
      std::move(cases.begin(), cases.end(), std::back_inserter(kind.iterative ? all.cases : sequential));
      (kind.iterative ? all.resolved : sequential_resolved).push_back(std::move(resolved));
    }
  }
  all.cases.insert(all.cases.begin(), sequential.begin(), sequential.end());
  all.resolved.insert(all.resolved.begin(), sequential_resolved.begin(), sequential_resolved.end());
  return all;
}

/// Fills in what depends on several keys, and checks that they fit together.
void complete(Case& one, const systems::SystemInfo& info, const Group& group) {
  const auto line_of = [&](const char* section, const char* key) {
    const auto set = one.origins.find(std::string(section) + "." + key);
    return set != one.origins.end() ? set->second : missing(group, section, key);
  };
  const bool given_weights = !data_file(one.weights).empty();
  const bool given_drivers = !data_file(one.drivers).empty();
  if (given_weights && !info.has_weights)
    fail(line_of("system", "weights"), in_quotes(info.kind) + " has no weights to read; remove the key");
  if (given_drivers && !info.has_drivers)
    fail(line_of("problem", "drivers"), in_quotes(info.kind) + " has no drivers to read; remove the key");

  if (info.fixed_state_dim > 0) {
    if (one.state_dim != 0 && one.state_dim != info.fixed_state_dim)
      fail(line_of("system", "state_dim"), fmt::format("{} always has {} states, not {}; remove the key",
                                                       in_quotes(info.kind), info.fixed_state_dim, one.state_dim));
    one.state_dim = info.fixed_state_dim;
  } else if (one.state_dim == 0 && !given_weights) {
    if (info.default_state_dim == 0)
      fail(line_of("system", "state_dim"), "is missing; say how many states, such as state_dim = 8");
    one.state_dim = info.default_state_dim;
  }
  if (one.state_dim != 0 && one.state_dim < info.min_state_dim)
    fail(line_of("system", "state_dim"),
         fmt::format("{} needs at least {} states, not {}", in_quotes(info.kind), info.min_state_dim, one.state_dim));

  if (one.length == 0 && !given_drivers)
    fail(line_of("problem", "length"),
         "is missing; say how many steps, such as length = 10000 (only a drivers file can leave it open)");
  const double numbers =
      static_cast<double>(one.length) * static_cast<double>(one.batch) * static_cast<double>(one.state_dim);
  if (numbers > 1e15)
    fail(line_of("problem", "length"),
         fmt::format("length × batch × state_dim = {} numbers is beyond any machine", number_text(numbers)));

  if (one.measure.min_repetitions > one.measure.max_repetitions) {
    const bool min_set = one.origins.count("measure.repetitions.min") > 0;
    fail(line_of("measure", min_set ? "repetitions.min" : "repetitions.max"),
         fmt::format("min = {} is greater than max = {}; set both, such as repetitions = {{ min = 5, max = 100 }}",
                     one.measure.min_repetitions, one.measure.max_repetitions));
  }
}

struct ResolvedGroup {
  Resolved settings;  // of all sections but solver
  std::vector<Resolved> solvers;
  std::vector<std::string> filters;
};

/// Adds the cases of one group, in order, to `cases`, what writes it back to `resolved`, and the keys of
/// overrides that meant something to one of its systems or solvers to `applied`.
void expand(const Group& group, std::vector<Case>& cases, std::vector<ResolvedGroup>& resolved,
            std::set<std::string>& applied) {
  const Entry* kinds = find(group.settings, "system.kind");
  if (!kinds) {
    const bool has_table = group.section_origin.count("system") > 0;
    fail(has_table ? missing(group, "system", "kind") : Origin{group.deck_file, "system", group.origin.line},
         has_table ? "is missing; say which system, such as kind = \"gru\""
                   : "there is no [system]; add one, such as [system] and kind = \"gru\" below it");
  }
  const Solvers solvers = expand_solvers(group, applied);

  for (const toml::node* kind_item : items(*kinds)) {
    Case proto;
    proto.deck_file = group.deck_file;
    set_item(proto, *find_common_field("system.kind"), *kinds, *kind_item);
    const systems::SystemInfo& info = *systems::find_info(proto.system);
    for (const systems::Option& option : info.options) proto.system_options[option.name] = option.default_value;
    const std::vector<Field> schema = fields_of(info);

    for (const auto& [path, entry] : group.settings) {
      const bool known =
          std::any_of(schema.begin(), schema.end(), [&p = path](const Field& f) { return f.path() == p; });
      if (known && !entry.own) applied.insert(path);
      if (known || !entry.own || !kinds->own) continue;
      std::vector<std::string> options;
      for (const systems::Option& option : info.options) options.push_back(option.name);
      fail(entry.origin, "is not an option of " + in_quotes(info.kind) +
                             (options.empty() ? ", which has none of its own" : "; it takes " + alternatives(options)));
    }

    std::vector<Case> problems{proto};
    for (const Field& field : schema)
      if (const Entry* entry = find(group.settings, field.path());
          entry && field.path() != "system.kind" && field.section != "solver")
        multiply(problems, field, *entry);
    for (Case& one : problems) complete(one, info, group);

    if (cases.size() + problems.size() * solvers.cases.size() > max_cases)
      fail(item_origin(*kinds, *kind_item),
           fmt::format("the lists make more than {} cases; shorten them or split the deck", max_cases));
    for (const Case& problem : problems)
      for (const Case& solver : solvers.cases) {
        cases.push_back(problem);
        cases.back().solver = solver.solver;
        for (const auto& [key, origin] : solver.origins) cases.back().origins[key] = origin;
      }

    // A size that some of the cases take from a file cannot be written for all of them.
    Case defaults = proto;
    defaults.state_dim = problems[0].state_dim;
    for (const Case& one : problems)
      if (one.state_dim != defaults.state_dim) defaults.state_dim = 0;
    Resolved settings;
    for (const Field& field : schema)
      if (field.section != "solver") {
        const Entry* entry = field.path() == "system.kind" ? nullptr : find(group.settings, field.path());
        settings.emplace_back(field.path(), literals(field, entry, defaults));
      }
    resolved.push_back({std::move(settings), solvers.resolved, group.filters});
  }
}

// ---- writing back -------------------------------------------------------------------------------------

std::string write_resolved(const std::string& title, const std::vector<ResolvedGroup>& groups) {
  std::string text = "title = " + in_quotes(title) + "\n";
  const bool many = groups.size() > 1;
  const std::string prefix = many ? "group." : "";
  for (const ResolvedGroup& group : groups) {
    if (many) text += "\n[[group]]\n";
    if (!group.filters.empty()) {
      std::vector<std::string> filters;
      for (const std::string& filter : group.filters) filters.push_back(in_quotes(filter));
      text += fmt::format("filter = [{}]\n", fmt::join(filters, ", "));
    }
    for (const std::string& section : sections()) {
      std::string lines;
      for (const auto& [path, literal] : group.settings)
        if (path.rfind(section + ".", 0) == 0 && !literal.empty())
          lines += fmt::format("{} = {}\n", path.substr(section.size() + 1), literal);
      if (!lines.empty()) text += fmt::format("\n[{}{}]\n{}", prefix, section, lines);
    }
    for (const Resolved& solver : group.solvers) {
      text += "\n[[" + prefix + "solver]]\n";
      for (const auto& [path, literal] : solver)
        if (!literal.empty()) text += path.substr(path.find('.') + 1) + " = " + literal + "\n";
    }
  }
  return text;
}

// ---- the plan -----------------------------------------------------------------------------------------

std::string read_file(const std::string& file) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  const Origin where{file, "", 0};
  if (!fs::exists(status)) fail(where, "the deck does not exist; check its path");
  if (fs::is_directory(status)) fail(where, "is a directory, not a deck; name a TOML file in it");
  std::ifstream stream(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  if (stream.bad() || !stream.is_open()) fail(where, "the deck cannot be read; check its permissions");
  return text;
}

Plan make_plan(const Reader& reader, const Overrides& overrides) {
  Plan plan;
  plan.title = fmt::format("{}", fmt::join(reader.titles(), "; "));
  plan.notes = reader.notes();

  const Origin option{"--filter", "", 0};
  if (!overrides.filter.empty()) filter_regex(overrides.filter, option);
  std::vector<ResolvedGroup> resolved;
  std::vector<std::vector<std::regex>> filters;  // of each group
  std::vector<size_t> group_of;                  // of each case
  std::set<std::string> applied;
  std::vector<Case> all;
  for (Group group : reader.groups()) {
    if (!overrides.filter.empty()) group.filters.push_back(overrides.filter);
    expand(group, all, resolved, applied);
    filters.emplace_back();
    for (const std::string& filter : group.filters) filters.back().push_back(filter_regex(filter, option));
    group_of.resize(all.size(), filters.size() - 1);
  }
  for (const Setting& setting : reader.settings()) {
    std::string path = setting.section + "." + setting.key;
    if (path == "measure.repetitions") path += ".min";
    if (!find_common_field(path)) path = "system." + setting.key;
    if (applied.count(path) == 0)
      plan.notes.push_back(std::string(set_option) + ": " + setting.section + "." + setting.key +
                           ": applies to none of the systems and solvers of this run");
  }

  // Names first: a filter must not change them.
  assign_names(all);
  std::unordered_set<std::string> seen;
  const std::string example = all.empty() ? "" : all[0].name;
  size_t duplicates = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const std::vector<std::regex>& wanted = filters[group_of[i]];
    const bool kept = std::all_of(wanted.begin(), wanted.end(),
                                  [&](const std::regex& filter) { return std::regex_search(all[i].name, filter); });
    if (!kept) continue;
    if (!seen.insert(all[i].name).second) {
      ++duplicates;
      continue;
    }
    all[i].index = static_cast<long>(plan.cases.size());
    plan.cases.push_back(std::move(all[i]));
  }
  if (plan.cases.empty()) {
    const bool from_command_line = !overrides.filter.empty();
    fail(from_command_line ? Origin{"--filter", "", 0} : Origin{reader.groups()[0].deck_file, "filter", 0},
         "no case is left" + (from_command_line ? " by " + in_quotes(overrides.filter) : "") + "; names look like " +
             in_quotes(example));
  }
  if (duplicates > 0)
    plan.notes.push_back(counted(static_cast<long>(duplicates), "case") +
                         " left out: the same as another case of the plan");
  plan.resolved_text = write_resolved(plan.title, resolved);
  return plan;
}

}  // namespace

Plan load_plan(const std::vector<std::string>& deck_files, const Overrides& overrides) {
  if (deck_files.empty()) fail(Origin{}, "no deck was given; name one or more TOML files");
  Reader reader(overrides.quick);
  for (const std::string& text : overrides.set) reader.add_setting(text);
  for (const std::string& file : deck_files) reader.add_deck(read_file(file), file);
  return make_plan(reader, overrides);
}

Plan plan_from_text(const std::string& deck_text, const std::string& deck_file, const Overrides& overrides) {
  Reader reader(overrides.quick);
  for (const std::string& text : overrides.set) reader.add_setting(text);
  reader.add_deck(deck_text, deck_file);
  return make_plan(reader, overrides);
}

void check_ranks(const std::vector<Case>& cases, int n_ranks) {
  for (const Case& one : cases)
    if (n_ranks % one.time_ranks != 0)
      fail(one.origin("parallel.time_ranks"),
           fmt::format("{} does not divide the number of MPI ranks, {}; batch_ranks × time_ranks must be that number",
                       one.time_ranks, n_ranks));
  for (const Case& one : cases) reject_unavailable(one, true);
}

}  // namespace elkhorn::deck
