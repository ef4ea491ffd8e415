#include "deck/names.hpp"

#include <map>
#include <set>
#include <unordered_map>

namespace elkhorn::deck {
namespace {

std::string identity_of(const Case& one, const std::vector<Field>& schema) {
  std::string text;
  for (const Field& field : schema) text += field.path() + " = " + field.literal(one) + "\n";
  return text;
}

/// The name made of the labels of the fields for which `shown` holds.
template <class Shown>
std::string compose(const Case& one, const std::vector<Field>& schema, const Shown& shown) {
  std::string name;
  for (const Field& field : schema) {
    const std::string label = shown(field) ? field.label(one) : "";
    if (!label.empty()) name += (name.empty() ? "" : "-") + label;
  }
  return name;
}

}  // namespace

std::string identity(const Case& one) { return identity_of(one, fields_of(*systems::find_info(one.system))); }

void assign_names(std::vector<Case>& cases) {
  const Case defaults;
  const auto always = [](const Field& field) { return field.in_name == InName::always; };
  std::map<std::string, std::vector<Field>> schemas;  // of each system
  for (const Case& one : cases)
    if (schemas.count(one.system) == 0) schemas[one.system] = fields_of(*systems::find_info(one.system));

  // Distinct cases alike in what is always shown, so of one system and one solver. What else differs among
  // them is shown for each of them: "seed1" and "seed2", but no seed where there is only the first.
  std::map<std::string, std::vector<size_t>> alike;
  std::unordered_map<std::string, size_t> first_of;  // identity → its first case
  std::vector<size_t> representative(cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::vector<Field>& schema = schemas.at(cases[i].system);
    const auto [known, is_new] = first_of.emplace(identity_of(cases[i], schema), i);
    representative[i] = known->second;
    if (is_new) alike[compose(cases[i], schema, always)].push_back(i);
  }

  std::map<std::string, size_t> times_used;
  for (const auto& [short_name, members] : alike) {
    const std::vector<Field>& schema = schemas.at(cases[members[0]].system);
    std::set<std::string> varied;
    for (const Field& field : schema)
      for (const size_t i : members)
        if (field.literal(cases[i]) != field.literal(cases[members[0]])) varied.insert(field.path());
    for (const size_t i : members) {
      const Case& one = cases[i];
      cases[i].name = compose(one, schema, [&](const Field& field) {
        const bool unusual = field.in_name == InName::unless_default && field.literal(one) != field.literal(defaults);
        return always(field) || unusual || varied.count(field.path()) > 0;
      });
      ++times_used[cases[i].name];
    }
  }

  // Two data files of one name in different folders still read alike: number them in plan order.
  std::map<std::string, size_t> number;
  for (size_t i = 0; i < cases.size(); ++i) {
    if (representative[i] != i) {
      cases[i].name = cases[representative[i]].name;
      continue;
    }
    const std::string name = cases[i].name;
    if (times_used[name] > 1) cases[i].name += "-n" + std::to_string(++number[name]);
  }
}

}  // namespace elkhorn::deck
