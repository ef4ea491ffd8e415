// Fused passes: the iterates of separate ones, to rounding, in a fraction of the memory.
#include <gtest/gtest.h>

#include <cmath>

#include "measure/memory.hpp"
#include "reference.hpp"
#include "solvers/fused.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::test;

template <class Real>
class Fused : public ::testing::Test {
 protected:
  static constexpr double eps = std::numeric_limits<Real>::epsilon();

  static systems::Instance<Real> instance(const std::string& system, long T, long B, long D) {
    deck::Case c = basic_case(system);
    c.state_dim = D;
    c.length = T;
    c.batch = B;
    c.seed = 5;
    if (system != "lorenz96") c.initial_state = "random";
    return systems::make_instance<Real>(c, {0, B});
  }
  struct Run {
    solvers::Outcome outcome;
    std::vector<double> states;
    record::History history;
  };
  static Run run(const systems::Instance<Real>& instance, deck::SolverConfig config, deck::Pass pass, int threads = 1,
                 bool twice = false) {
    config.pass = pass;
    solvers::Setup<Real> setup;
    setup.config = config;
    setup.global_batch = instance.batch();
    setup.threads = threads;
    const auto s = solvers::make_solver(instance, setup);
    solvers::Recording<Real> recording;
    Run out{s->solve(&recording), host_values(s->states()), recording.history};
    if (twice) {  // a solver can be used again
      EXPECT_EQ(s->solve().iterations, out.outcome.iterations);
      EXPECT_EQ(host_values(s->states()), out.states);
    }
    return out;
  }
};
using Reals = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Fused, Reals);

struct Choice {
  const char* kind;
  double sigma2;
};
const Choice kinds[] = {{"deer", 0}, {"quasi_deer", 0}, {"elk", 1e2}, {"quasi_elk", 1e2}, {"jacobi", 0}, {"picard", 0}};

TYPED_TEST(Fused, IteratesAreThoseOfSeparatePasses) {
  struct Problem {
    const char* system;
    long T, B, D;
  };
  // Lengths that blocks and chunks do not divide; padding lanes; lanes of two chunks in a group; scratch memory (lorenz96).
  for (const Problem p : {Problem{"gru", 203, 1, 3}, Problem{"gru", 77, 8, 9}, Problem{"lstm", 65, 3, 6},
                          Problem{"rnn", 130, 11, 17}, Problem{"lorenz96", 90, 1, 5}}) {
    const auto instance = this->instance(p.system, p.T, p.B, p.D);
    for (const Choice& choice : kinds)
      for (const char* engine : {"auto", "chunked:1", "chunked:3", "chunked:16"})
        for (const long n : {1L, 2L, 5L}) {
          deck::SolverConfig config = solver(choice.kind, choice.sigma2);
          config.scan = engine;
          config.stop = deck::Stop::iterations;
          config.max_iterations = n;
          if (p.T == 77) config.damping_factor = 0.2;
          if (p.T == 77) config.clip_jacobians = true;
          const auto fused = this->run(instance, config, deck::Pass::fused);
          const auto apart = this->run(instance, config, deck::Pass::separate);
          const double scale = std::max(1.0, largest(apart.states));
          ASSERT_LE(largest_difference(fused.states, apart.states), 3e3 * this->eps * scale)
              << p.system << " " << choice.kind << " " << engine << " after " << n;
          ASSERT_EQ(fused.outcome.iterations, apart.outcome.iterations);
          for (std::size_t i = 0; i < apart.history.residual.size(); ++i) {
            if (fused.history.residual[i] == apart.history.residual[i]) continue;  // both may be infinite
            ASSERT_NEAR(fused.history.residual[i], apart.history.residual[i], 3e3 * this->eps * scale);
          }
        }
  }
}

