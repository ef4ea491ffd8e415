// Windows in time: the search for a width on fronts whose law is known, and solutions through windows of every kind.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "reference.hpp"
#include "solvers/windows.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::test;
using solvers::WindowModel;
using solvers::Windows;

/// Runs the bookkeeping on one sequence whose front crosses `speed(width)` steps an iteration.
struct Walked {
  long iterations = 0;
  double work = 0;  ///< in multiples of T
  long last_width = 0;
};
template <class Speed>
Walked simulate(const WindowModel& model, long length, const Speed& speed, double residual_falls_by = 1) {
  constexpr long limit = 1000000;
  double residual = 1;
  Windows windows(model, length, 1);
  Walked run;
  double position = 0;
  while (run.iterations < limit) {
    const Windows::Slot slot = windows.slots()[0];
    EXPECT_LE(slot.begin, long(position));
    EXPECT_LE(slot.begin + slot.length, length);
    EXPECT_GE(slot.length, 1);
    ++run.iterations;
    run.work += double(slot.length) / double(length);
    run.last_width = slot.length == length - slot.begin ? run.last_width : slot.length;
    position = std::min(position + speed(slot.length), double(slot.begin + slot.length));
    if (long(position) == length) break;
    residual *= residual_falls_by;
    windows.observe(0, long(position) - slot.begin, residual, false);
    windows.apply(windows.plan());
  }
  return run;
}

WindowModel automatic(double overhead = 20) {
  WindowModel model;
  model.full = false;
  model.start = 64;
  model.smallest = 8;
  model.largest = 4096;
  model.overhead = overhead;
  return model;
}

TEST(Windows, GrowToTheLargestWhereWholeWindowsSettleAtOnce) {
  int age = 0;  // a window settles in five iterations whatever its width
  const auto whole = [&](long width) { return ++age % 5 == 0 ? double(width) : 0.0; };
  const Walked run = simulate(automatic(200), 1000000, whole);
  EXPECT_EQ(run.last_width, 4096);
  EXPECT_LE(run.work, 8);
}

TEST(Windows, LeapWhereOneWidthAfterTheOtherSettlesAtOnce) {
  WindowModel model = automatic();
  model.largest = 1000000;
  int age = 0;
  const Walked run = simulate(model, 1000000, [&](long width) { return ++age % 5 == 0 ? double(width) : 0.0; });
  EXPECT_LE(run.iterations, 100);
  EXPECT_LE(run.work, 5.1);
  EXPECT_GE(run.last_width, 100000);
}

TEST(Windows, EndTogetherWhereTheySettleAtOnceAndNarrowAtTheEnd) {
  int narrow = 0;
  for (long length = 50000; length < 54000; length += 500) {
    Windows windows(automatic(), length, 2);
    bool lagged = false, together = false;
    bool ended = false;
    for (int iteration = 1; iteration < 1000 && !ended; ++iteration) {
      for (std::size_t j = 0; j < 2; ++j) {
        const Windows::Slot slot = windows.slots()[j];
        // Windows settle as a whole every five iterations, but for the first one of the second sequence.
        long front = iteration % 5 == 0 ? slot.length : 0;
        if (iteration == 5 && j == 1) front = slot.length - 10;
        ended = ended || slot.begin + front == length;
        windows.observe(j, front, 1.0, slot.begin + front == length);
      }
      windows.apply(windows.plan());
      if (ended) break;
      const Windows::Slot a = windows.slots()[0], b = windows.slots()[1];
      lagged = lagged || a.begin - b.begin == 10;
      together = together || (windows.width() == 4096 && a.begin == b.begin && a.length == b.length);
      narrow += a.begin > length - 2048 && iteration % 5 == 0 && windows.width() == length - a.begin;
    }
    EXPECT_TRUE(ended) << length;
    EXPECT_TRUE(lagged) << length;
    EXPECT_TRUE(together) << length;
  }
  EXPECT_GE(narrow, 2) << "short last windows in frames of their length";
}

