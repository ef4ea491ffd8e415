// How close float32 comes to the sequential states on the trained AR-GRU: seeds 1 to 20, every engine, several chunks.
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

TEST(ArGruFloors, Float32IsBelow5em5OnAllSeedsAndEngines) {
  const auto instance = all_seeds();
  const auto sequential = make(instance, solver("sequential"));
  sequential->solve();
  struct Choice {
    const char* kind;
    double sigma2;
    long iterations;
  };
  std::printf("%-10s %-12s %10s %10s\n", "solver", "scan", "median", "largest");
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
      std::sort(last.begin(), last.end());
      std::printf("%-10s %-12s %10.2g %10.2g\n", choice.kind, engine, last[seeds / 2], last.back());
      std::fflush(stdout);
      EXPECT_LE(last.back(), 5e-5) << choice.kind << " " << engine;
    }
}

}  // namespace
