// Marches: where windows settle at once, threads take groups of lanes through frames in windows of a few steps.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "reference.hpp"
#include "solvers/windows.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::test;
using solvers::WindowModel;
using solvers::Windows;

WindowModel marching() {
  WindowModel model;
  model.full = false;
  model.start = 64;
  model.smallest = 8;
  model.largest = 4096;
  model.overhead = 200;
  model.march = 16;
  return model;
}

TEST(MarchingWindows, TakeTheLargestFramesFromTheStart) {
  Windows windows(marching(), 10000, 1);
  EXPECT_EQ(windows.march_width(), 16);
  for (const long begin : {0, 4096, 8192}) {
    ASSERT_TRUE(windows.marches());
    EXPECT_EQ(windows.slots()[0].begin, begin);
    EXPECT_EQ(windows.slots()[0].length, std::min(4096L, 10000 - begin));
    windows.marched(0, windows.slots()[0].length, begin == 8192);
    windows.marched(false);
    windows.apply(windows.plan());
  }
  WindowModel never = marching();
  never.march = 0;
  EXPECT_FALSE(Windows(never, 10000, 1).marches());
}

// Where a march stalls windows of searched widths take over, for longer each time.
TEST(MarchingWindows, GiveWayWhereTheyStall) {
  Windows windows(marching(), 10000000, 1);
  long before = 0;
  for (int stall = 0; stall < 5; ++stall) {
    ASSERT_TRUE(windows.marches());
    const Windows::Slot slot = windows.slots()[0];
    windows.marched(0, 10, false);
    windows.marched(true);
    EXPECT_TRUE(windows.restarts(slot));
    windows.apply(windows.plan());
    EXPECT_EQ(windows.slots()[0].begin, slot.begin + 10);
    EXPECT_LT(windows.slots()[0].length, 4096);
    long iterations = 0;
    for (; iterations < 10000 && !windows.marches(); ++iterations) {
      windows.observe(0, windows.slots()[0].length / 8, 1.0, false);
      windows.apply(windows.plan());
    }
    EXPECT_GT(iterations, before);
    before = iterations;
  }
}

TEST(MarchingWindows, FinishedSequencesLeave) {
  Windows windows(marching(), 10000, 2);
  ASSERT_TRUE(windows.marches());
  windows.marched(0, windows.slots()[0].length, true);
  windows.marched(1, windows.slots()[1].length, false);
  windows.marched(false);
  windows.apply(windows.plan());
  ASSERT_EQ(windows.slots().size(), 1u);
  EXPECT_EQ(windows.slots()[0].sequence, 1);
}

template <class Real>
class Marches : public ::testing::Test {
 protected:
  static constexpr long T = 6000;
  static constexpr double tolerance = sizeof(Real) == 8 ? 1e-9 : 1e-5;

  static systems::Instance<Real> instance(const std::string& system, long B, long D, long length = T) {
    deck::Case c = basic_case(system);
    c.state_dim = D;
    c.length = length;
    c.batch = B;
    c.seed = 5;
    c.initial_state = "random";
    return systems::make_instance<Real>(c, {0, B});
  }
  static deck::SolverConfig automatic(const std::string& kind) {
    deck::SolverConfig config = solver(kind, kind.find("elk") != std::string::npos ? 1e4 : 0);
    config.window = "auto";
    config.tolerance = tolerance;
    config.pass = deck::Pass::fused;
    return config;
  }
  struct Run {
    solvers::Outcome outcome;
    std::vector<double> states;
    record::History history;
    Rows<Real> answer;
  };
  /// A solve that is recorded, and the same one that is not: its iterates are to be the same.
  static Run run(const systems::Instance<Real>& instance, const deck::SolverConfig& config,
                 const Rows<Real>& oracle = {}) {
    solvers::Setup<Real> setup;
    setup.config = config;
    setup.global_batch = instance.batch();
    const auto s = solvers::make_solver(instance, setup);
    solvers::Recording<Real> recording;
    recording.oracle = oracle;
    recording.measure = instance.system->error_measure(instance.length());
    Run out{s->solve(&recording), host_values(s->states()), {}, s->states()};
    out.history = recording.history;
    const solvers::Outcome again = s->solve();
    EXPECT_EQ(again.iterations, out.outcome.iterations);
    for (std::size_t b = 0; b < again.work.size(); ++b) EXPECT_NEAR(again.work[b], out.outcome.work[b], 1e-9);
    EXPECT_EQ(again.residual, out.outcome.residual);
    EXPECT_EQ(again.converged, out.outcome.converged);
    EXPECT_EQ(host_values(s->states()), out.states);
    return out;
  }
};
using Reals = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Marches, Reals);

