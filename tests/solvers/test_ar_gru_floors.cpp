// How close float32 comes to the sequential states on the trained AR-GRU: seeds 1 to 20, every engine, several chunks.
//
// The system is marginally stable, so rounding adds up over its steps. The cell rounds once a step (ar_gru.cpp): nearby
// float32 trajectories then merge, and solvers get near float32 stepping although that is itself up to 5e-5 off float64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "reference.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::test;

constexpr long T = 9999, seeds = 20;

/// The sequences of seeds 1 to 20 side by side.
systems::Instance<float> all_seeds() {
  systems::Instance<float> all;
  for (long seed = 1; seed <= seeds; ++seed) {
    deck::Case c = basic_case("ar_gru");
    c.weights = reference_file("argru_weights.h5") + ":/";
    c.length = T;
    c.seed = std::uint64_t(seed);
    const auto one = systems::make_instance<float>(c, {0, 1});
    if (seed == 1) {
      all.system = one.system;
      all.drivers = make_view<Rows<float>>("drivers", T, seeds, 1);
      all.initial = make_view<Matrix<float>>("initial", seeds, 4);
    }
    const auto b = std::make_pair(seed - 1, seed);
    Kokkos::deep_copy(Kokkos::subview(all.drivers, Kokkos::ALL, b, Kokkos::ALL), one.drivers);
    Kokkos::deep_copy(Kokkos::subview(all.initial, b, Kokkos::ALL), one.initial);
  }
  return all;
}

/// MAD of the output coordinate between float32 stepping and float64 stepping, for each seed: of the same system, for
/// the drivers and the start are taken from the float32 one, and the weights are float32 numbers in their file.
std::vector<double> rounding_of_stepping(const systems::Instance<float>& instance, const Rows<float>& states) {
  deck::Case c = basic_case("ar_gru");
  c.precision = deck::Precision::float64;
  c.weights = reference_file("argru_weights.h5") + ":/";
  c.length = T;
  c.batch = seeds;
  systems::Instance<double> exact = systems::make_instance<double>(c, {0, seeds});
  Kokkos::deep_copy(exact.drivers, instance.drivers);
  Kokkos::deep_copy(exact.initial, instance.initial);
  const auto s = make(exact, solver("sequential"));
  s->solve();
  const std::vector<double> wide = host_values(s->states()), narrow = host_values(states);
  std::vector<double> mad(seeds, 0.0);
  for (std::size_t i = 0; i < wide.size(); i += 4) mad[i / 4 % seeds] += std::abs(wide[i] - narrow[i]) / double(T + 1);
  return mad;
}

TEST(ArGruFloors, Float32IsBelow5em5OnAllSeedsAndEngines) {
  const auto instance = all_seeds();
  const auto sequential = make(instance, solver("sequential"));
  sequential->solve();
  const std::vector<double> rounding = rounding_of_stepping(instance, sequential->states());
  struct Choice {
    const char* kind;
    double sigma2;
    long iterations;
  };
  std::vector<double> sorted = rounding;
  std::sort(sorted.begin(), sorted.end());
  std::printf("%-10s %-12s %10s %10s\n", "solver", "scan", "median", "largest");
  std::printf("%-10s %-12s %10.2g %10.2g\n", "stepping", "", sorted[seeds / 2], sorted.back());
  for (const Choice& choice : {Choice{"elk", 1e6, 260}, Choice{"quasi_elk", 100, 1750}})
    for (const char* engine : {"serial", "flat", "chunked", "chunked:16", "chunked:100"}) {
      deck::SolverConfig config = solver(choice.kind, choice.sigma2);
      config.scan = engine;
      config.max_iterations = choice.iterations;
      config.stop = deck::Stop::iterations;
      solvers::Recording<float> recording;
      recording.oracle = sequential->states();
      recording.measure = instance.system->error_measure(T);
      make(instance, config)->solve(&recording);
      const std::vector<double>& mad = recording.history.mad;
      std::vector<double> last(mad.end() - seeds, mad.end());
      for (std::size_t b = 0; b < last.size(); ++b)
        EXPECT_LE(last[b], 5e-5) << choice.kind << " " << engine << " seed " << b + 1;
      std::sort(last.begin(), last.end());
      std::printf("%-10s %-12s %10.2g %10.2g\n", choice.kind, engine, last[seeds / 2], last.back());
      std::fflush(stdout);
    }
}

}  // namespace