TYPED_TEST(Fused, ConvergedSequencesKeepTheirStatesAndFinishedOnesLeave) {
  // Sequences that need different numbers of iterations: a group goes on with some of them finished, and with more groups
  // than threads the rest are packed together.
  for (const long B : {8L, 30L}) {
    const auto instance = this->instance("gru", 150, B, 4);
    for (const char* kind : {"quasi_deer", "deer", "jacobi"}) {
      deck::SolverConfig config = solver(kind);
      config.tolerance = sizeof(TypeParam) == 8 ? 1e-9 : 1e-5;
      config.scan = "chunked:2";
      const auto fused = this->run(instance, config, deck::Pass::fused, B == 8 ? 8 : 1, true);
      const auto apart = this->run(instance, config, deck::Pass::separate);
      ASSERT_EQ(fused.outcome.iterations, apart.outcome.iterations) << kind;
      const auto [least, most] = std::minmax_element(apart.outcome.iterations.begin(), apart.outcome.iterations.end());
      if (std::string(kind) == "quasi_deer") {
        ASSERT_LT(*least, *most) << "the batch tests nothing";
      }
      // One more step would move states by about the tolerance times what a step gains.
      ASSERT_LE(largest_difference(fused.states, apart.states), 1e3 * this->eps) << kind << " B " << B;
    }
  }
}

TYPED_TEST(Fused, WindowsEndWhereTheToleranceSays) {
  const double tolerance = sizeof(TypeParam) == 8 ? 1e-9 : 1e-5;
  for (const long B : {1L, 11L, 30L}) {
    const auto instance = this->instance("gru", 700, B, 5);
    const auto oracle = make(instance, solver("sequential"));
    oracle->solve();
    const std::vector<double> truth = host_values(oracle->states());
    for (const char* window : {"auto", "40", "96", "256"})
      for (const char* kind : {"quasi_deer", "deer", "jacobi"}) {
        deck::SolverConfig config = solver(kind);
        config.tolerance = tolerance;
        config.window = window;
        const auto fused = this->run(instance, config, deck::Pass::fused, 1, true);
        const auto apart = this->run(instance, config, deck::Pass::separate);
        for (long b = 0; b < B; ++b) {
          ASSERT_TRUE(fused.outcome.converged[std::size_t(b)]) << kind << " " << window << " B " << B;
          ASSERT_LE(fused.outcome.residual[std::size_t(b)], tolerance);
        }
        ASSERT_LE(largest_difference(fused.states, truth), 40 * tolerance) << kind << " " << window << " B " << B;
        ASSERT_LE(fused.outcome.work[0], 2 * apart.outcome.work[0] + 1) << kind << " " << window << " B " << B;
      }
  }
}

// What a history says of an iteration is how far it moved the states, whichever blocks are settled by then: in the last
// iterations of all, and in windows that are settled and stay where they are until those of other sequences are.
TYPED_TEST(Fused, RecordsHowFarEachIterationMovesTheStates) {
  struct Problem {
    const char* system;
    long T;
    const char* window;
    double tolerance;
  };
  const double tight = sizeof(TypeParam) == 8 ? 1e-9 : 1e-4;
  for (const Problem p : {Problem{"lorenz96", 320, "full", tight}, Problem{"gru", 300, "64", 1e-2}}) {
    const auto instance = this->instance(p.system, p.T, 8, 5);
    for (const char* kind : {"deer", "quasi_deer"}) {
      deck::SolverConfig config = solver(kind);
      config.window = p.window;
      config.scan = "chunked:1";
      config.max_iterations = 300;
      config.tolerance = p.tolerance;
      const auto whole = this->run(instance, config, deck::Pass::fused);
      const long last = whole.history.iterations;
      ASSERT_GT(last, 6) << kind;
      const auto states_after = [&](long n) {
        config.max_iterations = n;
        return this->run(instance, config, deck::Pass::fused).states;
      };
      const long first = config.window == "full" ? last - 5 : 2;
      long still = 0;
      std::vector<double> before = states_after(first - 1);
      for (long n = first; n <= std::min(last, first + 10); ++n) {
        const std::vector<double> after = states_after(n);
        for (std::size_t b = 0; b < 8; ++b) {
          const double told = whole.history.update[std::size_t(n - 1) * 8 + b];
          double moved = 0, size = 1;
          for (std::size_t t = 0; t < std::size_t(p.T); ++t)
            for (std::size_t i = 0; i < 5; ++i) {
              const std::size_t at = (t * 8 + b) * 5 + i;
              moved = std::max(moved, std::abs(after[at] - before[at]));
              size = std::max(size, std::abs(after[at]));
            }
          still += told == 0;
          if (!std::isnan(told)) {
            EXPECT_NEAR(told, moved, 1e-3 * moved + 4 * this->eps * size)
                << p.system << " " << kind << " " << n << " " << b;
          }
        }
        before = after;
      }
      if (config.window != "full") {
        EXPECT_GT(still, 0) << kind << ": no window waited";
      }
    }
  }
}

