/// Expansion, names, overrides, groups, quick tables and the resolved deck.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "deck/deck.hpp"
#include "deck/names.hpp"
#include "deck/text.hpp"
#include "deck_files.hpp"

namespace elkhorn::deck {
namespace {

std::vector<std::string> names_of(const Plan& plan) {
  std::vector<std::string> names;
  for (const Case& one : plan.cases) names.push_back(one.name);
  return names;
}

Plan plan_of(const std::string& text, const Overrides& overrides = {}) {
  return plan_from_text(text, "deck.toml", overrides);
}

Overrides setting(std::vector<std::string> set) {
  Overrides overrides;
  overrides.set = std::move(set);
  return overrides;
}

/// The resolved deck gives the same cases under the same names, and resolves to itself.
void expect_round_trip(const Plan& plan) {
  const Plan again = plan_from_text(plan.resolved_text, "resolved.toml");
  ASSERT_EQ(names_of(again), names_of(plan)) << plan.resolved_text;
  for (size_t i = 0; i < plan.cases.size(); ++i) {
    EXPECT_EQ(identity(again.cases[i]), identity(plan.cases[i]));
    EXPECT_EQ(again.cases[i].system_options, plan.cases[i].system_options);
    EXPECT_EQ(again.cases[i].index, plan.cases[i].index);
  }
  EXPECT_EQ(again.title, plan.title);
  EXPECT_EQ(again.resolved_text, plan.resolved_text);
}

const std::string small = R"(title = "Small"
[system]
kind = "gru"
[problem]
length = 100
[[solver]]
kind = "deer"
)";

TEST(Plan, DefaultsAreTheDocumentedOnes) {
  const Plan plan = plan_of(small);
  ASSERT_EQ(plan.cases.size(), 1u);
  const Case& one = plan.cases[0];
  EXPECT_EQ(one.name, "gru-D8-T100-B1-f32-deer");
  EXPECT_EQ(one.index, 0);
  EXPECT_EQ(one.deck_file, "deck.toml");
  EXPECT_EQ(one.state_dim, 8);
  EXPECT_EQ(one.weights, "random");
  EXPECT_EQ(one.system_options, (std::map<std::string, double>{{"input_dim", 0.0}, {"gain", 1.0}}));
  EXPECT_EQ(one.length, 100);
  EXPECT_EQ(one.batch, 1);
  EXPECT_EQ(one.seed, 1u);
  EXPECT_EQ(one.drivers, "random");
  EXPECT_EQ(one.initial_state, "zero");
  EXPECT_FALSE(one.solver.sigma2.has_value());
  EXPECT_EQ(one.solver.max_iterations, 0);
  EXPECT_EQ(one.solver.tolerance, 1e-4);
  EXPECT_EQ(one.solver.stop, Stop::residual);
  EXPECT_EQ(one.solver.guard, Guard::guess);
  EXPECT_EQ(one.solver.scan, "auto");
  EXPECT_EQ(one.solver.guess, "zero");
  EXPECT_EQ(one.precision, Precision::float32);
  EXPECT_EQ(one.measure.warmup, 2);
  EXPECT_EQ(one.measure.min_repetitions, 5);
  EXPECT_EQ(one.measure.max_repetitions, 100);
  EXPECT_EQ(one.measure.ci_width, 0.05);
  EXPECT_EQ(one.measure.time_limit_s, 30.0);
  EXPECT_TRUE(one.history);
  EXPECT_FALSE(one.states);
  EXPECT_TRUE(plan.notes.empty());
  expect_round_trip(plan);
}

TEST(Plan, EveryKeyReachesItsCase) {
  const DeckFiles files;
  const std::string weights = files.write("data/w.h5", "x"), drivers = files.write("u.h5", "x");
  const std::string file = files.write("deck.toml", R"(
[system]
kind = "linear"
state_dim = 3
weights = "data/w.h5:/group/a"
[problem]
length = 7
batch = 5
seed = 9223372036854775807
drivers = "u.h5:/u"
initial_state = "random"
radius = 1          # a system's own key, here in [problem]
[measure]
precision = "float64"
warmup = 0
repetitions = 3
ci_width = 1
time_limit_s = 0.5
[parallel]
time_ranks = 2
[output]
history = false
states = true
[[solver]]
kind = "quasi_elk"
sigma2 = 100
max_iterations = 12
tolerance = 0
stop = "update"
window = "full"
step_bound = "none"
scan = "chunked:16"
guess = "u.h5:/s"
guard = "none"
)");
  const Plan plan = load_plan({file});
  ASSERT_EQ(plan.cases.size(), 1u);
  const Case& one = plan.cases[0];
  EXPECT_EQ(one.system, "linear");
  EXPECT_EQ(one.state_dim, 3);
  EXPECT_EQ(one.weights, weights + ":/group/a");
  EXPECT_EQ(one.length, 7);
  EXPECT_EQ(one.batch, 5);
  EXPECT_EQ(one.seed, 9223372036854775807u);
  EXPECT_EQ(one.drivers, drivers + ":/u");
  EXPECT_EQ(one.initial_state, "random");
  EXPECT_EQ(one.system_options.at("radius"), 1.0);
  EXPECT_EQ(one.precision, Precision::float64);
  EXPECT_EQ(one.measure.warmup, 0);
  EXPECT_EQ(one.measure.min_repetitions, 3);
  EXPECT_EQ(one.measure.max_repetitions, 3);
  EXPECT_EQ(one.measure.ci_width, 1.0);
  EXPECT_EQ(one.measure.time_limit_s, 0.5);
  EXPECT_EQ(one.time_ranks, 2);
  EXPECT_FALSE(one.history);
  EXPECT_TRUE(one.states);
  EXPECT_EQ(one.solver.kind, "quasi_elk");
  EXPECT_EQ(one.solver.sigma2, 100.0);
  EXPECT_EQ(one.solver.max_iterations, 12);
  EXPECT_EQ(one.solver.tolerance, 0.0);
  EXPECT_EQ(one.solver.stop, Stop::update);
  EXPECT_EQ(one.solver.scan, "chunked:16");
  EXPECT_EQ(one.solver.guess, drivers + ":/s");
  EXPECT_EQ(one.solver.guard, Guard::none);

  const auto expect_origin = [&](const std::string& key, const std::string& written, int line) {
    const Origin origin = one.origin(key);
    EXPECT_EQ(origin.file, file) << key;
    EXPECT_EQ(origin.key, written);
    EXPECT_EQ(origin.line, line) << key;
  };
  expect_origin("system.kind", "system.kind", 3);
  expect_origin("system.weights", "system.weights", 5);
  expect_origin("problem.drivers", "problem.drivers", 10);
  expect_origin("system.radius", "problem.radius", 12);
  expect_origin("measure.repetitions.max", "measure.repetitions", 16);
  expect_origin("parallel.time_ranks", "parallel.time_ranks", 20);
  expect_origin("output.states", "output.states", 23);
  expect_origin("solver.kind", "solver.kind", 25);
  expect_origin("solver.guess", "solver.guess", 33);
  expect_round_trip(plan);
}

TEST(Plan, ExpandsInTheDocumentedOrderWithSequentialFirst) {
  const Plan plan = plan_of(R"(
[measure]
precision = ["float32", "float64"]
[problem]
seed = [2, 1]
length = [10, 20]
[system]
kind = "linear"
state_dim = [4, 2]
[[solver]]
kind = ["elk", "quasi_elk"]
sigma2 = [1e6, 0.5]
[[solver]]
kind = "sequential"
)");
  std::vector<std::string> expected;
  for (const char* dim : {"D4", "D2"})
    for (const char* length : {"T10", "T20"})
      for (const char* seed : {"seed2", "seed1"})
        for (const char* precision : {"f32", "f64"})
          for (const char* solver : {"sequential", "elk-s2=1e6", "elk-s2=0.5", "quasi_elk-s2=1e6", "quasi_elk-s2=0.5"})
            expected.push_back(std::string("linear-") + dim + "-" + length + "-B1-" + seed + "-" + precision + "-" +
                               solver);
  EXPECT_EQ(names_of(plan), expected);
  for (size_t i = 0; i < plan.cases.size(); ++i) EXPECT_EQ(plan.cases[i].index, static_cast<long>(i));
  expect_round_trip(plan);
}

TEST(Plan, EveryKeyMayBeAList) {
  const Plan plan = plan_of(R"(
[system]
kind = ["gru", "linear"]
[problem]
length = 10
initial_state = ["zero", "random"]
[measure]
warmup = [0, 1]
repetitions = { min = [1, 2], max = 10 }
[output]
history = [true, false]
[[solver]]
kind = "deer"
max_iterations = [5, "auto"]
stop = ["residual", "iterations"]
scan = ["auto", "serial", "chunked", "chunked:4"]
guard = ["guess", "zero"]
)");
  EXPECT_EQ(plan.cases.size(), 2u * 2 * 2 * 2 * 2 * 2 * 2 * 4 * 2);
  const std::vector<std::string> names = names_of(plan);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  for (const std::string& name : names)
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=+-"),
              std::string::npos);
  EXPECT_EQ(names.front(),
            "gru-D8-T10-B1-initial_state=zero-f32-warmup=0-min=1-history-deer-it=5-stop=residual-auto-guard=guess");
  expect_round_trip(plan);
}

