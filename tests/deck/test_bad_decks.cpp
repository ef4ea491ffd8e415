/// Decks that must be refused, each with one line that names file, key and line and says what to do.
#include <gtest/gtest.h>

#include <filesystem>
#include <ostream>

#include "deck/deck.hpp"
#include "deck_files.hpp"

namespace elkhorn::deck {
namespace {

struct BadDeck {
  const char* name;
  const char* text;
  int line;            ///< where the message must point
  const char* key;     ///< what it must name right after the line; "" where a deck has no key to name
  const char* phrase;  ///< part of the sentence
};

void PrintTo(const BadDeck& bad, std::ostream* out) { *out << bad.name; }

// clang-format off
const BadDeck bad_decks[] = {
  // the document
  {"empty", "", 1, "", "the deck is empty"},
  {"only_a_comment", "# nothing\n", 1, "", "the deck is empty"},
  {"syntax_no_value", "[system]\nkind =\n", 2, "", "not valid TOML"},
  {"syntax_bracket", "[system\nkind = \"gru\"\n", 1, "", "not valid TOML"},
  {"syntax_three_brackets", "[system]\nkind = \"gru\"\n[[[solver]]]\n", 3, "", "not valid TOML: a table is [name] or [[name]]"},
  {"syntax_header_no_name", "[ = ]\n", 1, "", "not valid TOML: a table is [name] or [[name]]"},
  {"syntax_header_open", "[[\nkind = \"gru\"\n", 1, "", "not valid TOML: a table is [name] or [[name]]"},
  {"syntax_header_not_ascii", "[system]\nkind = \"gru\"\n  [\xc2\xb5]\n", 3, "", "not valid TOML: a table is [name] or [[name]]"},
  {"syntax_duplicate_key", "[system]\nkind = \"gru\"\nkind = \"linear\"\n", 3, "", "cannot redefine existing string 'kind'"},
  {"syntax_bare_word", "[system]\nkind = gru\n", 2, "", "; text needs quotes: kind = \"gru\""},
  {"syntax_bare_word_and_comment", "[system]\r\nkind = gru # no quotes\r\n", 2, "", "; text needs quotes: kind = \"gru\""},
  {"syntax_bare_word_at_the_end", "[measure]\nprecision = f", 2, "", "; text needs quotes: precision = \"f\""},
  {"syntax_bare_word_in_a_list", "[measure]\nprecision = [float32, float64]\n", 2, "", "; text needs quotes: precision = \"float32\""},
  {"not_text", "[system]\nkind = \"\xff\xfe\"\n", 2, "", "not valid TOML"},
  {"title_is_a_number", "title = 3\n[system]\nkind = \"gru\"\n", 1, "title", "must be a string, not 3"},
  // sections and keys
  {"unknown_section", "[sytem]\nkind = \"gru\"\n", 1, "sytem", "unknown section (did you mean \"system\"?)"},
  {"unknown_top_key", "title = \"x\"\nlength = 10\n", 2, "length", "it belongs in [problem]"},
  {"unknown_key", "[system]\nkind = \"gru\"\n[problem]\nlenght = 10\n", 4, "problem.lenght", "unknown key (did you mean \"length\"?)"},
  {"key_of_another_section", "[problem]\nlength = 10\ntolerance = 1e-4\n", 3, "problem.tolerance", "it belongs in [[solver]]"},
  {"unknown_solver_key", "[[solver]]\nkind = \"deer\"\nmaxiter = 10\n", 3, "solver.maxiter", "unknown key"},
  {"unknown_repetitions_key", "[measure]\nrepetitions = { minimum = 3 }\n", 2, "measure.repetitions.minimum", "unknown key"},
  {"unknown_output_key", "[output]\nhistroy = true\n", 2, "output.histroy", "did you mean \"history\"?"},
  {"key_with_a_line_break", "[problem]\n\"a\\nb\" = 10\n", 2, "problem.a b", "unknown key"},
  {"section_is_a_value", "system = \"gru\"\n", 1, "system", "must be a table"},
  {"solver_with_one_bracket", "[system]\nkind = \"gru\"\n[solver]\nkind = \"deer\"\n", 3, "solver", "two brackets"},
  {"solver_list_empty", "solver = []\n[system]\nkind = \"gru\"\n", 1, "solver", "an empty list"},
  {"group_with_one_bracket", "[group]\n[group.system]\nkind = \"gru\"\n", 1, "group", "two brackets"},
  {"unknown_section_in_group", "[[group]]\n[group.sistem]\nkind = \"gru\"\n", 2, "sistem", "did you mean \"system\"?"},
  // what must be there
  {"no_system", "title = \"x\"\n[problem]\nlength = 10\n[[solver]]\nkind = \"deer\"\n", 1, "system", "there is no [system]"},
  {"no_system_kind", "[problem]\nlength = 10\n[system]\nstate_dim = 4\n[[solver]]\nkind = \"deer\"\n", 3, "system.kind", "is missing"},
  {"no_solver", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n", 1, "solver", "there is no [[solver]]"},
  {"no_solver_kind", "[system]\nkind = \"gru\"\n[[solver]]\ntolerance = 1e-4\n", 3, "solver.kind", "is missing"},
  {"no_length", "[system]\nkind = \"gru\"\n[problem]\nbatch = 2\n[[solver]]\nkind = \"deer\"\n", 3, "problem.length", "is missing"},
  {"no_sigma2", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[[solver]]\nkind = \"deer\"\n[[solver]]\nkind = \"elk\"\n", 7, "solver.sigma2", "write for example sigma2 = 1e6"},
  {"group_without_system", "[[solver]]\nkind = \"deer\"\n[problem]\nlength = 10\n[[group]]\n[group.system]\nkind = \"gru\"\n[[group]]\n", 8, "system", "there is no [system]"},
  // names
  {"unknown_system", "[system]\nkind = \"gro\"\n", 2, "system.kind", "there is no system \"gro\" (did you mean \"gru\"?)"},
  {"unknown_solver", "[[solver]]\nkind = \"quasi-dear\"\n", 2, "solver.kind", "did you mean \"quasi_deer\"?"},
  {"unknown_solver_in_a_list", "[[solver]]\nkind = [\n  \"deer\",\n  \"newton\",\n]\n", 4, "solver.kind", "there is no solver \"newton\""},
  {"unknown_stop", "[[solver]]\nkind = \"deer\"\nstop = \"residuum\"\n", 3, "solver.stop", "must be \"residual\", \"update\" or \"iterations\""},
  {"unknown_guard", "[[solver]]\nkind = \"deer\"\nguard = \"nan\"\n", 3, "solver.guard", "must be \"guess\", \"zero\" or \"none\""},
  {"unknown_scan", "[[solver]]\nkind = \"deer\"\nscan = \"flatt\"\n", 3, "solver.scan", "did you mean \"flat\"?"},
  {"no_chunks", "[[solver]]\nkind = \"deer\"\nscan = \"chunked:0\"\n", 3, "solver.scan", "at least 1"},
  {"chunks_no_number", "[[solver]]\nkind = \"deer\"\nscan = \"chunked:many\"\n", 3, "solver.scan", "chunked:N"},
  {"unknown_precision", "[measure]\nprecision = [\"float32\", \"double\"]\n", 2, "measure.precision", "must be \"float32\" or \"float64\", not \"double\""},
  // types
  {"length_is_text", "[problem]\nlength = \"10\"\n", 2, "problem.length", "must be a whole number of at least 1, not \"10\""},
  {"length_is_a_float", "[problem]\nlength = 1e4\n", 2, "problem.length", "not the float 1e4; write 10000"},
  {"batch_is_a_whole_float", "[problem]\nbatch = 2.0\n", 2, "problem.batch", "must be a whole number of at least 1, not the float 2.0; write 2"},
  {"batch_is_half_a_float", "[problem]\nbatch = 2.5\n", 2, "problem.batch", "must be a whole number of at least 1, not 2.5"},
  {"length_is_a_table", "[problem]\nlength = { min = 1 }\n", 2, "problem.length", "not a table"},
  {"list_in_a_list", "[problem]\nlength = [[1, 2], [3]]\n", 2, "problem.length", "not another list"},
  {"kind_is_a_number", "[system]\nkind = 5\n", 2, "system.kind", "not 5"},
  {"tolerance_is_text", "[[solver]]\nkind = \"deer\"\ntolerance = \"small\"\n", 3, "solver.tolerance", "must be a finite number"},
  {"history_is_text", "[output]\nhistory = \"yes\"\n", 2, "output.history", "must be true or false"},
  {"weights_is_a_number", "[system]\nweights = 1\n", 2, "system.weights", "\"random\""},
  {"repetitions_is_a_list", "[measure]\nrepetitions = [1, 5]\n", 2, "measure.repetitions", "{ min = 5, max = 100 }"},
  {"length_is_a_date", "[problem]\nlength = 2024-01-01\n", 2, "problem.length", "not a date"},
  // ranges
  {"length_zero", "[problem]\nlength = 0\n", 2, "problem.length", "at least 1, not 0"},
  {"length_negative_in_a_list", "[problem]\nlength = [\n10,\n-5]\n", 4, "problem.length", "at least 1, not -5"},
  {"length_huge", "[problem]\nlength = 9000000000000000000\n", 2, "problem.length", "at most"},
  {"product_huge", "[system]\nkind = \"gru\"\n[problem]\nbatch = 1000000000\nlength = 1000000000\n[[solver]]\nkind = \"deer\"\n", 5, "problem.length", "beyond any machine"},
  {"batch_zero", "[problem]\nbatch = 0\n", 2, "problem.batch", "at least 1, not 0"},
  {"seed_negative", "[problem]\nseed = -1\n", 2, "problem.seed", "at least 0, not -1"},
  {"state_dim_zero", "[system]\nstate_dim = 0\n", 2, "system.state_dim", "at least 1, not 0"},
  {"empty_list", "[problem]\nlength = []\n", 2, "problem.length", "the list is empty"},
  {"tolerance_negative", "[[solver]]\nkind = \"deer\"\ntolerance = -1e-4\n", 3, "solver.tolerance", "at least 0, not -1e-4"},
  {"tolerance_nan", "[[solver]]\nkind = \"deer\"\ntolerance = nan\n", 3, "solver.tolerance", "must be a finite number"},
  {"tolerance_inf", "[[solver]]\nkind = \"deer\"\ntolerance = inf\n", 3, "solver.tolerance", "must be a finite number"},
  {"sigma2_zero", "[[solver]]\nkind = \"elk\"\nsigma2 = 0\n", 3, "solver.sigma2", "greater than 0"},
  {"sigma2_negative", "[[solver]]\nkind = \"elk\"\nsigma2 = [1e4, -1.0]\n", 3, "solver.sigma2", "or \"adaptive\", not -1"},
  {"sigma2_word", "[[solver]]\nkind = \"elk\"\nsigma2 = \"automatic\"\n", 3, "solver.sigma2", "or \"adaptive\""},
  {"max_iterations_zero", "[[solver]]\nkind = \"deer\"\nmax_iterations = 0\n", 3, "solver.max_iterations", "at least 1"},
  {"window_zero", "[[solver]]\nkind = \"deer\"\nwindow = 0\n", 3, "solver.window", "\"full\" or \"auto\", not 0"},
  {"step_bound_negative", "[[solver]]\nkind = \"deer\"\nstep_bound = -2\n", 3, "solver.step_bound", "greater than 0"},
  {"step_bound_table", "[[solver]]\nkind = \"deer\"\nstep_bound = { relative = 3 }\n", 3, "solver.step_bound", "absolute"},
  {"ci_width_zero", "[measure]\nci_width = 0.0\n", 2, "measure.ci_width", "greater than 0"},
  {"time_limit_zero", "[measure]\ntime_limit_s = 0\n", 2, "measure.time_limit_s", "greater than 0"},
  {"warmup_negative", "[measure]\nwarmup = -1\n", 2, "measure.warmup", "at least 0"},
  {"repetitions_min_zero", "[measure]\nrepetitions = { min = 0, max = 5 }\n", 2, "measure.repetitions.min", "at least 1"},
  {"repetitions_min_above_max", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[[solver]]\nkind = \"deer\"\n[measure]\nrepetitions = { min = 9, max = 5 }\n", 8, "measure.repetitions.min", "min = 9 is greater than max = 5"},
  {"time_ranks_zero", "[parallel]\ntime_ranks = 0\n", 2, "parallel.time_ranks", "at least 1"},
  {"too_many_cases", "[system]\nkind = \"gru\"\nstate_dim = [1,2,3,4,5,6,7,8,9,10]\n[problem]\nlength = [1,2,3,4,5,6,7,8,9,10]\nbatch = [1,2,3,4,5,6,7,8,9,10]\nseed = [1,2,3,4,5,6,7,8,9,10,11]\n[measure]\nwarmup = [1,2,3,4,5,6,7,8,9,10]\n[[solver]]\nkind = \"deer\"\ntolerance = [1,2]\n", 9, "measure.warmup", "more than 100000 cases"},
  {"too_many_cases_with_solvers", "[system]\nkind = \"gru\"\nstate_dim = [1,2,3,4,5,6,7,8,9,10]\n[problem]\nlength = [1,2,3,4,5,6,7,8,9,10]\nbatch = [1,2,3,4,5,6,7,8,9,10]\nseed = [1,2,3,4,5,6,7,8,9,10]\n[[solver]]\nkind = \"deer\"\ntolerance = [1,2,3,4,5,6,7,8,9,10,11]\n", 2, "system.kind", "more than 100000 cases"},
  // what does not go together
  {"fixed_state_dim", "[system]\nkind = \"ar_gru\"\nstate_dim = 8\n[problem]\nlength = 10\n[[solver]]\nkind = \"deer\"\n", 3, "system.state_dim", "always has 4 states, not 8"},
  {"option_of_another_system", "[system]\nkind = \"gru\"\nradius = 0.5\n[problem]\nlength = 10\n[[solver]]\nkind = \"deer\"\n", 3, "system.radius", "is not an option of \"gru\""},
  {"option_set_twice", "[system]\nkind = \"linear\"\nradius = 0.5\n[problem]\nlength = 10\nradius = 0.6\n[[solver]]\nkind = \"deer\"\n", 6, "problem.radius", "set twice, also as system.radius in line 3"},
  {"option_out_of_range", "[system]\nkind = \"linear\"\nradius = -0.5\n[problem]\nlength = 10\n[[solver]]\nkind = \"deer\"\n", 3, "system.radius", "must be a finite number of at least 0"},
  {"option_not_whole", "[system]\nkind = \"gru\"\ninput_dim = 2.5\n[problem]\nlength = 10\n[[solver]]\nkind = \"deer\"\n", 3, "system.input_dim", "must be a whole number, not the float 2.5"},
  {"sigma2_for_deer", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[[solver]]\nkind = \"deer\"\nsigma2 = 1e6\n", 7, "solver.sigma2", "does not apply to \"deer\""},
  {"iterations_for_sequential", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[[solver]]\nkind = \"sequential\"\nmax_iterations = 5\n", 7, "solver.max_iterations", "does not apply to \"sequential\""},
  {"damping_for_deer", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[[solver]]\nkind = \"deer\"\ndamping = \"smoother\"\n", 7, "solver.damping", "\"deer\", which has no trust region"},
  {"clipping_for_picard", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[[solver]]\nkind = \"picard\"\nclip_jacobians = true\n", 7, "solver.clip_jacobians", "\"picard\", which uses no Jacobians"},
  {"sigma2_for_one_of_two", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[[solver]]\nkind = [\"elk\", \"deer\"]\nsigma2 = 1e6\n", 7, "solver.sigma2", "does not apply to \"deer\""},
  // files
  {"missing_weights", "[system]\nkind = \"gru\"\nweights = \"none.h5:/w\"\n", 3, "system.weights", "the file \"none.h5\" does not exist"},
  {"missing_drivers", "[problem]\nlength = 10\ndrivers = \"none.h5:/u\"\n", 3, "problem.drivers", "does not exist"},
  {"missing_initial_state", "[problem]\ninitial_state = \"none.h5:/s\"\n", 2, "problem.initial_state", "does not exist"},
  {"missing_guess", "[[solver]]\nkind = \"deer\"\nguess = \"/nowhere/none.h5:/s\"\n", 3, "solver.guess", "does not exist"},
  {"weights_without_dataset", "[system]\nweights = \"weights.h5\"\n", 2, "system.weights", "a file, a colon and a path in it"},
  {"weights_mistyped_word", "[system]\nweights = \"randm\"\n", 2, "system.weights", "did you mean \"random\"?"},
  {"weights_is_a_directory", "[system]\nweights = \"/tmp:/w\"\n", 2, "system.weights", "is a directory"},
  // the quick table is checked even where it is not asked for
  {"quick_unknown_section", "[quick.probelm]\nlength = 5\n", 1, "quick.probelm", "did you mean \"problem\"?"},
  {"quick_bad_value", "[quick.problem]\nlength = 0\n", 2, "quick.problem.length", "at least 1"},
  {"quick_solver_list", "[[quick.solver]]\ntolerance = 1\n", 1, "quick.solver", "single brackets"},
  {"quick_is_a_value", "quick = true\n", 1, "quick", "[quick.problem]"},
  {"filter_not_a_regex", "filter = \"(\"\n[system]\nkind = \"gru\"\n", 1, "filter", "not a valid regular expression"},
  {"window_with_update", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[[solver]]\nkind = \"deer\"\nwindow = 5\nstop = \"update\"\n", 7, "solver.window", "needs stop = \"residual\""},
  {"step_bound_with_smoother", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[[solver]]\nkind = \"elk\"\nsigma2 = 1.0\nstep_bound = { absolute = 3.0 }\ndamping = \"smoother\"\n", 8, "solver.step_bound", "the smoother"},
  {"adaptive_with_smoother", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[[solver]]\nkind = \"elk\"\nsigma2 = \"adaptive\"\ndamping = \"smoother\"\n", 7, "solver.sigma2", "the smoother"},
  {"adaptive_with_bound", "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[[solver]]\nkind = \"elk\"\nsigma2 = \"adaptive\"\nstep_bound = 1.0\n", 8, "solver.step_bound", "chooses its own"},
};
// clang-format on

std::string message_of(const std::string& file, const Overrides& overrides = {}) {
  try {
    load_plan({file}, overrides);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

class BadDecks : public testing::TestWithParam<BadDeck> {};

TEST_P(BadDecks, IsRefusedInOneLineThatNamesFileLineAndKey) {
  const BadDeck& bad = GetParam();
  const DeckFiles files;
  const std::string file = files.write("bad.toml", bad.text);
  const std::string message = message_of(file);
  const std::string start =
      file + ":" + std::to_string(bad.line) + ": " + (*bad.key ? bad.key + std::string(": ") : "");
  EXPECT_EQ(message.substr(0, start.size()), start) << message;
  EXPECT_NE(message.find(bad.phrase), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(All, BadDecks, testing::ValuesIn(bad_decks),
                         [](const auto& instance) { return std::string(instance.param.name); });

const char* const good_deck = R"([system]
kind = "gru"
[problem]
length = 10
[[solver]]
kind = "elk"
sigma2 = 1e6
[parallel]
time_ranks = [1, 2, 3]
)";

TEST(BadDeckFiles, AreNamed) {
  const DeckFiles files;
  EXPECT_EQ(message_of(files.path("none.toml")), files.path("none.toml") + ": the deck does not exist; check its path");
  files.write("folder/deck.toml", good_deck);
  EXPECT_NE(message_of(files.path("folder")).find("is a directory, not a deck"), std::string::npos);
  EXPECT_THROW(load_plan({}), InputError);
  EXPECT_EQ(message_of(files.path("folder/deck.toml")), "");
}

TEST(BadDeckFiles, SecondDeckIsTheOneNamed) {
  const DeckFiles files;
  const std::string good = files.write("good.toml", good_deck), bad = files.write("bad.toml", "\n[system]\nkind = 1\n");
  try {
    load_plan({good, bad});
    FAIL() << "the second deck was accepted";
  } catch (const InputError& error) {
    EXPECT_EQ(std::string(error.what()).rfind(bad + ":3: system.kind: ", 0), 0u) << error.what();
  }
}

struct BadSetting {
  const char* setting;
  const char* start;   ///< what the message begins with: where it points
  const char* phrase;  ///< part of the sentence
};

TEST(BadSettings, NameTheOptionAndTheKey) {
  const BadSetting bad_settings[] = {
      {"solver.tolerance=-1", "--set: solver.tolerance: ", "at least 0, not -1"},
      {"solver.tolerance=small", "--set: solver.tolerance: ", "not \"small\""},
      {"solver.tolerence=1", "--set: solver.tolerence: ", "did you mean \"tolerance\"?"},
      {"problem.length=0", "--set: problem.length: ", "at least 1, not 0"},
      {"problem.length=[]", "--set: problem.length: ", "the list is empty"},
      {"problem.length=[1, 2", "--set: problem.length: ", "is not a TOML value"},
      {"problem.length=", "--set: problem.length: ", "is not a TOML value"},
      {"solver.stop=\"update", "--set: solver.stop: ", "is not a TOML value"},
      {"problem.length=1\nbatch=2", "--set: problem.length: ", "not \"1 batch=2\""},
      {"solvers.tolerance=1", "--set: solvers.tolerance: ", "did you mean \"solver\"?"},
      {"quick.length=1", "--set: quick.length: ", "unknown section"},
      {"tolerance=1", "--set: ", "not of the form section.key=value"},
      {"solver.tolerance", "--set: ", "not of the form section.key=value"},
      {"solver.=1", "--set: ", "not of the form section.key=value"},
      {"system.weights=none.h5:/w", "--set: system.weights: ", "does not exist"},
      {"measure.repetitions.min=1000", "--set: measure.repetitions.min: ", "greater than max = 100"},
      {"solver.sigma2=adaptiv", "--set: solver.sigma2: ", "or \"adaptive\""},
      {"system.kind=ar_gru", "", ""},
      {"system.kind=[ar_gru, gruu]", "--set: system.kind: ", "did you mean \"gru\"?"},
  };
  const DeckFiles files;
  const std::string file = files.write("deck.toml", good_deck);
  for (const BadSetting& bad : bad_settings) {
    Overrides overrides;
    overrides.set = {bad.setting};
    const std::string message = message_of(file, overrides);
    EXPECT_EQ(message.rfind(bad.start, 0), 0u) << bad.setting << " → " << message;
    EXPECT_NE(message.find(bad.phrase), std::string::npos) << bad.setting << " → " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << bad.setting << " → " << message;
    EXPECT_EQ(message.empty(), *bad.start == 0) << bad.setting << " → " << message;
  }
}

TEST(BadFilters, AreNamed) {
  const DeckFiles files;
  const std::string file = files.write("deck.toml", good_deck);
  Overrides overrides;
  overrides.filter = "[";
  EXPECT_EQ(message_of(file, overrides), "--filter: \"[\" is not a valid regular expression");
  overrides.filter = "no such case";
  EXPECT_EQ(
      message_of(file, overrides).rfind("--filter: no case is left by \"no such case\"; names look like \"gru-", 0),
      0u);
}

TEST(Ranks, MustBeDividedByTimeRanksAndThatIsSaidFirst) {
  const DeckFiles files;
  const std::string file = files.write("deck.toml", good_deck);
  const Plan plan = load_plan({file});
  const auto refusal = [&](int n_ranks) {
    try {
      check_ranks(plan.cases, n_ranks);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string where = file + ":9: parallel.time_ranks: ";
  EXPECT_EQ(refusal(2).rfind(where + "3 does not divide the number of MPI ranks, 2", 0), 0u) << refusal(2);
  EXPECT_EQ(refusal(3).rfind(where + "2 does not divide the number of MPI ranks, 3", 0), 0u) << refusal(3);
  EXPECT_EQ(refusal(6), "");
  Overrides overrides;
  overrides.set = {"parallel.time_ranks=1"};
  EXPECT_NO_THROW(check_ranks(load_plan({file}, overrides).cases, 7));
}

TEST(Ranks, RefuseWhatTheyCannotShareInTime) {
  const DeckFiles files;
  const auto refusal = [&](const std::string& solver, int n_ranks) {
    const std::string deck =
        "[system]\nkind = \"gru\"\n[problem]\nlength = 10\n[parallel]\ntime_ranks = " + std::to_string(n_ranks) +
        "\n[[solver]]\nkind = \"elk\"\n" + solver;
    const std::string file = files.write("shared.toml", deck);
    try {
      check_ranks(load_plan({file}).cases, n_ranks);
    } catch (const InputError& error) {
      return std::string(error.what()).substr(file.size());
    }
    return std::string();
  };
  const std::string sigma2 = "sigma2 = 1e4\n";
  const std::string flat = sigma2 + "scan = \"flat\"\n";
  EXPECT_EQ(refusal(flat, 2).rfind(":10: solver.scan: is not available", 0), 0u) << refusal(flat, 2);
  EXPECT_NE(refusal(flat, 2).find("parallel.time_ranks = 1"), std::string::npos);
  EXPECT_EQ(refusal(flat, 1), "");
  for (const char* shared : {"window = 4\n", "window = \"auto\"\n", "damping = \"smoother\"\n"})
    EXPECT_EQ(refusal(sigma2 + shared, 2), "");
  for (const char* bound : {"{ absolute = 0.5 }", "0.5"})
    EXPECT_EQ(refusal(sigma2 + "step_bound = " + bound + "\nscan = \"serial\"\n", 2), "");
  EXPECT_EQ(refusal("sigma2 = \"adaptive\"\n", 2), "");
}

}  // namespace
}  // namespace elkhorn::deck
