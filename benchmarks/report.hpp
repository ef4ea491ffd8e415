/// What every benchmark here does the same: it runs its work, and judges the shortest iteration by the machine's roofs.
///
/// Fields: best_us; by the shortest iteration (others may have been disturbed) bytes, flops and functions (σ, tanh, e^x) a
/// second; bound_us, the time that the scarcest resource needs (src/measure/roofs.hpp); of_bound, the share of it that was
/// reached, in per cent; threads. The label names the resource.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>

#include "measure/roofs.hpp"
#include "measure/timer.hpp"

namespace elkhorn::benchmarks {

/// Measured once a process and precision.
template <class Real>
const measure::Roofs& roofs() {
  static const measure::Roofs measured = measure::measure_roofs<Real>();
  return measured;
}

/// A benchmark of its own, so that results hold the roofs they were judged by.
template <class Real>
void add_roofs(const std::string& precision) {
  const auto measure = [](benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(roofs<Real>());
    const measure::Roofs& r = roofs<Real>();
    state.counters["bytes"] = r.bandwidth;
    state.counters["flops"] = r.flops;
    state.counters["gemm"] = r.gemm;
    state.counters["functions"] = r.transcendentals;
  };
  benchmark::RegisterBenchmark(("roofs/" + precision).c_str(), measure)->Iterations(1);
}

/// Runs all iterations of `run`, which may launch kernels; reports the shortest.
template <class Real, class Run>
void judge(benchmark::State& state, double bytes, double flops, double functions, const Run& run) {
  const measure::Roofs& machine = roofs<Real>();
  double seconds = 1e300;
  for (auto _ : state) {
    const measure::Timer timer;
    run();
    Exec().fence();
    seconds = std::min(seconds, timer.seconds());
    benchmark::ClobberMemory();
  }
  const double bound = machine.seconds(bytes, flops, functions);
  state.counters["threads"] = double(Exec().concurrency());
  state.counters["bytes"] = bytes / seconds;
  state.counters["flops"] = flops / seconds;
  state.counters["functions"] = functions / seconds;
  state.counters["best_us"] = seconds * 1e6;
  state.counters["bound_us"] = bound * 1e6;
  state.counters["of_bound"] = 100 * bound / seconds;
  state.SetLabel(machine.limit(bytes, flops, functions));
}

/// The sizes of a problem as fields, not only in names.
inline void show_sizes(benchmark::State& state, long length, long dim, long batch) {
  state.counters["T"] = double(length);
  state.counters["D"] = double(dim);
  state.counters["B"] = double(batch);
}

/// Runs the benchmarks that `add` registers, with Google Benchmark's options.
template <class Add>
int run_benchmarks(int argc, char** argv, const Add& add) {
  const Kokkos::ScopeGuard kokkos(argc, argv);
  add();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace elkhorn::benchmarks
