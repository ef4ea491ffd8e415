// Properties every solver must have, on systems of our own: known solutions, exact prefixes, stop rules, guards, guesses.
#include <gtest/gtest.h>

#include <cmath>

#include "reference.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::test;

template <class Real>
class Properties : public ::testing::Test {
 protected:
  static constexpr double eps = std::numeric_limits<Real>::epsilon();

  static systems::Instance<Real> gru(long T, long B, long D, double gain = 1, std::uint64_t seed = 3) {
    deck::Case c = basic_case("gru");
    c.state_dim = D;
    c.length = T;
    c.batch = B;
    c.seed = seed;
    c.system_options["gain"] = gain;
    c.initial_state = "random";
    return systems::make_instance<Real>(c, {0, B});
  }
  static std::vector<double> oracle(const systems::Instance<Real>& instance) {
    const auto s = make(instance, solver("sequential"));
    s->solve();
    return host_values(s->states());
  }
};
using Reals = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Properties, Reals);

const char* const engines[] = {"serial", "flat", "chunked", "chunked:3", "auto"};

struct Choice {
  const char* kind;
  double sigma2;
};
const Choice solvers_to_try[] = {{"deer", 0}, {"quasi_deer", 0}, {"elk", 1e4}, {"quasi_elk", 1e4}};

TYPED_TEST(Properties, EverySolverOnEveryEngineFindsTheSequentialStates) {
  using Real = TypeParam;
  for (const long T : {1L, 2L, 37L, 150L})
    for (const long B : {1L, 3L, 9L})
      for (const long D : {1L, 3L, 8L}) {
        const auto instance = this->gru(T, B, D);
        const std::vector<double> truth = this->oracle(instance);
        for (const Choice& choice : solvers_to_try)
          for (const char* engine : engines) {
            deck::SolverConfig config = solver(choice.kind, choice.sigma2);
            config.scan = engine;
            config.tolerance = sizeof(Real) == 8 ? 1e-12 : 1e-6;
            config.max_iterations = 400;
            const auto s = make(instance, config);
            const solvers::Outcome outcome = s->solve();
            ASSERT_LE(largest_difference(host_values(s->states()), truth), sizeof(Real) == 8 ? 1e-10 : 2e-5)
                << choice.kind << " " << engine << " T " << T << " B " << B << " D " << D;
            for (long b = 0; b < B; ++b) {
              ASSERT_TRUE(outcome.converged[std::size_t(b)]) << choice.kind << " " << engine;
              ASSERT_LE(outcome.residual[std::size_t(b)], config.tolerance);
            }
          }
      }
}

TYPED_TEST(Properties, NewtonSolvesALinearSystemWithKnownStatesInOneStep) {
  using Real = TypeParam;
  deck::Case c = basic_case("linear");
  c.state_dim = 5;
  c.length = 200;
  c.batch = 3;
  c.initial_state = "random";
  auto instance = systems::make_instance<Real>(c, {0, 3});
  // Drivers for which the states are sines: u_t = s_t − A s_{t−1}, with A applied by the system itself to zero drivers.
  const auto wanted = [](long t, long b, long i) { return std::sin(0.1 * double(t) + double(b) + 0.5 * double(i)); };
  const auto initial = Kokkos::create_mirror_view(instance.initial);
  for (long b = 0; b < 3; ++b)
    for (long i = 0; i < 5; ++i) initial(b, i) = Real(wanted(0, b, i));
  Kokkos::deep_copy(instance.initial, initial);
  const auto zero = make_view<Rows<Real>>("zero", 1, 3, 5), next = make_view<Rows<Real>>("next", 1, 3, 5);
  Kokkos::deep_copy(zero, Real(0));
  const auto start = make_view<Matrix<Real>>("start", 3, 5);
  const auto start_host = Kokkos::create_mirror_view(start);
  const auto drivers = Kokkos::create_mirror_view(instance.drivers);
  std::vector<double> truth;
  for (long t = 1; t <= 200; ++t) {
    for (long b = 0; b < 3; ++b)
      for (long i = 0; i < 5; ++i) start_host(b, i) = Real(wanted(t - 1, b, i));
    Kokkos::deep_copy(start, start_host);
    instance.system->rollout(zero, start, next);
    const auto moved = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), next);
    for (long b = 0; b < 3; ++b)
      for (long i = 0; i < 5; ++i) {
        drivers(t - 1, b, i) = Real(wanted(t, b, i)) - moved(0, b, i);
        truth.push_back(wanted(t, b, i));
      }
  }
  Kokkos::deep_copy(instance.drivers, drivers);
  const double tolerance = 100 * this->eps;
  EXPECT_LE(largest_difference(this->oracle(instance), truth), tolerance);
  for (const char* engine : engines) {
    deck::SolverConfig config = solver("deer");
    config.scan = engine;
    config.tolerance = tolerance;
    const auto s = make(instance, config);
    const solvers::Outcome outcome = s->solve();
    EXPECT_LE(largest_difference(host_values(s->states()), truth), 4 * tolerance) << engine;
    for (const long n : outcome.iterations) EXPECT_EQ(n, 1) << engine;
  }
}