TYPED_TEST(Fused, StatesThatAreWrittenPastTheCachesArrive) {
  // Rows of whole lines, of half lines, and a guard that writes some of them again.
  for (const long D : {8L, 9L}) {
    const long B = 8, T = 1 + static_cast<long>(solvers::streamed_bytes / double(B * D * sizeof(TypeParam)));
    for (const bool guarded : {false, true}) {
      deck::Case c = basic_case(guarded ? "linear" : "gru");
      c.state_dim = D;
      c.length = T;
      c.batch = B;
      c.initial_state = "random";
      if (guarded) c.system_options["radius"] = 1.1;
      const auto instance = systems::make_instance<TypeParam>(c, {0, B});
      deck::SolverConfig config = solver(guarded ? "deer" : "quasi_deer");
      config.scan = "chunked:1";
      config.stop = deck::Stop::iterations;
      config.max_iterations = 3;
      const auto fused = this->run(instance, config, deck::Pass::fused, 2);
      const auto apart = this->run(instance, config, deck::Pass::separate);
      const double scale = std::max(1.0, largest(apart.states));
      EXPECT_LE(largest_difference(fused.states, apart.states), 3e3 * this->eps * scale) << D << " guarded " << guarded;
      EXPECT_EQ(fused.history.resets, apart.history.resets);
      const auto& resets = apart.history.resets;
      EXPECT_EQ(*std::max_element(resets.begin(), resets.end()) > 0, guarded) << "nothing is written again";
    }
  }
}

TYPED_TEST(Fused, TheGuardCountsTheSameResets) {
  deck::Case c = basic_case("linear");
  c.state_dim = 1;
  c.length = 200;
  c.system_options["radius"] = 30;
  c.initial_state = "random";
  const auto instance = systems::make_instance<TypeParam>(c, {0, 1});
  for (const deck::Guard guard : {deck::Guard::zero, deck::Guard::guess}) {
    deck::SolverConfig config = solver("deer");
    config.guard = guard;
    config.max_iterations = 3;
    config.guess = "initial_state";
    const auto fused = this->run(instance, config, deck::Pass::fused);
    const auto apart = this->run(instance, config, deck::Pass::separate);
    EXPECT_GT(apart.history.resets.front(), 100);
    EXPECT_EQ(fused.history.resets, apart.history.resets);
  }
}

TYPED_TEST(Fused, NothingAsLongAsTimeAndAsLargeAsAJacobianIsStored) {
  const long T = 4000, B = 8, D = 32;
  const auto instance = this->instance("gru", T, B, D);
  const double jacobians = double(T * B * D * D) * sizeof(TypeParam), states = jacobians / double(D);
  for (const char* kind : {"deer", "elk"}) {
    deck::SolverConfig config = solver(kind, std::string(kind) == "elk" ? 1e2 : 0);
    config.stop = deck::Stop::iterations;
    config.max_iterations = 1;
    config.pass = deck::Pass::fused;
    const double before = measure::resident_bytes();
    const measure::PeakMemory peak;
    const auto s = make(instance, config);
    s->solve();
    // drivers and three arrays besides what the program itself needs
    EXPECT_LE(peak.bytes() - before, 4 * states + 16e6) << kind;
    EXPECT_GT(jacobians, 2 * (4 * states + 16e6)) << "the bound would not notice Jacobians";
  }
}

}  // namespace
