// The trained AR-GRU against the stored traces of the published JAX implementation.
#include <gtest/gtest.h>

#include <cmath>

#include "reference.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::test;

constexpr long T = 9999;

template <class Real>
systems::Instance<Real> instance_of(const std::string& group) {
  deck::Case c = basic_case("ar_gru");
  c.precision = precision_of<Real>();
  c.weights = reference_file("argru_weights.h5") + ":/";
  c.drivers = reference_file("argru_f64.h5") + ":/" + group + "/noise";
  c.length = T;
  return systems::make_instance<Real>(c, {0, 1});
}

template <class Real>
record::History watch(const systems::Instance<Real>& instance, const deck::SolverConfig& config) {
  const auto sequential = make(instance, solver("sequential"));
  sequential->solve();
  solvers::Recording<Real> recording;
  recording.oracle = sequential->states();
  recording.measure = instance.system->error_measure(T);
  make(instance, config)->solve(&recording);
  return recording.history;
}

TEST(ReferenceArGru, SequentialStatesOverAllSteps) {
  for (const std::string& group : groups("argru_f64.h5")) {
    const auto instance = instance_of<double>(group);
    const auto s = make(instance, solver("sequential"));
    s->solve();
    const std::vector<double> truth = stored("argru_f64.h5", "/" + group + "/states").values;
    EXPECT_LE(largest_difference(host_values(s->states()), truth), 1e-11) << group;
  }
}

TEST(ReferenceArGru, ElkConvergesAsStoredOnEveryEngine) {
  for (const std::string& group : groups("argru_f64.h5")) {
    const auto instance = instance_of<double>(group);
    const std::vector<double> expected = stored("argru_f64.h5", "/" + group + "/elk/mad").values;
    for (const char* engine : {"serial", "flat", "chunked"}) {
      deck::SolverConfig config = solver("elk", 1e6);
      config.scan = engine;
      config.max_iterations = 300;
      config.stop = deck::Stop::iterations;
      const record::History history = watch(instance, config);
      ASSERT_EQ(history.mad.size(), expected.size());
      for (const double threshold : {1e-1, 1e-2, 1e-3})
        EXPECT_LE(std::abs(first_below(history.mad, threshold) - first_below(expected, threshold)), 2)
            << group << " " << engine << " " << threshold;
      // the history itself, until rounding has had time to tell the two apart
      for (std::size_t i = 0; i < 20; ++i)
        EXPECT_NEAR(history.mad[i], expected[i], 1e-6 * (1 + expected[i])) << group << " " << engine << " " << i;
      EXPECT_LT(history.mad.back(), 1e-8);
    }
  }
}

TEST(ReferenceArGru, ElkInFloat32ReachesALowFloor) {
  for (const std::string& group : groups("argru_f64.h5"))
    for (const char* engine : {"serial", "flat", "chunked"}) {
      deck::SolverConfig config = solver("elk", 1e6);
      config.scan = engine;
      config.max_iterations = 300;
      config.stop = deck::Stop::iterations;
      const record::History history = watch(instance_of<float>(group), config);
      // the published scan stalls at 4e-4 to 8e-4
      EXPECT_LE(history.mad.back(), 5e-5) << group << " " << engine;
    }
}

TEST(ReferenceArGru, QuasiElkConvergesAsStored) {
  const std::string group = groups("argru_f64.h5").front();
  const auto instance = instance_of<double>(group);
  const std::vector<double> expected = stored("argru_f64.h5", "/" + group + "/quasi_elk/mad").values;
  for (const char* engine : {"serial", "chunked"}) {
    deck::SolverConfig config = solver("quasi_elk", 100);
    config.scan = engine;
    config.max_iterations = 1800;
    config.stop = deck::Stop::iterations;
    const record::History history = watch(instance, config);
    for (const double threshold : {1e-1, 1e-2, 1e-3})
      EXPECT_LE(std::abs(first_below(history.mad, threshold) - first_below(expected, threshold)), 10) << engine;
  }
}

TEST(ReferenceArGru, UndampedSolversStayFinite) {
  const auto instance = instance_of<float>(groups("argru_f64.h5").front());
  for (const char* kind : {"deer", "quasi_deer"}) {
    deck::SolverConfig config = solver(kind);
    config.max_iterations = 60;
    const auto s = make(instance, config);
    const solvers::Outcome outcome = s->solve();
    EXPECT_FALSE(outcome.converged[0]) << kind;
    EXPECT_TRUE(std::isfinite(largest(host_values(s->states())))) << kind;
  }
}

}  // namespace