TEST(Windows, LoseLittleByALeapThatFails) {
  WindowModel model = automatic();
  model.largest = 1000000;
  int age = 0;
  const auto whole_up_to = [&](long width) { return width > 5000 ? 10.0 : ++age % 5 == 0 ? double(width) : 0.0; };
  const Walked run = simulate(model, 300000, whole_up_to, 0.75);  // residuals tell nothing
  EXPECT_LE(run.last_width, 5000);
  EXPECT_LE(run.work, 7);
}

TEST(Windows, StayNarrowWhereTheFrontCreeps) {
  const auto creeps = [](long width) { return std::min(double(width) / 5, 13.0); };
  const Walked run = simulate(automatic(), 100000, creeps);
  EXPECT_LE(run.last_width, 128);
  EXPECT_LE(run.work, 8);
  const Walked latency = simulate(automatic(2000), 100000, [](long width) { return std::sqrt(double(width)); });
  EXPECT_GE(latency.last_width, 1024);  // iterations cost latency: wider windows pay although their work grows
}

TEST(Windows, LeaveAWidthThatStalls) {
  const auto fails_when_wide = [](long width) { return width > 128 ? 0.05 : double(width) / 6; };
  const Walked run = simulate(automatic(), 100000, fails_when_wide);
  EXPECT_LE(run.last_width, 128);
  EXPECT_LE(run.iterations, 100000 / (128 / 6) * 2);
}

TEST(Windows, GrowWhereTheyAreLargelySettledWhenTheyMove) {
  const Walked run = simulate(automatic(), 1000000, [](long width) { return 0.4 * double(width); });
  EXPECT_EQ(run.last_width, 4096);
  EXPECT_LE(run.work, 4);
}

TEST(Windows, LeaveAStartThatStalls) {
  WindowModel model = automatic();
  model.start = 512;
  const auto fails_when_wide = [](long width) { return width > 128 ? 0.05 : double(width) / 6; };
  const Walked run = simulate(model, 10000, fails_when_wide);
  EXPECT_LE(run.last_width, 128);
  EXPECT_LE(run.iterations, 10000 / (128 / 6) * 2);
}

TEST(Windows, AFixedWidthStaysAndReachesTheEnd) {
  WindowModel model = automatic();
  model.start = model.smallest = model.largest = 100;
  for (const long length : {1L, 99L, 100L, 101L, 1234L}) {
    const Walked run = simulate(model, length, [](long) { return 9.0; });
    EXPECT_LE(run.iterations, length / 9 + 2) << length;
  }
}

TEST(Windows, AShortLastWindowTakesAFrameOfItsLength) {
  for (const long last : {1L, 30L, 50L, 51L, 99L}) {
    WindowModel model = automatic();
    model.start = model.smallest = model.largest = 100;
    Windows windows(model, 700 + last, 1);
    for (int iteration = 0; iteration < 7; ++iteration) {
      EXPECT_EQ(windows.width(), 100);
      windows.observe(0, 100, 1.0, false);
      windows.apply(windows.plan());
    }
    ASSERT_EQ(windows.slots()[0].length, last);
    // More than half of a frame is not worth another one.
    EXPECT_EQ(windows.width(), last <= 50 ? last : 100);
  }
}

TEST(Windows, FinishedSequencesLeaveTheFrame) {
  WindowModel model;  // full length
  Windows windows(model, 50, 4);
  EXPECT_EQ(windows.width(), 50);
  for (int iteration = 0; iteration < 6; ++iteration) {
    for (std::size_t j = 0; j < windows.slots().size(); ++j) {
      const bool finished = windows.slots()[j].sequence != 2;
      windows.observe(j, 0, 1.0, finished);
    }
    windows.apply(windows.plan());
  }
  ASSERT_EQ(windows.slots().size(), 1u);
  EXPECT_EQ(windows.slots()[0].sequence, 2);
  EXPECT_EQ(windows.slots()[0].length, 50);
}

template <class Real>
class WindowedSolves : public ::testing::Test {};
using Reals = ::testing::Types<float, double>;
TYPED_TEST_SUITE(WindowedSolves, Reals);