TEST(Names, SayWhatDiffersFromTheUsualAndWhatTellsCasesApart) {
  const auto name = [](std::vector<std::string> set) {
    return plan_of(small, setting(std::move(set))).cases.back().name;
  };
  EXPECT_EQ(name({"solver.max_iterations=7", "solver.tolerance=1e-6", "measure.warmup=0"}), "gru-D8-T100-B1-f32-deer");
  EXPECT_EQ(name({"problem.seed=3"}), "gru-D8-T100-B1-seed3-f32-deer");
  EXPECT_EQ(name({"solver.scan=chunked:8", "solver.stop=update"}), "gru-D8-T100-B1-f32-deer-stop=update-chunked8");
  EXPECT_EQ(name({"system.gain=1.5"}), "gru-D8-gain=1.5-T100-B1-f32-deer");
  EXPECT_EQ(name({"solver.tolerance=[1e-4, 1e-6]"}), "gru-D8-T100-B1-f32-deer-tol=1e-6");
}

TEST(Names, FilesOfOneNameInTwoFoldersAreNumbered) {
  const DeckFiles files;
  files.write("a/w.h5", "x");
  files.write("b/w.h5", "x");
  const std::string file = files.write("deck.toml", small);
  const Plan plan = load_plan({file}, setting({"system.weights=[a/w.h5:/g, b/w.h5:/g, random]"}));
  EXPECT_EQ(names_of(plan),
            (std::vector<std::string>{"gru-weights=w_g-T100-B1-f32-deer-n1", "gru-weights=w_g-T100-B1-f32-deer-n2",
                                      "gru-D8-T100-B1-f32-deer"}));
  EXPECT_EQ(plan.cases[0].state_dim, 0);
  expect_round_trip(plan);
}