TYPED_TEST(Properties, UndampedSolversHaveExactPrefixes) {
  using Real = TypeParam;
  const auto instance = this->gru(40, 2, 4, 3.0);  // gain 3: far from converged early on
  const std::vector<double> truth = this->oracle(instance);
  for (const char* kind : {"deer", "quasi_deer"})
    for (const char* engine : engines)
      for (long n = 1; n <= 12; ++n) {
        deck::SolverConfig config = solver(kind);
        config.scan = engine;
        config.stop = deck::Stop::iterations;
        config.max_iterations = n;
        const auto s = make(instance, config);
        s->solve();
        const std::vector<double> got = host_values(s->states());
        double prefix = 0;
        for (std::size_t i = 0; i < std::size_t(n * 2 * 4); ++i)
          prefix = std::max(prefix, std::fabs(got[i] - truth[i]));
        ASSERT_LE(prefix, 2000 * this->eps) << kind << " " << engine << " after " << n;
      }
  (void)sizeof(Real);
}

TYPED_TEST(Properties, StopRulesCountWhatTheySay) {
  const auto instance = this->gru(200, 3, 4);
  deck::SolverConfig config = solver("quasi_deer");
  config.stop = deck::Stop::iterations;
  config.max_iterations = 7;
  for (const long n : make(instance, config)->solve().iterations) EXPECT_EQ(n, 7);

  config.max_iterations = 100;
  for (const deck::Stop stop : {deck::Stop::residual, deck::Stop::update}) {
    config.stop = stop;
    config.tolerance = 1e-4;
    solvers::Recording<TypeParam> recording;
    const auto s = make(instance, config);
    const solvers::Outcome outcome = s->solve(&recording);
    const record::History& h = recording.history;
    const solvers::Outcome unwatched = s->solve();
    EXPECT_EQ(unwatched.iterations, outcome.iterations);  // watching changes nothing
    ASSERT_EQ(h.batch, 3);
    ASSERT_EQ(long(h.residual.size()), (h.iterations + 1) * 3);
    ASSERT_EQ(long(h.update.size()), h.iterations * 3);
    for (std::size_t b = 0; b < 3; ++b) {
      const std::size_t n = std::size_t(outcome.iterations[b]);
      ASSERT_GT(n, 1u);
      // converged exactly at n: the deciding number is within tolerance there and not before; NaN afterwards
      if (stop == deck::Stop::residual) {
        EXPECT_LE(h.residual[n * 3 + b], config.tolerance);
        EXPECT_GT(h.residual[(n - 1) * 3 + b], config.tolerance);
      } else {
        EXPECT_LE(h.update[(n - 1) * 3 + b], config.tolerance);
        EXPECT_GT(h.update[(n - 2) * 3 + b], config.tolerance);
        EXPECT_TRUE(std::isfinite(h.residual[n * 3 + b]));
      }
      EXPECT_EQ(outcome.residual[b], h.residual[n * 3 + b]);
      for (std::size_t i = n; i < std::size_t(h.iterations); ++i) {
        EXPECT_TRUE(std::isnan(h.update[i * 3 + b]));
        EXPECT_TRUE(std::isnan(h.residual[(i + 1) * 3 + b]));
      }
    }
  }
}

