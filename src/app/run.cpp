#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "app/case_runner.hpp"
#include "app/commands.hpp"
#include "core/counted.hpp"
#include "measure/environment.hpp"
#include "measure/interrupt.hpp"
#include "measure/memory.hpp"
#include "measure/official.hpp"
#include "measure/roofs.hpp"
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

/// By case, one rank: what it needs of the memory that is free. The program itself has its memory already.
std::vector<solvers::MemoryModel> modelled_memory(const CheckedPlan& plan, int ranks) {
  std::vector<solvers::MemoryModel> models;
  for (std::size_t i = 0; i < plan.cases.size(); ++i) {
    models.push_back(solvers::model_memory(plan.cases[i], plan.shapes[i], ranks, Exec().concurrency()));
  }
  return models;
}

std::string timed_problem_key(const deck::Case& c) { return problem_key(c) + "|" + deck::to_string(c.precision); }

/// Speed-ups need a base: one line where the plan has none for some of its problems.
void warn_of_missing_bases(const CheckedPlan& plan) {
  std::set<std::string> problems, based;
  for (const deck::Case& c : plan.cases) {
    problems.insert(timed_problem_key(c));
    if (c.solver.kind == "sequential") based.insert(timed_problem_key(c));
  }
  if (based.size() == problems.size()) return;
  const std::string where =
      based.empty() ? "the plan has"
                    : fmt::format("{} of {} problems have", problems.size() - based.size(), problems.size());
  fmt::print(
      stderr,
      "elkhorn: warning: {} no sequential case to name speed-ups over; add [[solver]] with kind = \"sequential\"\n",
      where);
}

/// Sequential medians by problem, precision and placement, for the ratios of the cases that follow. A run that was resumed
/// with other ranks or threads holds cases of both; a ratio across would be one of machines.
class SequentialTimes {
 public:
  void take(const deck::Case& c, const CaseResult& r) {
    if (c.solver.kind == "sequential" && r.status == Status::ok) times_[key(c, r)] = r.time_median_s;
  }
  /// Only `ok` carries a speed-up.
  void complete(const deck::Case& c, CaseResult& r) const {
    const auto found = times_.find(key(c, r));
    if (r.status == Status::ok && found != times_.end()) r.speedup_over_sequential = found->second / r.time_median_s;
  }

 private:
  static std::string key(const deck::Case& c, const CaseResult& r) {
    return fmt::format("{}|{}|{}", timed_problem_key(c), r.ranks, r.threads);
  }

  std::map<std::string, double> times_;
};

/// The case at `first`, and with --interleave the unfinished ones after it that may take turns with it: as long as all of
/// them together take half of the free memory at most, and none starts from another one's answer. Neither do cases that do
/// not fit at all join.
std::vector<std::size_t> together(const CheckedPlan& plan, const std::vector<char>& finished,
                                  const std::vector<solvers::MemoryModel>& modelled, std::size_t first, double free,
                                  bool interleave) {
  constexpr std::size_t most = 64;
  std::vector<std::size_t> batch{first};
  double bytes = modelled[first].total();
  for (std::size_t i = first + 1; interleave && i < plan.cases.size() && batch.size() < most; ++i) {
    if (finished[i]) continue;
    bytes += modelled[i].total();
    if (bytes > free / 2 || plan.cases[i].solver.guess == "previous") break;
    batch.push_back(i);
  }
  return batch;
}

