#include "app/commands.hpp"

#include <fmt/format.h>

#include "measure/environment.hpp"
#include "record/check.hpp"
#include "solvers/kinds.hpp"
#include "systems/registry.hpp"

namespace elkhorn::app {

namespace {

void list_systems() {
  for (const systems::SystemInfo& s : systems::infos()) {
    const std::string dim = s.fixed_state_dim > 0 ? fmt::format("D = {}", s.fixed_state_dim)
                            : s.min_state_dim > 1 ? fmt::format("any D from {}", s.min_state_dim)
                                                  : "any D";
    fmt::print("{:<12} {} ({})\n", s.kind, s.doc, dim);
    for (const systems::Option& o : s.options) fmt::print("{:<12}   {} = {}: {}\n", "", o.name, o.default_value, o.doc);
  }
}

}  // namespace

int list(const parallel::Comm& comm, const std::vector<std::string>& what, const deck::Overrides& overrides) {
  return guarded(comm, [&] {
    if (!comm.is_root()) return;
    if (what.size() == 1 && what[0] == "systems") return list_systems();
    if (what.size() == 1 && what[0] == "solvers") {
      for (const solvers::SolverKind& k : solvers::kinds()) fmt::print("{:<12} {}\n", k.name, k.doc);
      return;
    }
    if (what.size() == 1 && what[0] == "scans") {
      for (const solvers::ScanName& s : solvers::scan_names()) fmt::print("{:<12} {}\n", s.name, s.doc);
      return;
    }
    const deck::Plan plan = load_checked_plan(what, overrides, comm.size());
    for (const std::string& note : plan.notes) fmt::print(stderr, "elkhorn: {}\n", note);
    for (const deck::Case& c : plan.cases) fmt::print("{}\n", c.name);
  });
}

int info(const parallel::Comm& comm, const std::vector<std::string>& argv) {
  const measure::Environment environment = measure::collect_environment(comm, argv);
  if (comm.is_root()) fmt::print("{}", measure::render(environment));
  return success;
}

int check(const parallel::Comm& comm, const std::vector<std::string>& files) {
  long problems = 0;
  const int code = guarded(comm, [&] {
    if (!comm.is_root()) return;
    for (const std::string& file : files) {
      const std::vector<std::string> found = record::check_results(file);
      for (const std::string& problem : found) fmt::print("{}: {}\n", file, problem);
      if (found.empty()) fmt::print("{}: sound\n", file);
      problems += static_cast<long>(found.size());
    }
  });
  if (code != success) return code;
  return comm.broadcast(problems) > 0 ? some_case_failed : success;
}

}  // namespace elkhorn::app