TYPED_TEST(Properties, OptionsOfTheLoopReachTheSameStates) {
  using Real = TypeParam;
  const auto instance = this->gru(60, 3, 4, 0.5);
  const std::vector<double> truth = this->oracle(instance);
  std::vector<deck::SolverConfig> configs = {solver("jacobi"),     solver("picard"),   solver("deer"),
                                             solver("quasi_deer"), solver("elk", 1e3), solver("quasi_elk", 1e3)};
  for (std::size_t i = 1; i < 4; ++i) configs[i].damping_factor = 0.3;
  configs[3].clip_jacobians = true;
  configs[4].smoother = configs[5].smoother = true;
  std::vector<long> counts;
  for (deck::SolverConfig& config : configs)
    for (const char* engine : engines) {
      config.scan = engine;
      config.tolerance = sizeof(Real) == 8 ? 1e-12 : 1e-6;
      config.max_iterations = 400;
      const auto s = make(instance, config);
      const solvers::Outcome outcome = s->solve();
      ASSERT_LE(largest_difference(host_values(s->states()), truth), sizeof(Real) == 8 ? 1e-9 : 1e-4)
          << config.kind << " " << engine;
      ASSERT_TRUE(outcome.converged[0]) << config.kind << " " << engine;
      if (std::string(engine) == "serial") counts.push_back(outcome.iterations[0]);
    }
  // Jacobi and Picard move information one step an iteration at worst; undamped DEER needs far fewer.
  EXPECT_LE(counts[0], 60);
  EXPECT_GT(counts[0], make(instance, solver("deer"))->solve().iterations[0]);
  // scaling and clipping change the path
  deck::SolverConfig plain = solver("deer");
  plain.tolerance = configs[2].tolerance;
  EXPECT_GT(counts[2], make(instance, plain)->solve().iterations[0]);
}

TYPED_TEST(Properties, TheSmootherDecreasesTheMerit) {
  using Real = TypeParam;
  const auto instance = this->gru(80, 1, 3, 3.0);
  double before = INFINITY;
  for (long n = 1; n <= 12; ++n) {
    deck::SolverConfig config = solver("elk", 1.0);
    config.smoother = true;
    config.stop = deck::Stop::iterations;
    config.max_iterations = n;
    const auto s = make(instance, config);
    s->solve();
    // ½‖r‖² of the iterate, with f from one-step rollouts
    const std::vector<double> states = host_values(s->states());
    double merit = 0;
    const auto driver = make_view<Rows<Real>>("driver", 1, 1, 3);
    const auto start = make_view<Matrix<Real>>("start", 1, 3);
    const auto next = make_view<Rows<Real>>("next", 1, 1, 3);
    const auto start_host = Kokkos::create_mirror_view(start);
    for (long t = 0; t < 80; ++t) {
      Kokkos::deep_copy(driver, Kokkos::subview(instance.drivers, std::make_pair(t, t + 1), Kokkos::ALL, Kokkos::ALL));
      for (long i = 0; i < 3; ++i)
        start_host(0, i) = t == 0 ? Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), instance.initial)(0, i)
                                  : Real(states[std::size_t((t - 1) * 3 + i)]);
      Kokkos::deep_copy(start, start_host);
      instance.system->rollout(driver, start, next);
      const auto f = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), next);
      for (long i = 0; i < 3; ++i) merit += std::pow(states[std::size_t(t * 3 + i)] - double(f(0, 0, i)), 2);
    }
    EXPECT_LE(merit, before * (1 + 1e-5)) << n;
    before = merit;
  }
}