TYPED_TEST(WindowedSolves, FindTheSequentialStatesWithAnyWindow) {
  using Real = TypeParam;
  for (const long T : {1L, 30L, 333L})
    for (const long B : {1L, 5L, 11L}) {
      deck::Case c = basic_case("gru");
      c.state_dim = 5;
      c.length = T;
      c.batch = B;
      c.initial_state = "random";
      const auto instance = systems::make_instance<Real>(c, {0, B});
      const auto sequential = make(instance, solver("sequential"));
      sequential->solve();
      const std::vector<double> truth = host_values(sequential->states());
      for (const char* kind : {"deer", "quasi_deer", "elk", "quasi_elk", "jacobi", "picard"})
        for (const char* window : {"1", "7", "64", "1000", "auto"})
          for (const char* engine : {"serial", "flat", "chunked", "chunked:3"}) {
            const std::string name(kind);
            if (name == "picard" && T > 30) continue;  // the identity for Jacobians: converges by its prefix alone
            if (engine[0] != 'c' && name != "deer" && name != "quasi_elk") continue;
            deck::SolverConfig config = solver(kind, name.find("elk") != std::string::npos ? 1e4 : 0);
            config.window = window;
            config.scan = engine;
            config.tolerance = sizeof(Real) == 8 ? 1e-12 : 2e-6;
            const auto s = make(instance, config);
            for (int again = 0; again < 2; ++again) {  // a solve leaves nothing behind for the next
              const solvers::Outcome outcome = s->solve();
              ASSERT_LE(largest_difference(host_values(s->states()), truth), sizeof(Real) == 8 ? 1e-10 : 4e-5)
                  << kind << " window " << window << " " << engine << " T " << T << " B " << B;
              for (long b = 0; b < B; ++b) {
                ASSERT_TRUE(outcome.converged[std::size_t(b)]);
                ASSERT_LE(outcome.residual[std::size_t(b)], config.tolerance);
                ASSERT_GT(outcome.work[std::size_t(b)], 0);
              }
            }
          }
    }
}

// Windows hold what the inputs become where there are many of them; lanes filled with sequences and with chunks of time.
TYPED_TEST(WindowedSolves, ProjectTheInputsOfTheStepsTheyHold) {
  using Real = TypeParam;
  for (const char* system : {"gru", "lstm"})
    for (const long B : {3L, 11L}) {
      deck::Case c = basic_case(system);
      c.state_dim = 12;
      c.system_options["input_dim"] = 20;
      c.length = 300;
      c.batch = B;
      c.initial_state = "random";
      const auto instance = systems::make_instance<Real>(c, {0, B});
      ASSERT_GT(instance.system->projected_dim(), 0);
      const auto sequential = make(instance, solver("sequential"));
      sequential->solve();
      for (const char* kind : {"deer", "quasi_deer", "elk"})
        for (const char* window : {"40", "auto"}) {
          deck::SolverConfig config = solver(kind, kind == std::string("elk") ? 1e4 : 0);
          config.window = window;
          config.tolerance = sizeof(Real) == 8 ? 1e-12 : 2e-6;
          const auto s = make(instance, config);
          EXPECT_TRUE(s->solve().converged[0]);
          EXPECT_LE(largest_difference(host_values(s->states()), host_values(sequential->states())),
                    sizeof(Real) == 8 ? 1e-10 : 4e-5)
              << system << " " << kind << " window " << window << " B " << B;
        }
    }
}

