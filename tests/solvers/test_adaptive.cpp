// sigma2 = "adaptive" with its defaults: one rule for all systems, seeds and precisions (docs/solvers.md).
//
// Convergence: in float64 MAD < 1e-4 and residual ≤ 1e-6; in float32 residual ≤ 64 ε max|s|, and MAD < 1e-4 where the
// system does not amplify rounding.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <limits>

#include "reference.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::test;

/// One problem for each member, side by side as a batch.
template <class Real>
systems::Instance<Real> side_by_side(const std::vector<deck::Case>& cases) {
  systems::Instance<Real> all;
  const long members = static_cast<long>(cases.size());
  for (long j = 0; j < members; ++j) {
    const auto one = systems::make_instance<Real>(cases[std::size_t(j)], {0, 1});
    if (j == 0) {
      all.system = one.system;
      all.drivers = make_view<Rows<Real>>("drivers", one.length(), members, one.system->input_dim());
      all.initial = make_view<Matrix<Real>>("initial", members, one.system->state_dim());
    }
    const auto b = std::make_pair(j, j + 1);
    Kokkos::deep_copy(Kokkos::subview(all.drivers, Kokkos::ALL, b, Kokkos::ALL), one.drivers);
    Kokkos::deep_copy(Kokkos::subview(all.initial, b, Kokkos::ALL), one.initial);
  }
  return all;
}

struct Set {
  const char* name;
  bool chaotic;
  std::vector<deck::Case> cases;
};

Set ar_gru(long seeds) {
  Set set{"AR-GRU", false, {}};
  for (long seed = 1; seed <= seeds; ++seed) {
    deck::Case c = basic_case("ar_gru");
    c.weights = reference_file("argru_weights.h5") + ":/";
    c.length = 9999;
    c.seed = std::uint64_t(seed);
    set.cases.push_back(c);
  }
  return set;
}
Set lorenz96(const char* name, long dim, double forcing, long starts) {
  Set set{name, true, {}};
  for (long start = 0; start < starts; ++start) {
    deck::Case c = basic_case("lorenz96");
    c.state_dim = dim;
    c.length = 999;
    c.system_options["forcing"] = forcing;
    c.system_options["start"] = double(start);
    set.cases.push_back(c);
  }
  return set;
}
Set cells(const char* name, const char* system, long dim, double gain, long batch) {
  Set set{name, gain > 1, {}};
  deck::Case c = basic_case(system);
  c.state_dim = dim;
  c.length = 1000;
  c.system_options["gain"] = gain;
  c.batch = batch;
  set.cases.push_back(c);
  return set;
}

/// Iterations to convergence of each sequence; the limit where it did not converge.
template <class Real>
std::vector<long> iterations_to_convergence(const Set& set, const char* kind, long limit, const char* scan = "auto",
                                            const char* window = "full") {
  const systems::Instance<Real> instance = set.cases.size() == 1
                                               ? systems::make_instance<Real>(set.cases[0], {0, set.cases[0].batch})
                                               : side_by_side<Real>(set.cases);
  const auto sequential = make(instance, solver("sequential"));
  sequential->solve();
  const double residual = sizeof(Real) == 8 ? 1e-6
                                            : 64 * double(std::numeric_limits<Real>::epsilon()) *
                                                  largest(host_values(sequential->states()));
  deck::SolverConfig config = solver(kind);
  config.sigma2_adaptive = true;
  config.max_iterations = limit;
  config.scan = scan;
  config.window = window;
  config.stop = deck::Stop::iterations;  // the residual alone does not say when the MAD is reached
  solvers::Recording<Real> recording;
  recording.oracle = sequential->states();
  recording.measure = instance.system->error_measure(instance.length());
  make(instance, config)->solve(&recording);
  const record::History& h = recording.history;
  std::vector<long> out(std::size_t(h.batch), limit);
  for (long b = 0; b < h.batch; ++b)
    for (long i = 0; i <= h.iterations; ++i) {
      const auto at = std::size_t(i * h.batch + b);
      if (h.residual[at] <= residual && (h.mad[at] < 1e-4 || (sizeof(Real) == 4 && set.chaotic))) {
        out[std::size_t(b)] = i;
        break;
      }
    }
  std::sort(out.begin(), out.end());
  std::printf("%-9s %-14s %s %-10s median %4ld worst %4ld\n", kind, set.name, sizeof(Real) == 8 ? "float64" : "float32",
              scan, out[out.size() / 2], out.back());
  std::fflush(stdout);
  return out;
}

struct Limits {
  long median, worst;
};
template <class Real>
void expect_within(const Set& set, const char* kind, Limits limits, const char* scan = "auto") {
  const std::vector<long> found = iterations_to_convergence<Real>(set, kind, limits.worst + 20, scan);
  EXPECT_LE(found[found.size() / 2], limits.median) << kind << " " << set.name << " " << scan;
  EXPECT_LE(found.back(), limits.worst) << kind << " " << set.name << " " << scan;
}

template <class Real>
class Adaptive : public ::testing::Test {};
using Reals = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Adaptive, Reals);