TYPED_TEST(Marches, EndWhereTheToleranceSays) {
  struct Problem {
    const char* system;
    long B, D;
  };
  // Padding lanes, several groups, Jacobians in factors and formed.
  std::map<std::string, int> marched;
  for (const Problem p : {Problem{"gru", 8, 5}, Problem{"gru", 13, 3}, Problem{"lstm", 30, 4}, Problem{"rnn", 9, 17}}) {
    const auto instance = this->instance(p.system, p.B, p.D);
    const auto oracle = make(instance, solver("sequential"));
    oracle->solve();
    const std::vector<double> truth = host_values(oracle->states());
    for (const char* kind :
         {"quasi_deer", "deer", "elk", "quasi_elk", "jacobi", "clipped", "adaptive", "quasi_adaptive"}) {
      const std::string name(kind);
      const bool clips = name == "clipped", adapts = name.find("adaptive") != std::string::npos;
      deck::SolverConfig config = this->automatic(clips                ? "deer"
                                                  : name == "adaptive" ? "elk"
                                                  : adapts             ? "quasi_elk"
                                                                       : kind);
      config.clip_jacobians = clips;
      config.sigma2_adaptive = adapts;
      if (adapts) config.pass = deck::Pass::automatic;
      const auto run = this->run(instance, config, oracle->states());
      config.pass = deck::Pass::separate;  // which never marches
      const double without = this->run(instance, config).outcome.work[0];
      marched[kind] += run.outcome.work[0] < 0.9 * without;
      ASSERT_LE(largest_difference(run.states, truth), 40 * this->tolerance) << p.system << " " << kind;
      for (std::size_t b = 0; b < std::size_t(p.B); ++b) {
        ASSERT_TRUE(run.outcome.converged[b]) << p.system << " " << kind;
        ASSERT_LE(run.outcome.residual[b], this->tolerance);
        ASSERT_GT(run.outcome.work[b], 1);
      }
      // The residual told is that of the answer, whichever window left it behind.
      solvers::Setup<TypeParam> again;
      again.config = solver("jacobi");
      again.config.guess = "previous";
      again.config.max_iterations = 1;
      again.global_batch = p.B;
      again.guess = run.answer;
      solvers::Recording<TypeParam> of_answer;
      solvers::make_solver(instance, again)->solve(&of_answer);
      for (std::size_t b = 0; b < std::size_t(p.B); ++b)
        ASSERT_NEAR(of_answer.history.residual[b], run.outcome.residual[b], 0.05 * this->tolerance) << kind;
      // The history is one of iterations, and ends with the answer.
      const auto rows = std::size_t(run.history.iterations), B = std::size_t(p.B);
      ASSERT_EQ(long(rows), *std::max_element(run.outcome.iterations.begin(), run.outcome.iterations.end()));
      ASSERT_EQ(run.history.residual.size(), (rows + 1) * B);
      ASSERT_EQ(run.history.update.size(), rows * B);
      ASSERT_EQ(run.history.mad.size(), (rows + 1) * B);
      for (std::size_t b = 0; b < B; ++b) {
        double error = 0, size = 0;
        for (std::size_t i = 0; i < truth.size(); ++i)
          if (i / std::size_t(p.D) % B == b) {
            error += std::abs(run.states[i] - truth[i]) / instance.system->error_measure(instance.length()).divisor;
            size += std::abs(truth[i]) / instance.system->error_measure(instance.length()).divisor;
          }
        const auto last = std::size_t(run.outcome.iterations[b]) * B + b;
        EXPECT_NEAR(run.history.mad[b], size, 1e-5 * size);  // of the zero guess
        EXPECT_NEAR(run.history.mad[last], error, 1e-6 * size) << p.system << " " << kind;
        EXPECT_EQ(run.history.residual[last], run.outcome.residual[b]);
      }
    }
  }
  for (const auto& [kind, times] : marched) EXPECT_GE(times, 1) << kind << " did not march";
}

