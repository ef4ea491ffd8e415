// Random GRUs against the stored traces of the published JAX implementation.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "reference.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::test;

/// An integer array attribute; empty where there is none.
std::vector<double> stored_counts(const std::string& name, const std::string& group, const std::string& attribute) {
  const record::File file = record::open_input(reference_file(name), Origin{name, group, 0});
  const record::Group open(H5Gopen2(file.id(), group.c_str(), H5P_DEFAULT), "opening " + group);
  if (H5Aexists(open.id(), attribute.c_str()) <= 0) return {};
  const record::Attribute a(H5Aopen(open.id(), attribute.c_str(), H5P_DEFAULT), "opening " + attribute);
  const record::Dataspace space(H5Aget_space(a.id()), "shape of " + attribute);
  std::vector<double> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space.id())));
  record::check_hdf5(H5Aread(a.id(), H5T_NATIVE_DOUBLE, values.data()), "reading " + attribute);
  return values;
}

struct Run {
  const char* stored;
  const char* solver;
  double sigma2;
};
const Run runs[] = {{"deer", "deer", 0},     {"quasi_deer", "quasi_deer", 0},
                    {"elk_1e2", "elk", 100}, {"quasi_elk_1e2", "quasi_elk", 100},
                    {"elk_1", "elk", 1},     {"quasi_elk_1", "quasi_elk", 1}};

template <class Real>
deck::Case case_of(const std::string& file, const std::string& group) {
  deck::Case c = basic_case("gru");
  c.precision = precision_of<Real>();
  c.weights = reference_file(file) + ":/" + group + "/weights";
  c.drivers = reference_file(file) + ":/" + group + "/drivers";
  c.initial_state = reference_file(file) + ":/" + group + "/initial_state";
  return c;
}

template <class Real>
void check_file(const std::string& file, double tolerance, double final_tolerance) {
  int checked = 0;
  for (const std::string& group : groups(file)) {
    const deck::Case c = case_of<Real>(file, group);
    const auto instance = systems::make_instance<Real>(c, {0, 1});
    const std::vector<double> truth = stored(file, "/" + group + "/states").values;
    const double scale = largest(truth);
    const auto sequential = make(instance, solver("sequential"));
    sequential->solve();
    EXPECT_LE(largest_difference(host_values(sequential->states()), truth), final_tolerance * scale) << group;
    for (const Run& run : runs)
      for (const char* engine : {"serial", "flat", "chunked", "chunked:5"}) {
        deck::SolverConfig config = solver(run.solver, run.sigma2);
        config.scan = engine;
        config.stop = deck::Stop::iterations;
        for (long iterations = 1; iterations <= 3; ++iterations) {
          config.max_iterations = iterations;
          const auto s = make(instance, config);
          s->solve();
          const std::string path = "/" + group + "/" + run.stored + "/iterate_" + std::to_string(iterations);
          ASSERT_LE(largest_difference(host_values(s->states()), stored(file, path).values), tolerance * scale)
              << path << " on " << engine;
          ++checked;
        }
        if (run.sigma2 == 0) {  // run to the end
          config.max_iterations = 60;
          const auto s = make(instance, config);
          s->solve();
          ASSERT_LE(largest_difference(host_values(s->states()), truth), final_tolerance * scale)
              << group << " " << run.stored << " on " << engine;
        }
      }
  }
  EXPECT_GT(checked, 100);
}

TEST(ReferenceGru, Float64IteratesOfAllSolversOnAllEngines) { check_file<double>("gru_f64.h5", 1e-10, 1e-12); }
TEST(ReferenceGru, Float32IteratesOfAllSolversOnAllEngines) { check_file<float>("gru_f32.h5", 1e-4, 1e-4); }

/// Iterations of four sequences of fresh inputs, counted as published: stop at max update ≤ 1e-4, float32.
TEST(ReferenceGru, IterationCountsAreThoseOfThePublishedImplementation) {
  const std::string file = "gru_counts_f32.h5";
  int compared = 0;
  for (const std::string& group : groups(file)) {
    for (const long T : {1000L, 10000L, 100000L})
      for (const char* kind : {"deer", "quasi_deer"}) {
        const std::string attribute = std::string(kind) + "_iterations_T" + std::to_string(T);
        const std::vector<double> counts = stored_counts(file, group, attribute);
        const long dim = stored(file, "/" + group + "/weights/weight_hh").shape[1];
        if (counts.empty() || T * dim > 200000) continue;  // the largest are left to the decks
        deck::Case c = basic_case("gru");
        c.weights = reference_file(file) + ":/" + group + "/weights";
        c.length = T;
        c.batch = 4;
        c.seed = 11;
        const auto instance = systems::make_instance<float>(c, {0, 4});
        deck::SolverConfig config = solver(kind);
        config.stop = deck::Stop::update;
        config.tolerance = 1e-4;
        const solvers::Outcome outcome = make(instance, config)->solve();
        // The inputs are other random numbers than the stored ones, so the range of the stored four is what counts.
        const double low = *std::min_element(counts.begin(), counts.end());
        const double high = *std::max_element(counts.begin(), counts.end());
        for (const long n : outcome.iterations) {
          EXPECT_GE(double(n), low - 1) << group << " " << attribute;
          EXPECT_LE(double(n), high + 1) << group << " " << attribute;
        }
        ++compared;
      }
  }
  EXPECT_GE(compared, 20);
}

}  // namespace