// Sequences decide for themselves: alone or in a batch, the same answer to the last bit. Counts differ a little: a settled
// window waits for the others before it moves.
TYPED_TEST(WindowedSolves, DoNotDependOnTheOtherSequences) {
  using Real = TypeParam;
  deck::Case c = basic_case("gru");
  c.state_dim = 4;
  c.length = 500;
  c.batch = 6;
  c.seed = 5;
  c.system_options["gain"] = 2;
  const auto all = systems::make_instance<Real>(c, {0, 6});
  const auto some = systems::make_instance<Real>(c, {2, 4});
  for (const auto& [kind, window] :
       {std::pair{"deer", "48"}, {"quasi_deer", "48"}, {"deer", "full"}, {"quasi_elk", "full"}}) {
    const bool full = window == std::string("full");
    deck::SolverConfig config = solver(kind, kind == std::string("quasi_elk") ? 1e3 : 0);
    config.window = window;
    config.tolerance = sizeof(Real) == 8 ? 1e-11 : 1e-5;
    solvers::Setup<Real> setup;
    setup.config = config;
    setup.global_batch = 6;
    setup.threads = 2;
    const auto together = solvers::make_solver(all, setup), apart = solvers::make_solver(some, setup);
    const solvers::Outcome a = together->solve(), b = apart->solve();
    const std::vector<double> of_all = host_values(together->states()), of_some = host_values(apart->states());
    for (long t = 0; t < c.length; ++t)
      for (long j = 0; j < 2; ++j)
        for (long i = 0; i < 4; ++i)
          ASSERT_EQ(of_all[std::size_t((t * 6 + 2 + j) * 4 + i)], of_some[std::size_t((t * 2 + j) * 4 + i)]) << kind;
    for (std::size_t j = 0; j < 2; ++j)
      EXPECT_NEAR(double(a.iterations[2 + j]), double(b.iterations[j]), full ? 0 : 0.1 * double(b.iterations[j]))
          << kind << " " << window;
  }
}

TYPED_TEST(WindowedSolves, RecordTheErrorOfAllStates) {
  using Real = TypeParam;
  deck::Case c = basic_case("gru");
  c.state_dim = 3;
  c.length = 200;
  c.batch = 2;
  const auto instance = systems::make_instance<Real>(c, {0, 2});
  const auto sequential = make(instance, solver("sequential"));
  sequential->solve();
  const std::vector<double> truth = host_values(sequential->states());
  double whole = 0;
  for (std::size_t i = 0; i < truth.size(); ++i)
    if (i / 3 % 2 == 0) whole += std::abs(truth[i]);
  for (const char* window : {"full", "32", "auto"}) {
    deck::SolverConfig config = solver("quasi_deer");
    config.window = window;
    solvers::Recording<Real> recording;
    recording.oracle = sequential->states();
    recording.measure = instance.system->error_measure(200);
    make(instance, config)->solve(&recording);
    const std::vector<double>& mad = recording.history.mad;
    ASSERT_EQ(mad.size(), std::size_t(2 * (recording.history.iterations + 1)));
    EXPECT_NEAR(mad[0], whole / 600, 1e-5) << window;  // the zero guess, windows or not
    double last = 0;
    for (std::size_t i = 0; i < mad.size(); i += 2) last = std::isnan(mad[i]) ? last : mad[i];
    EXPECT_LE(last, 1e-4) << window;
  }
}

// What is settled to rounding is left out: less work, the same steps.
TEST(FullLength, LeavesSettledStepsOut) {
  deck::Case c = basic_case("lorenz96");
  c.precision = deck::Precision::float64;
  c.state_dim = 5;
  c.length = 999;
  c.batch = 16;
  const auto instance = systems::make_instance<double>(c, {0, 16});
  const auto sequential = make(instance, solver("sequential"));
  sequential->solve();
  const std::vector<double> truth = host_values(sequential->states());
  for (const char* kind : {"deer", "quasi_deer"})
    for (const char* engine : {"auto", "serial", "chunked:7", "flat"}) {
      deck::SolverConfig config = solver(kind);
      config.scan = engine;
      config.tolerance = 1e-9;
      config.max_iterations = 1000;
      const auto s = make(instance, config);
      const solvers::Outcome settling = s->solve();
      const std::vector<double> states = host_values(s->states());
      EXPECT_LE(largest_difference(states, truth), 1e-3) << kind << " " << engine;  // chaos amplifies what is left
      for (std::size_t b = 0; b < 16; ++b) {
        ASSERT_TRUE(settling.converged[b]) << kind << " " << engine;
        EXPECT_LE(settling.residual[b], config.tolerance);
        // fronts cross the sequence at a steady pace; blocks and lanes are coarse
        EXPECT_LE(settling.work[b], 0.9 * double(settling.iterations[b])) << kind << " " << engine;
      }
      config.stop = deck::Stop::iterations;  // takes all steps into account, always
      config.max_iterations = 3;
      EXPECT_EQ(make(instance, config)->solve().work[0], 3) << kind << " " << engine;
    }
}