// A rank with fewer groups of sequences than threads: each thread has room of its own.
TYPED_TEST(Marches, HaveRoomForEveryThread) {
  const auto instance = this->instance("gru", 3, 4);
  const auto oracle = make(instance, solver("sequential"));
  oracle->solve();
  for (const char* kind : {"quasi_deer", "adaptive"}) {
    solvers::Setup<TypeParam> setup;
    setup.config = this->automatic(kind == std::string("adaptive") ? "elk" : kind);
    setup.config.sigma2_adaptive = kind == std::string("adaptive");
    setup.config.pass = deck::Pass::automatic;
    setup.global_batch = 64;
    setup.threads = 4;
    const auto s = solvers::make_solver(instance, setup);
    const solvers::Outcome outcome = s->solve();
    EXPECT_TRUE(outcome.converged[0]);
    EXPECT_LT(outcome.work[0], 4);
    EXPECT_LE(largest_difference(host_values(s->states()), host_values(oracle->states())), 40 * this->tolerance);
  }
}

// Cut off between frames the answer is the iterate, its error the last one recorded.
TYPED_TEST(Marches, StopAtTheLimitOfIterations) {
  const auto instance = this->instance("gru", 11, 4, 40000);
  const auto oracle = make(instance, solver("sequential"));
  oracle->solve();
  const std::vector<double> truth = host_values(oracle->states());
  for (const char* kind : {"quasi_deer", "elk"}) {
    deck::SolverConfig config = this->automatic(kind);
    const auto whole_run = this->run(instance, config).outcome;
    const long all = *std::min_element(whole_run.iterations.begin(), whole_run.iterations.end());
    ASSERT_GE(all, 3);
    for (long limit = all - 1; limit > 0; --limit) {
      config.max_iterations = limit;
      const auto run = this->run(instance, config, oracle->states());
      double whole = 0, recorded = 0;
      for (std::size_t i = 0; i < truth.size(); ++i)
        whole += std::abs(run.states[i] - truth[i]) / instance.system->error_measure(instance.length()).divisor;
      for (std::size_t b = 0; b < 11; ++b) {
        EXPECT_EQ(run.outcome.iterations[b], limit);
        EXPECT_FALSE(run.outcome.converged[b]);
        recorded += run.history.mad[std::size_t(limit) * 11 + b];
      }
      EXPECT_NEAR(recorded, whole, 1e-5 * whole) << kind << " " << limit;
    }
  }
}

// Steps that can never be settled, as their states are beyond the guard: a march gives up, windows of the width before go on,
// and the limit of iterations ends it all.
TYPED_TEST(Marches, GiveUpWhereNothingSettles) {
  using Real = TypeParam;
  const auto instance = this->instance("linear", 10, 3);
  const auto drivers = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), instance.drivers);
  for (long t = 4000; t < 4100; ++t)
    for (long i = 0; i < 3; ++i) drivers(t, 7, i) *= Real(1e12);
  Kokkos::deep_copy(instance.drivers, drivers);
  deck::SolverConfig config = this->automatic("deer");
  config.max_iterations = 4000;
  const auto run = this->run(instance, config);
  EXPECT_FALSE(run.outcome.converged[7]);
  EXPECT_GT(run.outcome.residual[7], config.tolerance);
  EXPECT_EQ(run.outcome.iterations[7], 4000);
  // What comes before is settled, and sequences of other groups are done.
  for (const std::size_t b : {8u, 9u}) EXPECT_TRUE(run.outcome.converged[b]);
}

}  // namespace
