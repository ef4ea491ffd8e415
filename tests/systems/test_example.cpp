// The worked example of docs/add-a-system.md: registered, consistent, and solved by the solvers.
#include <gtest/gtest.h>

#include "../deck/deck_files.hpp"
#include "../solvers/reference.hpp"
#include "deck/deck.hpp"
#include "probe.hpp"
#include "systems/registration.hpp"

namespace elkhorn::systems {
Registration register_fitzhugh_nagumo();
}

namespace {

using namespace elkhorn;
using namespace elkhorn::test;

class Example : public testing::Test {
 protected:
  static void SetUpTestSuite() { systems::add_system(systems::register_fitzhugh_nagumo()); }
};

TEST_F(Example, StepsAndJacobiansAgree) {
  for (const long dim : {6, 8, 14}) {
    deck::Case c = basic_case("fitzhugh_nagumo");
    c.state_dim = dim;
    c.length = 1;
    c.batch = 11;
    const Consistency found = consistency(systems::make_instance<double>(c, {0, 11}));
    EXPECT_LE(found.rollout, 1e-14) << dim;
    EXPECT_LE(found.differences, 1e-8) << dim;
    EXPECT_EQ(found.diagonal, 0) << dim;
  }
}

TEST_F(Example, SolversFindTheSequentialStatesOfADeck) {
  const deck::DeckFiles files;
  const deck::Plan plan = deck::load_plan({files.write("deck.toml", R"([system]
kind = "fitzhugh_nagumo"
coupling = 0.2
[problem]
length = 400
batch = 3
[[solver]]
kind = ["deer", "quasi_deer"]
tolerance = 1e-9
max_iterations = 400
[measure]
precision = "float64"
)")},
                                          {});
  ASSERT_EQ(plan.cases.size(), 2u);
  for (const deck::Case& c : plan.cases) {
    const auto instance = systems::make_instance<double>(c, {0, c.batch});
    const auto sequential = make(instance, solver("sequential")), parallel = make(instance, c.solver);
    sequential->solve();
    const solvers::Outcome outcome = parallel->solve();
    for (const char converged : outcome.converged) EXPECT_TRUE(converged) << c.name;
    EXPECT_LE(largest_difference(host_values(parallel->states()), host_values(sequential->states())), 1e-6) << c.name;
  }
}

}  // namespace