TEST(Names, DoNotDependOnTheFilter) {
  const std::string deck = small + "tolerance = [1e-4, 1e-6]\n[[solver]]\nkind = \"sequential\"\n";
  Overrides overrides;
  overrides.filter = "tol=1e-6$";
  const Plan plan = plan_of(deck, overrides);
  EXPECT_EQ(names_of(plan), std::vector<std::string>{"gru-D8-T100-B1-f32-deer-tol=1e-6"});
  EXPECT_EQ(plan.cases[0].index, 0);
  expect_round_trip(plan);
}

TEST(Plan, DropsCasesThatAreTheSame) {
  const Plan plan = plan_of(small + "[[solver]]\nkind = [\"deer\", \"sequential\", \"deer\"]\ntolerance = 1e-4\n",
                            setting({"solver.kind=[deer, sequential]"}));
  EXPECT_EQ(names_of(plan), (std::vector<std::string>{"gru-D8-T100-B1-f32-sequential", "gru-D8-T100-B1-f32-deer"}));
  ASSERT_EQ(plan.notes.size(), 1u);
  EXPECT_EQ(plan.notes[0], "2 cases left out: the same as another case of the plan");
  expect_round_trip(plan);
}

TEST(Settings, TakeTomlValuesAndBareWordsAndWinOverTheDeck) {
  const std::string deck = small + "[[solver]]\nkind = \"elk\"\nsigma2 = 5\n[[solver]]\nkind = \"sequential\"\n";
  const Plan plan =
      plan_of(deck, setting({"problem.length=20", "problem.length = [30, 40]", "measure.precision=[float32, float64]",
                             "solver.sigma2=1e3", "solver.stop=update", "solver.guess='initial_state'",
                             "measure.repetitions.min=2", "measure.repetitions={ max = 4 }"}));
  EXPECT_EQ(names_of(plan)[5], "gru-D8-T30-B1-f64-elk-s2=1e3-stop=update-guess=initial_state");
  EXPECT_EQ(plan.cases.size(), 2u * 2 * 3);
  const Case& one = plan.cases[5];
  EXPECT_EQ(one.measure.min_repetitions, 2);
  EXPECT_EQ(one.measure.max_repetitions, 4);
  EXPECT_EQ(one.origin("solver.sigma2").text(), "--set: solver.sigma2");
  EXPECT_EQ(plan.cases[0].solver.kind, "sequential");
  EXPECT_EQ(plan.cases[0].origins.count("solver.sigma2"), 0u);
  EXPECT_TRUE(plan.notes.empty());
  expect_round_trip(plan);
}