/// The error that a history records, of states of the trained AR-GRU.
double ar_gru_error(const std::vector<double>& states, const std::vector<double>& truth,
                    const systems::ErrorMeasure& measure) {
  double error = 0;
  for (std::size_t i = 0; i < truth.size(); ++i)
    if (const long component = static_cast<long>(i) % 4;
        component >= measure.first && component < measure.first + measure.count)
      error += std::abs(states[i] - truth[i]) / measure.divisor;
  return error;
}

systems::Instance<double> trained_ar_gru(long length) {
  deck::Case c = basic_case("ar_gru");
  c.precision = deck::Precision::float64;
  c.weights = reference_file("argru_weights.h5") + ":/";
  c.length = length;
  return systems::make_instance<double>(c, {0, 1});
}

// Undamped Newton fails on the trained AR-GRU over its full length; in a window that notices when it stalls it does not.
TEST(WindowedDeer, SolvesTheTrainedModelWithAFewPassesOfWork) {
  const auto instance = trained_ar_gru(9999);
  const auto sequential = make(instance, solver("sequential"));
  sequential->solve();
  const std::vector<double> truth = host_values(sequential->states());
  double largest = 0;
  for (const char* window : {"64", "128", "auto"}) {
    deck::SolverConfig config = solver("deer");
    config.window = window;
    config.tolerance = 1e-9;
    const auto s = make(instance, config);
    solvers::Recording<double> recording;
    recording.oracle = sequential->states();
    recording.measure = instance.system->error_measure(9999);
    const solvers::Outcome outcome = s->solve(&recording);
    const std::vector<double> states = host_values(s->states());
    EXPECT_TRUE(outcome.converged[0]) << window;
    EXPECT_LE(largest_difference(states, truth), 1e-6) << window;
    // What "auto" tries blows up at places that rounding decides: 8.6 to 13.9 with different compilers' options.
    EXPECT_LE(outcome.work[0], config.window == "auto" ? 18 : 12) << window;
    // The last error that is recorded is that of the answer, whatever states ahead of the front were on the way.
    const double error = ar_gru_error(states, truth, recording.measure);
    const std::vector<double>& mad = recording.history.mad;
    largest = std::max(largest, *std::max_element(mad.begin(), mad.end()));
    EXPECT_NEAR(mad.back(), error, 1e-6 * error) << window;
  }
  EXPECT_GT(largest, 100) << "no state blew up";
}

// An answer that is not ready is the iterate all the same: the guess where no window has been yet, or has given up, not
// what memory holds there; the last error that is recorded is its error, with that of the steps from a window that was
// narrowed to where the wider one had been.
TEST(WindowedDeer, AnswersWithTheGuessWhereNoWindowHasBeen) {
  const auto instance = trained_ar_gru(2999);
  const auto sequential = make(instance, solver("sequential"));
  sequential->solve();
  const std::vector<double> truth = host_values(sequential->states());
  for (long limit = 1; limit < 160; limit += 3) {
    deck::SolverConfig config = solver(limit % 2 == 0 ? "deer" : "quasi_deer");
    config.window = "auto";
    config.max_iterations = limit;
    const auto s = make(instance, config);
    Kokkos::deep_copy(s->states(), 1e6);
    solvers::Recording<double> recording;
    recording.oracle = sequential->states();
    recording.measure = instance.system->error_measure(2999);
    s->solve(&recording);
    const double error = ar_gru_error(host_values(s->states()), truth, recording.measure);
    EXPECT_NEAR(recording.history.mad.back(), error, 1e-9 * error) << limit;
  }
}

}  // namespace