/// Rates and latencies for /roofs, and for the cases' shares of them. Collective.
record::Roofs measure_machine(const parallel::Comm& comm, const CheckedPlan& plan, Conditions& conditions) {
  record::Roofs out;
  const auto add = [&](const char* precision, const measure::Roofs& roofs) {
    out.attributes[fmt::format("triad_{}", precision)] = roofs.bandwidth;
    out.attributes[fmt::format("fma_{}", precision)] = roofs.flops;
    out.attributes[fmt::format("gemm_{}", precision)] = roofs.gemm;
    out.attributes[fmt::format("exponential_{}", precision)] = roofs.transcendentals;
  };
  for (const deck::Case& c : plan.cases) {
    if (c.precision == deck::Precision::float32 && !conditions.float32)
      add("float32", conditions.float32.emplace(measure::measure_roofs<float>(comm)));
    if (c.precision == deck::Precision::float64 && !conditions.float64)
      add("float64", conditions.float64.emplace(measure::measure_roofs<double>(comm)));
  }
  const measure::Latencies latencies = measure::measure_latencies(comm);
  out.attributes["launch_s"] = latencies.launch_s;
  if (comm.size() > 1) {
    out.attributes["message_s"] = latencies.message_s;
    out.attributes["message_bytes_s"] = latencies.message_bytes_s;
  }
  out.arrays["latency_ranks"] = latencies.ranks;
  out.arrays["allreduce_s"] = latencies.allreduce_s;
  out.arrays["exscan_s"] = latencies.exscan_s;
  return out;
}

CaseResult skipped(const deck::Case& c, const parallel::Comm& comm, const std::string& why) {
  CaseResult r = identity_of(c, comm);
  r.status = Status::skipped;
  r.message = why;
  r.unofficial_because = "no validated answer: the status is skipped";
  return r;
}

/// Skipped cases are verdicts, so the exit code stays 0; that nothing at all ran should not go unseen.
void warn_of_skipped(std::size_t skipped, std::size_t all, const char* happened) {
  if (skipped == all)
    fmt::print(stderr, "elkhorn: warning: no case {}: {} more memory than is free\n", happened,
               all == 1 ? "it needs" : fmt::format("all {} need", all));
}