TEST(Settings, ThatApplyNowhereAreNoted) {
  const Plan plan = plan_of(small, setting({"solver.sigma2=1e6", "system.radius=0.5"}));
  EXPECT_EQ(names_of(plan), names_of(plan_of(small)));
  ASSERT_EQ(plan.notes.size(), 2u);
  EXPECT_EQ(plan.notes[0].rfind("--set: solver.sigma2: applies to none", 0), 0u);
  EXPECT_EQ(plan.notes[1].rfind("--set: system.radius: applies to none", 0), 0u);
}

const std::string grouped = R"(title = "Groups"
[problem]
length = 10
batch = 2
[measure]
warmup = 0
[[solver]]
kind = "sequential"
[[group]]
[group.system]
kind = "linear"
radius = 0.5
[[group]]
[group.system]
kind = "gru"
state_dim = 16
[group.problem]
length = [100, 200]
[group.quick.problem]
length = 5
[[group.solver]]
kind = "deer"
tolerance = 1e-6
[[group.solver]]
kind = "elk"
sigma2 = 10
[quick.problem]
batch = 1
length = 7
[quick.solver]
max_iterations = 3
sigma2 = 20
)";

TEST(Groups, LayTheirKeysOverTheDecksAndReplaceItsSolvers) {
  const Plan plan = plan_of(grouped);
  EXPECT_EQ(names_of(plan), (std::vector<std::string>{"linear-D4-radius=0.5-T10-B2-f32-sequential",
                                                      "gru-D16-T100-B2-f32-deer", "gru-D16-T100-B2-f32-elk-s2=10",
                                                      "gru-D16-T200-B2-f32-deer", "gru-D16-T200-B2-f32-elk-s2=10"}));
  for (const Case& one : plan.cases) EXPECT_EQ(one.measure.warmup, 0);
  EXPECT_EQ(plan.cases[1].solver.tolerance, 1e-6);
  EXPECT_EQ(plan.cases[1].origin("problem.batch").line, 4);
  EXPECT_EQ(plan.cases[1].origin("problem.length").line, 18);
  expect_round_trip(plan);
}

TEST(Quick, OverridesTheDeckAndTheGroupsAndYieldsToSet) {
  Overrides overrides;
  overrides.quick = true;
  const Plan plan = plan_of(grouped, overrides);
  EXPECT_EQ(names_of(plan), (std::vector<std::string>{"linear-D4-radius=0.5-T7-B1-f32-sequential",
                                                      "gru-D16-T5-B1-f32-deer", "gru-D16-T5-B1-f32-elk-s2=20"}));
  EXPECT_EQ(plan.cases[1].solver.max_iterations, 3);
  EXPECT_EQ(plan.cases[1].origin("problem.length").key, "quick.problem.length");
  expect_round_trip(plan);

  overrides.set = {"problem.length=6"};
  EXPECT_EQ(names_of(plan_of(grouped, overrides))[0], "linear-D4-radius=0.5-T6-B1-f32-sequential");

  overrides.set.clear();
  EXPECT_EQ(plan_of(small, overrides).notes,
            std::vector<std::string>{"deck.toml: has no [quick] table; --quick changes nothing in it"});
}

TEST(Plan, OfSeveralDecksIsOneAfterTheOther) {
  const DeckFiles files;
  const std::string a = files.write("a.toml", small);
  const std::string b = files.write(
      "b.toml", small.substr(small.find('[')) + "[[solver]]\nkind = \"sequential\"\n[measure]\nwarmup = 0\n");
  const Plan plan = load_plan({a, b});
  EXPECT_EQ(plan.title, "Small; b");
  EXPECT_EQ(names_of(plan),
            (std::vector<std::string>{"gru-D8-T100-B1-f32-warmup=2-deer", "gru-D8-T100-B1-f32-sequential",
                                      "gru-D8-T100-B1-f32-warmup=0-deer"}));
  EXPECT_EQ(plan.cases[0].deck_file, a);
  EXPECT_EQ(plan.cases[1].deck_file, b);
  expect_round_trip(plan);
  EXPECT_EQ(load_plan({a, a}).cases.size(), 1u);
}