TYPED_TEST(Properties, TheGuardReplacesAndCountsWhatOverflows) {
  using Real = TypeParam;
  // An unstable scalar system: s_t = 30 s_{t−1} + u_t overflows any bound within 200 steps.
  deck::Case c = basic_case("linear");
  c.state_dim = 1;
  c.length = 200;
  c.system_options["radius"] = 30;
  c.initial_state = "random";
  const auto instance = systems::make_instance<Real>(c, {0, 1});
  for (const char* engine : engines)
    for (const deck::Guard guard : {deck::Guard::zero, deck::Guard::guess}) {
      deck::SolverConfig config = solver("deer");
      config.scan = engine;
      config.guard = guard;
      config.max_iterations = 3;
      config.guess = "initial_state";
      solvers::Recording<Real> recording;
      const auto s = make(instance, config);
      const solvers::Outcome outcome = s->solve(&recording);
      EXPECT_LE(largest(host_values(s->states())), 1e8) << engine;
      EXPECT_GT(recording.history.resets.front(), 100) << engine;
      EXPECT_TRUE(outcome.healing[0]);
      EXPECT_FALSE(outcome.converged[0]);
    }
}

TYPED_TEST(Properties, GuessesStartWhereTheySay) {
  using Real = TypeParam;
  const auto instance = this->gru(50, 2, 3);
  const auto sequential = make(instance, solver("sequential"));
  sequential->solve();
  // from the solution: nothing left to do
  solvers::Setup<Real> setup;
  setup.config = solver("quasi_deer");
  setup.config.guess = "previous";
  setup.config.tolerance = 100 * this->eps;
  setup.guess = sequential->states();
  for (const long n : solvers::make_solver(instance, setup)->solve().iterations) EXPECT_EQ(n, 0);
  // from nothing: an error, not a crash
  setup.guess = {};
  EXPECT_THROW(solvers::make_solver(instance, setup), std::invalid_argument);
  // the residual of row 0 is that of the guess
  for (const char* guess : {"zero", "initial_state"}) {
    setup.config.guess = guess;
    solvers::Recording<Real> recording;
    solvers::make_solver(instance, setup)->solve(&recording);
    const auto initial = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), instance.initial);
    deck::SolverConfig none = setup.config;
    none.stop = deck::Stop::iterations;
    EXPECT_GT(recording.history.residual[0], 0.01) << guess;
  }
}

TYPED_TEST(Properties, ASequenceDoesNotDependOnItsNeighbours) {
  using Real = TypeParam;
  // The same sequences, solved together and in parts, as ranks would: the same bits.
  deck::Case c = basic_case("gru");
  c.state_dim = 5;
  c.length = 130;
  c.batch = 11;
  for (const Choice& choice : solvers_to_try)
    for (const char* engine : engines) {
      solvers::Setup<Real> setup;
      setup.config = solver(choice.kind, choice.sigma2);
      setup.config.scan = engine;
      setup.global_batch = 11;
      setup.threads = 2;
      const auto all = solvers::make_solver(systems::make_instance<Real>(c, {0, 11}), setup);
      const solvers::Outcome together = all->solve();
      const std::vector<double> whole = host_values(all->states());
      for (const parallel::Range part : {parallel::Range{0, 4}, parallel::Range{4, 5}, parallel::Range{5, 11}}) {
        const auto some = solvers::make_solver(systems::make_instance<Real>(c, part), setup);
        const solvers::Outcome apart = some->solve();
        const std::vector<double> states = host_values(some->states());
        for (long t = 0; t < 130; ++t)
          for (long b = part.begin; b < part.end; ++b) {
            ASSERT_EQ(apart.iterations[std::size_t(b - part.begin)], together.iterations[std::size_t(b)]);
            for (long i = 0; i < 5; ++i)
              ASSERT_EQ(states[std::size_t((t * part.size() + b - part.begin) * 5 + i)],
                        whole[std::size_t((t * 11 + b) * 5 + i)])
                  << choice.kind << " " << engine << " t " << t << " b " << b;
          }
      }
    }
}

}  // namespace
