/// Results that look like a real run's, for the tests of the record, the report and the scripts.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "measure/statistics.hpp"
#include "record/results.hpp"
#include "record/schema.hpp"

namespace elkhorn::sample {

using record::CaseResult;
using record::Status;

struct Options {
  double slower = 1;   ///< factor on every time of a parallel solver
  unsigned noise = 1;  ///< seed of the timing noise
  bool states = false;
  std::vector<long> lengths = {1000, 10000};
};

/// Times around `seconds` with a tail to the right, as clocks give them; median and interval filled in.
inline void add_times(CaseResult& r, double seconds, std::mt19937& random, long samples = 15) {
  std::gamma_distribution<double> delay(2.0, 0.01);
  std::uniform_real_distribution<double> share(0.9, 1.0);
  for (long i = 0; i < samples; ++i) {
    const double time = seconds * (1 + delay(random));
    r.time_s.push_back(time);
    for (long rank = 0; rank < r.ranks; ++rank)
      r.rank_time_s.push_back(rank == i % r.ranks ? time : time * share(random));
  }
  r.samples = samples;
  std::vector<double> sorted = r.time_s;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t n = sorted.size();
  r.time_median_s = n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  if (n >= 6) {
    r.time_ci_low_s = sorted[n / 4];
    r.time_ci_high_s = sorted[n - 1 - n / 4];
  }
  r.stopped_because = "ci_width";
  const measure::Spread spread = measure::spread(r.time_s);
  r.time_first_s = 1.7 * r.time_median_s;
  r.time_min_s = sorted.front();
  r.time_q1_s = spread.q1;
  r.time_q3_s = spread.q3;
  r.time_max_s = sorted.back();
  r.time_mad_s = spread.mad;
  r.outliers = spread.outliers;
  r.drift = measure::drift(r.time_s).relative;
  r.dip = measure::dip(r.time_s).dip;
  r.roof_bound = "flops";
  r.roof_share = 0.3;
  r.other_cpu = 0.01;
  r.communication_share = 0.02;
  r.transfer_share = 0.01;
  r.pass = "fused";
}

/// The verdict on the measurement, once the one on the answer is there.
inline void judge(CaseResult& r) {
  r.official = r.status == Status::ok && r.samples >= 10;
  r.unofficial_because = r.status != Status::ok
                             ? std::string("no validated answer: the status is ") + to_string(r.status)
                         : r.official ? ""
                                      : "fewer than 10 samples; sampled for less than 0.1 s in all";
}

/// A history in which sequence b stops after iterations[b] steps; log10 of the residual goes from `start`
/// to `end` along i^power.
inline void add_history(CaseResult& r, const std::vector<long>& iterations, double start, double end, double power,
                        double step_s, std::mt19937& random) {
  std::normal_distribution<double> wiggle(0, 0.15);
  r.batch_iterations = iterations;
  r.iterations = *std::max_element(iterations.begin(), iterations.end());
  auto& h = r.history;
  h.iterations = r.iterations;
  h.batch = r.batch;
  std::vector<double> mad(iterations.size()), residual(iterations.size());
  for (long i = 0; i <= h.iterations; ++i) {
    for (std::size_t b = 0; b < iterations.size(); ++b) {
      const bool running = i <= iterations[b];
      if (running) {
        const double x = std::pow(static_cast<double>(i) / static_cast<double>(std::max(1L, iterations[b])), power);
        residual[b] = std::pow(10, start + (end - start) * x + wiggle(random));
        mad[b] = residual[b] * 0.3;
      }
      h.residual.push_back(running ? residual[b] : record::not_a_number);
      h.mad.push_back(mad[b]);
      if (i < h.iterations) {
        h.update.push_back(i < iterations[b] ? residual[b] * 1.5 : record::not_a_number);
        h.resets.push_back(0);
        h.bounded.push_back(0);
      }
    }
    if (i < h.iterations) h.elapsed_s.push_back(step_s * static_cast<double>(i + 1));
  }
  r.residual_max = *std::max_element(residual.begin(), residual.end());
  r.error_max = r.residual_max * 2;
  r.error_mad = *std::max_element(mad.begin(), mad.end());
}

inline CaseResult identity(const std::string& system, const std::string& solver, long length, long state_dim,
                           long batch, const std::string& precision) {
  CaseResult r;
  r.system = system;
  r.solver = solver;
  r.length = length;
  r.state_dim = state_dim;
  r.batch = batch;
  r.precision = precision;
  r.seed = 18446744073709551557ULL;  // more than a signed or a floating number holds
  r.scan = solver == "sequential" ? "serial" : "chunked:16";
  r.ranks = 2;
  r.batch_ranks = 2;
  r.threads = 1;
  r.name = system + "/" + solver + "/T=" + std::to_string(length) + "/" + precision;
  return r;
}

/// Two problems of a random GRU with every verdict but `wrong`, and the trained AR-GRU on which DEER fails.
inline std::vector<CaseResult> results(const Options& options = {}) {
  std::mt19937 random(options.noise);
  std::vector<CaseResult> all;
  const auto finish = [&](CaseResult& r) {
    r.index = static_cast<long>(all.size());
    r.peak_memory_bytes = 48.0 * 1024 * 1024 + static_cast<double>(r.length * r.batch * r.state_dim) * 24;
    r.model_memory_bytes = r.peak_memory_bytes / 3;
    r.flops = 1e9;
    r.bytes = 4e8;
    if (options.states && r.samples > 0) {
      for (long i = 0; i < r.length * r.batch * r.state_dim; ++i)
        r.states.push_back(static_cast<float>(std::sin(0.01 * static_cast<double>(i))));
    }
    judge(r);
    all.push_back(r);
  };
  struct Solver {
    const char* name;
    double sigma2;
    std::vector<long> iterations;
    double power;
    double step_s;  // per state, from the sequential time
  };
  const std::vector<Solver> solvers = {{"deer", record::not_a_number, {4, 5, 5, 4}, 2.0, 0.5},
                                       {"quasi_deer", record::not_a_number, {10, 11, 12, 10}, 1.0, 0.07},
                                       {"elk", 1e4, {5, 6, 6, 5}, 1.6, 3.1},
                                       {"quasi_elk", 1e2, {13, 14, 16, 13}, 1.0, 0.2}};
  for (const long length : options.lengths) {
    const double sequential_s = 1.07e-6 * static_cast<double>(length) * 4;
    CaseResult sequential = identity("gru", "sequential", length, 8, 4, "float32");
    add_times(sequential, sequential_s, random);
    sequential.status = Status::ok;
    sequential.converged = true;
    sequential.speedup_over_sequential = 1;
    sequential.error_max = sequential.error_mad = 0;
    finish(sequential);
    for (const Solver& solver : solvers) {
      CaseResult r = identity("gru", solver.name, length, 8, 4, "float32");
      r.sigma2 = solver.sigma2;
      const double step_s = sequential_s * solver.step_s / 4;
      add_history(r, solver.iterations, 0.2, -5.0, solver.power, step_s, random);
      add_times(r, step_s * static_cast<double>(r.iterations) * options.slower, random);
      r.status = Status::ok;
      r.converged = true;
      r.speedup_over_sequential = sequential.time_median_s / r.time_median_s;
      finish(r);
    }
  }
  CaseResult sequential = identity("ar_gru", "sequential", 9999, 4, 1, "float64");
  add_times(sequential, 6e-3, random, 5);  // too few for an interval
  sequential.status = Status::ok;
  sequential.converged = true;
  sequential.speedup_over_sequential = 1;
  sequential.error_max = sequential.error_mad = 0;
  finish(sequential);
  CaseResult elk = identity("ar_gru", "elk", 9999, 4, 1, "float64");
  elk.sigma2 = 1e6;
  add_history(elk, {280}, 0.8, -7.0, 1.4, 3e-3, random);
  add_times(elk, 0.84 * options.slower, random);
  elk.status = Status::ok;
  elk.converged = true;
  elk.speedup_over_sequential = sequential.time_median_s / elk.time_median_s;
  finish(elk);
  CaseResult quasi = identity("ar_gru", "quasi_elk", 9999, 4, 1, "float64");
  quasi.sigma2 = 1e2;
  add_history(quasi, {500}, 0.8, -1.5, 0.8, 4e-4, random);
  add_times(quasi, 0.2 * options.slower, random);
  quasi.status = Status::not_converged;
  quasi.message = "residual 0.03 after 500 iterations, tolerance 1e-4";
  finish(quasi);
  CaseResult deer = identity("ar_gru", "deer", 9999, 4, 1, "float64");
  add_history(deer, {60}, 0.8, 9.0, 0.5, 1e-3, random);
  deer.history.residual[40] = std::numeric_limits<double>::infinity();
  deer.history.mad[41] = -std::numeric_limits<double>::infinity();
  deer.history.resets[12] = 312;
  deer.residual_max = std::numeric_limits<double>::infinity();
  deer.status = Status::diverged;
  finish(deer);
  CaseResult failed = identity("ar_gru", "quasi_deer", 9999, 4, 1, "float64");
  failed.status = Status::failed;
  failed.message = "rank 1: the matrix of step 17 is singular – \"no\n pivot\"";
  finish(failed);
  CaseResult skipped = identity("gru", "elk", 1000000000, 64, 16, "float32");
  skipped.name = "gru/elk/huge";
  skipped.status = Status::skipped;
  skipped.message = "needs 61 TiB, 7.2 GiB are free";
  finish(skipped);
  return all;
}

inline record::Meta meta() {
  return {{"version", "0.1.0"},
          {"git_sha", "0123abc"},
          {"git_dirty", 0L},
          {"compiler", "GNU 12.2.0"},
          {"flags", "-O3"},
          {"kokkos_version", "3.4.1"},
          {"kokkos_backend", "OpenMP"},
          {"mpi", "Open MPI 4.1.4"},
          {"hdf5", "1.10.8"},
          {"blas", "OpenBLAS"},
          {"host", "node1"},
          {"cpu", "some µ-architecture"},
          {"ranks", 2L},
          {"threads", 1L},
          {"argv", "elkhorn run deck.toml"},
          {"clock_resolution_s", 1e-9}};
}

inline const char* deck_text() {
  return "title = \"sample – σ²\"\n[system]\nkind = \"gru\"\n[problem]\nlength = [1000, 10000]\n";
}

inline std::vector<std::string> names(const std::vector<CaseResult>& all) {
  std::vector<std::string> out;
  for (const CaseResult& r : all) out.push_back(r.name);
  return out;
}

template <class T>
bool same_value(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, double>)
    return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
  else
    return a == b;
}

/// The first attribute or array in which the two differ, "" where none; states only where asked.
inline std::string difference(const CaseResult& a, const CaseResult& b, bool with_states = false) {
  std::string found;
  record::visit_attributes(a, [&](const std::string& name, const auto& value) {
    record::visit_attributes(b, [&](const std::string& other, const auto& other_value) {
      if constexpr (std::is_same_v<decltype(value), decltype(other_value)>)
        if (name == other && !same_value(value, other_value)) found = name;
    });
  });
  const auto same_array = [](const auto& x, const auto& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), [](auto u, auto v) { return same_value(u, v); });
  };
  if (a.history.iterations != b.history.iterations || a.history.batch != b.history.batch) return "history sizes";
  record::visit_arrays(a, [&](const std::string& name, const auto& value, const auto&) {
    record::visit_arrays(b, [&](const std::string& other, const auto& other_value, const auto&) {
      if constexpr (std::is_same_v<decltype(value), decltype(other_value)>)
        if (name == other && !same_array(value, other_value)) found = name;
    });
  });
  if (with_states && !same_array(a.states, b.states)) found = "states";
  return found;
}

/// A folder of its own, removed with all in it.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "elkhorn-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace elkhorn::sample