TYPED_TEST(Adaptive, ElkOnTheTrainedModel) {
  for (const char* scan : {"auto", "chunked:16"}) expect_within<TypeParam>(ar_gru(20), "elk", {70, 110}, scan);
}
TYPED_TEST(Adaptive, ElkOnLorenz96) {
  for (const char* scan : {"auto", "chunked:8", "chunked:16"}) {
    expect_within<TypeParam>(lorenz96("Lorenz-96", 5, 8, 10), "elk", {75, 110}, scan);
    expect_within<TypeParam>(lorenz96("F = 10", 5, 10, 10), "elk", {110, 110}, scan);
    expect_within<TypeParam>(lorenz96("D = 8", 8, 8, 10), "elk", {110, 120}, scan);  // 105 to 111 by rounding
  }
}
TYPED_TEST(Adaptive, ElkOnRandomCells) {
  for (const double gain : {1.0, 2.0, 3.0}) {
    expect_within<TypeParam>(cells("GRU", "gru", 8, gain, 16), "elk", {gain > 2 ? 20 : 10, gain > 2 ? 60 : 20});
    expect_within<TypeParam>(cells("LSTM", "lstm", 8, gain, 16), "elk", {gain > 2 ? 30 : 10, gain > 2 ? 60 : 20});
  }
}
TYPED_TEST(Adaptive, QuasiElkOnLorenz96) {
  expect_within<TypeParam>(lorenz96("Lorenz-96", 5, 8, 10), "quasi_elk", {270, 300});
  expect_within<TypeParam>(lorenz96("F = 10", 5, 10, 10), "quasi_elk", {330, 360});
  expect_within<TypeParam>(lorenz96("D = 8", 8, 8, 10), "quasi_elk", {280, 300});
}
TYPED_TEST(Adaptive, QuasiElkOnRandomCells) {
  for (const double gain : {1.0, 2.0, 3.0}) {
    const long worst = gain > 2 ? 1000 : gain > 1 ? 100 : 30;
    expect_within<TypeParam>(cells("GRU", "gru", 8, gain, 16), "quasi_elk", {worst, worst});
    expect_within<TypeParam>(cells("LSTM", "lstm", 8, gain, 16), "quasi_elk", {worst, worst});
  }
}
TYPED_TEST(Adaptive, QuasiElkOnTheTrainedModel) { expect_within<TypeParam>(ar_gru(20), "quasi_elk", {900, 1000}); }

/// Solves a set with a window and checks the answer; the mean work, in multiples of T, and the largest iteration count.
struct Effort {
  double work = 0;
  long iterations = 0;
};
Effort windowed(const Set& set, deck::SolverConfig config, double tolerance = 1e-6) {
  const systems::Instance<double> instance = side_by_side<double>(set.cases);
  const auto sequential = make(instance, solver("sequential"));
  sequential->solve();
  config.tolerance = tolerance;
  solvers::Recording<double> recording;
  recording.oracle = sequential->states();
  recording.measure = instance.system->error_measure(instance.length());
  const auto s = make(instance, config);
  const solvers::Outcome outcome = s->solve(&recording);
  Effort effort;
  for (std::size_t b = 0; b < outcome.work.size(); ++b) {
    EXPECT_TRUE(outcome.converged[b]) << config.kind << " " << set.name;
    EXPECT_LE(outcome.residual[b], 1e-6);
    EXPECT_LT(recording.history.mad[std::size_t(outcome.iterations[b]) * outcome.work.size() + b], 1e-4)
        << config.kind << " " << set.name << " " << b;
    effort.work += outcome.work[b] / double(outcome.work.size());
    effort.iterations = std::max(effort.iterations, outcome.iterations[b]);
  }
  std::printf("%-10s %-10s window %-5s bound %-5s work %6.2f iterations %ld\n", config.kind.c_str(), set.name,
              config.window.c_str(), config.step_bound.c_str(), effort.work, effort.iterations);
  std::fflush(stdout);
  return effort;
}

TEST(AutomaticWindows, DenseSolversNeedAFewPassesOfWork) {
  deck::SolverConfig deer = solver("deer"), elk = solver("elk");
  elk.sigma2_adaptive = true;
  for (deck::SolverConfig config : {deer, elk}) {
    config.window = "auto";
    EXPECT_LE(windowed(ar_gru(20), config).work, 6);
    EXPECT_LE(windowed(lorenz96("Lorenz-96", 5, 8, 10), config).work, 5.5);
  }
}

TEST(AutomaticWindows, AdaptiveElkInAWindowOf1024) {
  deck::SolverConfig elk = solver("elk");
  elk.sigma2_adaptive = true;
  elk.window = "1024";
  const Effort effort = windowed(ar_gru(20), elk);
  EXPECT_LT(effort.iterations, 120);
  EXPECT_LT(effort.work, 15);
}

TEST(ClampedQuasiDeer, SolvesLorenz96ForBoundsOverAFactorOfTen) {
  for (const char* bound : {"0.5", "1", "2", "5"}) {
    deck::SolverConfig config = solver("quasi_deer");
    config.step_bound = bound;
    config.max_iterations = 400;
    EXPECT_LE(windowed(lorenz96("Lorenz-96", 5, 8, 10), config).iterations, 250) << bound;
  }
}

}  // namespace
