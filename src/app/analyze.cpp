#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "analysis/analyze.hpp"
#include "app/case_runner.hpp"
#include "app/commands.hpp"
#include "measure/memory.hpp"
#include "report/units.hpp"

namespace elkhorn::app {

namespace {

/// What a case's name says besides its solver: the keys that make its data.
std::string problem_name(const deck::Case& c) {
  std::string name = fmt::format("{} D={} T={} B={} seed={}", c.system, c.state_dim, c.length, c.batch, c.seed);
  for (const auto& [key, value] : c.system_options) name += fmt::format(" {}={:g}", key, value);
  if (c.weights != "random") name += " weights=" + c.weights;
  if (c.drivers != "random") name += " drivers=" + c.drivers;
  if (c.initial_state != "zero") name += " initial_state=" + c.initial_state;
  return name;
}

analysis::ProblemAnalysis analyze_problem(const deck::Case& c, double tolerance, long sequences) {
  analysis::ProblemAnalysis p;
  p.name = problem_name(c);
  p.system = c.system;
  p.state_dim = c.state_dim;
  p.length = c.length;
  p.batch = c.batch;
  p.tolerance = tolerance;
  const auto step = c.system_options.find("step");
  if (step != c.system_options.end()) p.time_step = step->second;
  for (long b = 0; b < std::min(sequences, c.batch); ++b)
    p.sequences.push_back(analysis::analyze_sequence(systems::make_instance<double>(c, {b, b + 1}), b, tolerance));
  p.advice = analysis::advise(p.sequences, c.length, tolerance);
  return p;
}

}  // namespace

int analyze(const parallel::Comm& comm, const AnalyzeOptions& options) {
  return guarded(comm, [&] {
    if (options.sequences < 1)
      throw InputError(fmt::format("--sequences must be at least 1, not {}", options.sequences));
    const CheckedPlan plan = load_checked_plan(options.decks, options.overrides, comm.size());
    if (plan.cases.empty()) throw InputError("no case is left to analyse: the filter matches none");
    if (!comm.is_root()) return;
    std::set<std::string> seen;
    for (const deck::Case& c : plan.cases) {
      if (!seen.insert(problem_key(c)).second) continue;
      double tolerance = 0;  // the strictest of the problem's solvers
      for (const deck::Case& other : plan.cases)
        if (problem_key(other) == problem_key(c) && other.solver.tolerance > 0)
          tolerance = tolerance > 0 ? std::min(tolerance, other.solver.tolerance) : other.solver.tolerance;
      if (tolerance == 0) tolerance = deck::SolverConfig().tolerance;
      const double needed = analysis::model_memory(c.length, c.state_dim), free = measure::free_memory().bytes;
      if (needed > free) {
        fmt::print(
            stderr,
            "elkhorn: {}: skipped: the analysis needs {}, {} are free; --set problem.length takes a shorter one\n",
            problem_name(c), report::memory_text(needed), report::memory_text(free));
        continue;
      }
      const analysis::ProblemAnalysis p = analyze_problem(c, tolerance, options.sequences);
      if (options.json)
        fmt::print("{}\n", analysis::json(p).dump());
      else
        fmt::print("{}{}", seen.size() > 1 ? "\n" : "", analysis::text(p));
      std::fflush(stdout);
    }
    if (!options.json)
      fmt::print(
          "\nTheory: Gonzalez et al., Predictability enables parallelization, arXiv 2508.16817; docs/analysis.md\n");
  });
}

}  // namespace elkhorn::app
