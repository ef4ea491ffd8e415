#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>

#include "app/case_runner.hpp"
#include "app/commands.hpp"
#include "measure/environment.hpp"
#include "measure/memory.hpp"
#include "record/recorder.hpp"
#include "record/results.hpp"
#include "report/progress.hpp"
#include "report/table.hpp"
#include "report/units.hpp"
#include "solvers/solver.hpp"

namespace elkhorn::app {

namespace {

using record::CaseResult;
using record::Status;

std::string output_path(const RunOptions& options) {
  if (!options.out.empty()) return options.out;
  return std::filesystem::path(options.decks.front()).stem().string() + ".h5";
}

/// By case, one rank.
std::vector<double> modelled_bytes(const CheckedPlan& plan, int ranks) {
  std::vector<double> bytes;
  for (std::size_t i = 0; i < plan.cases.size(); ++i) {
    const deck::Case& c = plan.cases[i];
    const systems::Shape shape{c.state_dim, plan.input_dims[i], c.length};
    bytes.push_back(solvers::model_memory(c, shape, ranks, Exec().concurrency()).total());
  }
  return bytes;
}

/// Sequential medians by problem and precision, for the ratios of the cases that follow.
class SequentialTimes {
 public:
  void take(const deck::Case& c, const CaseResult& r) {
    if (c.solver.kind == "sequential" && r.status == Status::ok) times_[key(c)] = r.time_median_s;
  }
  /// Only `ok` carries a speed-up.
  void complete(const deck::Case& c, CaseResult& r) const {
    const auto found = times_.find(key(c));
    if (r.status == Status::ok && found != times_.end()) r.speedup_over_sequential = found->second / r.time_median_s;
  }

 private:
  static std::string key(const deck::Case& c) { return problem_key(c) + "|" + deck::to_string(c.precision); }
  std::map<std::string, double> times_;
};

CaseResult skipped(const deck::Case& c, const parallel::Comm& comm, double bytes, const std::string& why) {
  CaseResult r = identity_of(c, comm);
  r.status = Status::skipped;
  r.message = why;
  r.model_memory_bytes = bytes;
  return r;
}

int dry_run(const parallel::Comm& comm, const CheckedPlan& plan) {
  const double free = measure::free_bytes_per_rank(comm);
  if (!comm.is_root()) return success;
  fmt::print("{} cases on {} ranks of {} threads; {} a rank are free\n", plan.cases.size(), comm.size(),
             Exec().concurrency(), report::memory_text(free));
  const std::vector<double> bytes = modelled_bytes(plan, comm.size());
  for (std::size_t i = 0; i < plan.cases.size(); ++i)
    fmt::print("{:>12}  {}{}\n", report::memory_text(bytes[i]), plan.cases[i].name,
               bytes[i] > free ? "  would be skipped: does not fit" : "");
  return success;
}

}  // namespace

int run(const parallel::Comm& comm, const RunOptions& options) {
  CheckedPlan plan;
  if (const int code = guarded(comm, [&] {
        plan = load_checked_plan(options.decks, options.overrides, comm.size());
        if (plan.cases.empty()) throw InputError("no case is left to run: the filter matches none");
      }))
    return code;
  if (comm.is_root())
    for (const std::string& note : plan.notes) fmt::print(stderr, "elkhorn: {}\n", note);
  if (options.dry_run) return dry_run(comm, plan);

  // Rank 0 alone records; the others learn which cases are finished already.
  std::unique_ptr<record::Recorder> recorder;
  std::vector<char> finished(plan.cases.size(), 0);
  if (const int code = guarded(comm, [&] {
        if (!comm.is_root()) return;
        record::Plan names{plan.resolved_text, {}};
        for (const deck::Case& c : plan.cases) names.case_names.push_back(c.name);
        record::check_output(output_path(options));
        recorder = std::make_unique<record::Recorder>(output_path(options), names, options.resume);
        for (std::size_t i = 0; i < finished.size(); ++i) finished[i] = recorder->has(plan.cases[i].name);
      }))
    return code;
  finished = comm.broadcast(finished);
  if (comm.is_root() && !recorder->notice().empty()) fmt::print(stderr, "elkhorn: {}\n", recorder->notice());

  const measure::Environment environment = measure::collect_environment(comm, options.argv);
  for (const std::string& warning : environment.warnings) fmt::print(stderr, "elkhorn: warning: {}\n", warning);

  SequentialTimes sequential;
  std::unique_ptr<report::Progress> progress;
  if (comm.is_root()) {
    const long resumed = std::count(finished.begin(), finished.end(), 1);
    progress = std::make_unique<report::Progress>(std::cerr, report::stderr_is_terminal(), long(plan.cases.size()), resumed);
    for (const CaseResult& r : recorder->finished())
      for (const deck::Case& c : plan.cases)
        if (c.name == r.name) sequential.take(c, r);
  }

  CaseRunner runner(comm);
  const std::vector<double> modelled = modelled_bytes(plan, comm.size());
  for (std::size_t i = 0; i < plan.cases.size(); ++i) {
    if (finished[i]) continue;
    const deck::Case& c = plan.cases[i];
    if (progress) progress->start(c.name);
    const double needed = modelled[i], free = measure::free_bytes_per_rank(comm);
    CaseResult result =
        needed > free ? skipped(c, comm, needed,
                                fmt::format("needs {} a rank by the memory model, {} are free",
                                            report::memory_text(needed), report::memory_text(free)))
                      : runner.run(c);
    // A journal that cannot be written ends the job: results that nobody keeps are not worth computing.
    if (const int code = guarded(comm, [&] {
          if (!comm.is_root()) return;
          sequential.take(c, result);
          sequential.complete(c, result);
          progress->done(result);
          recorder->add(result);
        }))
      return code;
  }
  progress.reset();

  long worst = success;
  if (const int code = guarded(comm, [&] {
        if (!comm.is_root()) return;
        recorder->finish(record::Meta(environment.attributes.begin(), environment.attributes.end()));
        for (const CaseResult& r : recorder->finished())
          if (r.status == Status::wrong || r.status == Status::failed) worst = some_case_failed;
        if (options.json) {
          for (const CaseResult& r : recorder->finished()) fmt::print("{}\n", report::json_line(r));
        } else {
          fmt::print("{}\n{}", plan.title, plan.title.empty() ? "" : "\n");
          fmt::print("{}", report::table(recorder->finished()));
          fmt::print("results: {}\n", output_path(options));
        }
        std::fflush(stdout);
      }))
    return code;
  return static_cast<int>(comm.broadcast(worst));
}

}  // namespace elkhorn::app