/// Memory as results have it, the program's own included.
int dry_run(const parallel::Comm& comm, const CheckedPlan& plan) {
  const double free = measure::free_bytes_per_rank(comm), program = measure::program_bytes(comm);
  if (!comm.is_root()) return success;
  fmt::print("{} on {} of {}; {} a rank are free beside {} of the program itself\n",
             counted(static_cast<long>(plan.cases.size()), "case"), counted(comm.size(), "rank"),
             counted(Exec().concurrency(), "thread"), report::memory_text(free), report::memory_text(program));
  std::size_t too_large = 0;
  const std::vector<solvers::MemoryModel> models = modelled_memory(plan, comm.size());
  for (std::size_t i = 0; i < plan.cases.size(); ++i) {
    const bool fits = models[i].total() <= free;
    if (!fits) ++too_large;
    fmt::print("{:>12}  {:<8}  {}{}\n", report::memory_text(program + models[i].total()), models[i].pass,
               plan.cases[i].name, fits ? "" : "  would be skipped: does not fit");
  }
  warn_of_missing_bases(plan);
  warn_of_skipped(too_large, plan.cases.size(), "would run");
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

  std::optional<measure::Interruptible> interruptible;
  if (const int code = guarded(comm, [&] { interruptible.emplace(options.time_limit); })) return code;

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

  if (comm.is_root()) warn_of_missing_bases(plan);
  const measure::Environment environment = measure::collect_environment(comm, options.argv);
  for (const std::string& warning : environment.warnings) fmt::print(stderr, "elkhorn: warning: {}\n", warning);

  SequentialTimes sequential;
  std::unique_ptr<report::Progress> progress;
  if (comm.is_root()) {
    const long resumed = std::count(finished.begin(), finished.end(), 1);
    progress =
        std::make_unique<report::Progress>(std::cerr, report::stderr_is_terminal(), long(plan.cases.size()), resumed);
    for (const CaseResult& r : recorder->finished())
      for (const deck::Case& c : plan.cases)
        if (c.name == r.name) sequential.take(c, r);
  }

  Conditions conditions;
  conditions.reasons = measure::reasons_of_run(environment, measure::QuietWatch(comm).read().busy_s >= 0);
  conditions.clock_s = std::max(std::get<double>(*environment.find("timer_resolution_s")),
                                std::get<double>(*environment.find("timer_overhead_s")));
  record::Roofs roofs;
  if (options.roofs && std::count(finished.begin(), finished.end(), 0) > 0)
    roofs = measure_machine(comm, plan, conditions);
  measure::return_freed_arrays();
  const double program = measure::program_bytes(comm);
  CaseRunner runner(comm, conditions);
  if (progress) runner.show_progress([&](double share) { progress->within(share); });
  const std::vector<solvers::MemoryModel> modelled = modelled_memory(plan, comm.size());
  std::string stopped_by;  // who asked for an early end, on every rank
  // A journal that cannot be written ends the job: results that nobody keeps are not worth computing.
  int journal = success;
  const auto keep = [&](const deck::Case& c, CaseResult result, const CaseRunner::GatherStates& gather) {
    std::unique_ptr<record::StatesFile> states;
    std::exception_ptr lost;
    if (gather)
      gather([&](const std::vector<double>& rows) {
        if (lost) return;  // other ranks go on sending
        lost = parallel::caught([&] {
          if (!states) states = recorder->keep_states(result);
          states->write(rows);
        });
      });
    journal = guarded(comm, [&] {
      if (!comm.is_root()) return;
      if (lost) std::rethrow_exception(lost);
      result.model_memory_bytes = program + modelled[static_cast<std::size_t>(c.index)].total();
      sequential.take(c, result);
      sequential.complete(c, result);
      progress->done(result);
      recorder->add(std::move(result), std::move(states));
    });
    return journal == success;
  };
  for (std::size_t i = 0; i < plan.cases.size();) {
    if (finished[i]) {
      ++i;
      continue;
    }
    const deck::Case& c = plan.cases[i];
    const double needed = modelled[i].total(), free = measure::free_bytes_per_rank(comm);
    const std::vector<std::size_t> batch = together(plan, finished, modelled, i, free, options.interleave);
    if (progress) progress->start(batch.size() == 1 ? c.name : fmt::format("{} cases in turn", batch.size()));
    try {
      measure::stop_if_asked(comm);
      if (needed > free) {
        keep(c,
             skipped(c, comm,
                     fmt::format("needs {} a rank by the memory model, {} are free", report::memory_text(needed),
                                 report::memory_text(free))),
             {});
      } else {
        std::vector<const deck::Case*> cases;
        cases.reserve(batch.size());
        for (const std::size_t k : batch) cases.push_back(&plan.cases[k]);
        runner.run_together(cases, keep);
      }
    } catch (const parallel::AgreedStop& stop) {
      stopped_by = stop.what();
      break;
    }
    if (journal != success) return journal;
    i = needed > free ? i + 1 : batch.back() + 1;
  }
  progress.reset();
  // Ratios whose base came later, and the verdict on all; rank 0 only.
  const auto meta = [&] {
    std::map<std::string, const deck::Case*> by_name;
    for (const deck::Case& c : plan.cases) by_name[c.name] = &c;
    long official = 1;
    recorder->amend([&](CaseResult& r) {
      sequential.complete(*by_name.at(r.name), r);
      if (!r.official) official = 0;
    });
    record::Meta all(environment.attributes.begin(), environment.attributes.end());
    all["interleaved"] = static_cast<long>(options.interleave);
    all["official"] = official;
    all["unofficial_because"] = official ? std::string("none") : report::verdict(recorder->finished());
    return all;
  };
  if (!stopped_by.empty()) {
    if (const int code = guarded(comm, [&] {
          if (!comm.is_root()) return;
          recorder->suspend(meta(), roofs);
          fmt::print(stderr, "elkhorn: stopped by {}: {} of {} cases are finished; continue with --resume\n",
                     stopped_by, recorder->finished().size(), plan.cases.size());
        }))
      return code;
    return interrupted;
  }

  long worst = success;
  if (const int code = guarded(comm, [&] {
        if (!comm.is_root()) return;
        recorder->finish(meta(), roofs);
        std::size_t skips = 0;
        for (const CaseResult& r : recorder->finished()) {
          if (r.status == Status::wrong || r.status == Status::failed) worst = some_case_failed;
          if (r.status == Status::skipped) ++skips;
        }
        warn_of_skipped(skips, recorder->finished().size(), "ran");
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