TEST(Plan, DataFilesAreFoundBesideTheDeckThenInTheCurrentDirectory) {
  const DeckFiles files;
  files.write("decks/both.h5", "x");
  files.write("both.h5", "x");
  files.write("here.h5", "x");
  const std::string deck = files.write("decks/deck.toml", small);
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(files.path("."));
  const Plan plan = load_plan({"decks/deck.toml"}, setting({"system.weights=both.h5:/", "problem.drivers=here.h5:/u"}));
  expect_round_trip(plan);
  std::filesystem::current_path(before);
  EXPECT_EQ(plan.cases[0].weights, "decks/both.h5:/");
  EXPECT_EQ(plan.cases[0].drivers, "here.h5:/u");
}

TEST(Plan, SizesThatFilesFixAreLeftOpen) {
  const DeckFiles files;
  files.write("d.h5", "x");
  const std::string file = files.write("deck.toml", R"([system]
kind = "gru"
weights = "d.h5:/w"
[problem]
drivers = "d.h5:/u"
[[solver]]
kind = "deer"
)");
  const Plan plan = load_plan({file});
  EXPECT_EQ(plan.cases[0].state_dim, 0);
  EXPECT_EQ(plan.cases[0].length, 0);
  EXPECT_EQ(plan.cases[0].name, "gru-B1-f32-deer");
  expect_round_trip(plan);
}

TEST(Plan, TitleWithQuotesAndLineBreaksSurvives) {
  const Plan plan = plan_of("title = \"a \\\"b\\\" \\\\ c\\nd σ²\"\n" + small.substr(small.find('[')));
  EXPECT_EQ(plan.title, "a \"b\" \\ c\nd σ²");
  expect_round_trip(plan);
}

TEST(Text, NumbersAreShortAndReadBack) {
  const std::pair<double, const char*> expected[] = {{1e6, "1e6"},   {1e-4, "1e-4"},     {300, "300"},
                                                     {0.05, "0.05"}, {1.5e-7, "1.5e-7"}, {1000, "1e3"},
                                                     {0, "0"},       {-2, "-2"},         {123456, "123456"}};
  for (const auto& [value, text] : expected) {
    EXPECT_EQ(number_text(value), text);
    EXPECT_EQ(std::stod(number_text(value)), value);
  }
  EXPECT_EQ(std::stod(number_text(0.1 + 0.2)), 0.1 + 0.2);
  EXPECT_EQ(std::stod(number_text(1.0 / 3e9)), 1.0 / 3e9);
}

TEST(ShippedDecks, QuickstartRunsWhatItMust) {
  const std::string inputs = std::string(ELKHORN_TEST_DATA) + "/../inputs/";
  const Plan plan = load_plan({inputs + "quickstart.toml"});
  const std::vector<std::string> names = names_of(plan);
  const std::set<std::string> have(names.begin(), names.end());
  std::vector<std::string> must;
  for (const char* dim : {"8", "32"})
    for (const char* solver : {"sequential", "deer", "quasi_deer", "elk-s2=1e6", "quasi_elk-s2=1e6"})
      must.push_back(std::string("gru-D") + dim + "-T10000-B16-f32-" + solver);
  for (const char* precision : {"f32", "f64"})
    for (const char* solver : {"sequential", "elk-s2=1e6", "deer"})
      must.push_back(std::string("ar_gru-D4-T9999-B1-") + precision + "-" + solver);
  for (const std::string& name : must) EXPECT_EQ(have.count(name), 1u) << name;
  for (const Case& one : plan.cases)
    if (one.system == "ar_gru" && one.solver.kind == "elk") {
      EXPECT_LE(one.solver.max_iterations, 500);
    }
  expect_round_trip(plan);
}

TEST(ShippedDecks, AllLoadWithAndWithoutQuick) {
  const std::string inputs = std::string(ELKHORN_TEST_DATA) + "/../inputs/";
  for (const auto& entry : std::filesystem::directory_iterator(inputs)) {
    if (entry.path().extension() != ".toml") continue;
    for (const bool quick : {false, true}) {
      Overrides overrides;
      overrides.quick = quick;
      expect_round_trip(load_plan({entry.path().string()}, overrides));
    }
  }
}

}  // namespace
}  // namespace elkhorn::deck
