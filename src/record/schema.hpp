/// The schema of a recorded case, once: the results file, its summary table, its reader, the journal,
/// `elkhorn check` and `--json` all walk these two lists.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "record/result.hpp"

namespace elkhorn::record {

inline constexpr const char* format_name = "elkhorn";
inline constexpr const char* format_version = "1.1";

inline std::optional<Status> parse_status(const std::string& text) {
  for (const Status s :
       {Status::ok, Status::not_converged, Status::diverged, Status::wrong, Status::failed, Status::skipped})
    if (text == to_string(s)) return s;
  return std::nullopt;
}

/// Calls visit(name, member) for every attribute of a case, in the order of the file. Members are
/// std::string, long, unsigned long long, double, bool or Status.
template <class Result, class Visitor>
void visit_attributes(Result& r, Visitor&& visit) {
  visit("name", r.name);
  visit("system", r.system);
  visit("solver", r.solver);
  visit("state_dim", r.state_dim);
  visit("length", r.length);
  visit("batch", r.batch);
  visit("precision", r.precision);
  visit("seed", r.seed);
  visit("sigma2", r.sigma2);
  visit("sigma2_adaptive", r.sigma2_adaptive);
  visit("step_bound", r.step_bound);
  visit("window", r.window);
  visit("scan", r.scan);
  visit("ranks", r.ranks);
  visit("batch_ranks", r.batch_ranks);
  visit("time_ranks", r.time_ranks);
  visit("threads", r.threads);
  visit("status", r.status);
  visit("message", r.message);
  visit("converged", r.converged);
  visit("iterations", r.iterations);
  visit("work", r.work);
  visit("residual_max", r.residual_max);
  visit("error_max", r.error_max);
  visit("error_mad", r.error_mad);
  visit("time_median_s", r.time_median_s);
  visit("time_ci_low_s", r.time_ci_low_s);
  visit("time_ci_high_s", r.time_ci_high_s);
  visit("samples", r.samples);
  visit("stopped_because", r.stopped_because);
  visit("speedup_over_sequential", r.speedup_over_sequential);
  visit("peak_memory_bytes", r.peak_memory_bytes);
  visit("model_memory_bytes", r.model_memory_bytes);
  visit("flops", r.flops);
  visit("bytes", r.bytes);
  visit("messages_per_iteration", r.messages_per_iteration);
  visit("bytes_per_iteration", r.bytes_per_iteration);
  // since 1.1, see in_version
  visit("time_first_s", r.time_first_s);
  visit("time_min_s", r.time_min_s);
  visit("time_q1_s", r.time_q1_s);
  visit("time_q3_s", r.time_q3_s);
  visit("time_max_s", r.time_max_s);
  visit("time_mad_s", r.time_mad_s);
  visit("outliers", r.outliers);
  visit("drift", r.drift);
  visit("drifting", r.drifting);
  visit("dip", r.dip);
  visit("bimodal", r.bimodal);
  visit("interleaved", r.interleaved);
  visit("energy_j", r.energy_j);
  visit("roof_bound", r.roof_bound);
  visit("roof_share", r.roof_share);
  visit("other_cpu", r.other_cpu);
  visit("communication_share", r.communication_share);
  visit("transfer_share", r.transfer_share);
  visit("pass", r.pass);
  visit("official", r.official);
  visit("unofficial_because", r.unofficial_because);
}

/// Whether files of that format version have this attribute. Where they have not, it keeps its default on reading.
inline bool in_version(const std::string& version, const std::string& attribute) {
  static const std::set<std::string> since_1_1 = {"time_first_s",
                                                  "time_min_s",
                                                  "time_q1_s",
                                                  "time_q3_s",
                                                  "time_max_s",
                                                  "time_mad_s",
                                                  "outliers",
                                                  "drift",
                                                  "drifting",
                                                  "dip",
                                                  "bimodal",
                                                  "interleaved",
                                                  "energy_j",
                                                  "roof_bound",
                                                  "roof_share",
                                                  "other_cpu",
                                                  "official",
                                                  "unofficial_because",
                                                  "communication_share",
                                                  "transfer_share",
                                                  "pass"};
  return version != "1.0" || since_1_1.count(attribute) == 0;
}

/// Calls visit(path, vector, shape) for every array of a case but `states`, which may be too large to walk
/// through memory. The shape follows from the attributes, so a vector of another size is a defect.
/// batch_iterations is empty where the case has no iterations; there is no history where history.batch is 0.
template <class Result, class Visitor>
void visit_arrays(Result& r, Visitor&& visit) {
  using Shape = std::vector<long>;
  visit("time_s", r.time_s, Shape{r.samples});
  visit("rank_time_s", r.rank_time_s, Shape{r.samples, r.ranks});
  visit("batch_iterations", r.batch_iterations, Shape{r.batch_iterations.empty() ? 0 : r.batch});
  if (r.history.batch <= 0) return;
  const long rows = r.history.iterations;
  const long columns = r.history.batch;
  visit("history/residual", r.history.residual, Shape{rows + 1, columns});
  visit("history/update", r.history.update, Shape{rows, columns});
  visit("history/mad", r.history.mad, Shape{rows + 1, columns});
  visit("history/elapsed_s", r.history.elapsed_s, Shape{rows});
  visit("history/resets", r.history.resets, Shape{rows, columns});
  visit("history/bounded", r.history.bounded, Shape{rows, columns});
  if (!r.sigma2_adaptive) return;
  visit("history/sigma2", r.history.sigma2, Shape{rows, 3});
  visit("history/rejected", r.history.rejected, Shape{rows});
}

/// Provenance attributes every results file has in /meta (others are free).
inline const std::vector<std::string>& required_meta() {
  static const std::vector<std::string> names = {
      "version", "git_sha", "git_dirty", "compiler", "flags", "kokkos_version", "kokkos_backend", "mpi", "hdf5", "blas",
      "host",    "cpu",     "ranks",     "threads",  "argv"};
  return names;
}

}  // namespace elkhorn::record
