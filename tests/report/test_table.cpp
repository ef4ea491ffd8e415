#include "report/table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "../record/sample.hpp"
#include "report/units.hpp"

namespace elkhorn::report {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) out.push_back(line);
  return out;
}

/// The first line that holds all of the words.
std::string line_with(const std::string& text, const std::vector<std::string>& words) {
  for (const std::string& line : lines(text)) {
    bool all = true;
    for (const auto& word : words) all = all && line.find(word) != std::string::npos;
    if (all) return line;
  }
  return "";
}

TEST(Table, FitsShowsEveryCaseAndNeverNaN) {
  const auto results = sample::results();
  const std::string text = table(results);
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  EXPECT_THAT(text, Not(HasSubstr("NaN")));
  for (const auto& line : lines(text)) {
    if (line.find("failed ar_gru") == std::string::npos) {  // messages are as long as they are
      EXPECT_LE(width(line), 110U) << line;
    }
  }
  EXPECT_THAT(text, HasSubstr("quasi_elk σ²=100"));  // nothing had to be cut
  EXPECT_THAT(text, HasSubstr("16 cases: 12 ok, 1 not_converged, 1 diverged, 1 failed, 1 skipped\n"));
}

TEST(Table, RowsShowWhatWasMeasured) {
  auto results = sample::results();
  record::CaseResult& elk = results[3];
  elk.time_median_s = 12.3e-3;
  elk.time_ci_low_s = 12.1e-3;
  elk.time_ci_high_s = 12.65e-3;
  elk.speedup_over_sequential = 0.345;
  elk.error_max = 2.5e-5;
  elk.peak_memory_bytes = 3.0 * 1024 * 1024;
  const std::string row = line_with(table(results), {"elk σ²=1e4", "12.3 ms"});
  for (const char* part :
       {"1000", "8", "4", "ok", "6", "12.3 ms [12.1, 12.7]", "0.34×", "30 % flop", "2.5e-05", "3.00 MiB"})
    EXPECT_THAT(row, HasSubstr(part));
}

TEST(Table, EachProblemNamesItsSequentialTime) {
  auto results = sample::results();
  results[0].time_median_s = 4.31e-3;
  results[0].time_ci_low_s = 4.3e-3;
  results[0].time_ci_high_s = 4.4e-3;
  const std::string text = table(results);
  EXPECT_THAT(
      text,
      HasSubstr("gru, float32, seed 18446744073709551557, 2 ranks × 1 thread; sequential 4.31 ms [4.30, 4.40]\n"));
  EXPECT_NE(line_with(text, {"ar_gru, float64", "sequential 6."}), "");
  EXPECT_NE(line_with(text, {"gru, float32", "no sequential time"}), "");  // the skipped one alone
}

TEST(Table, FailuresAreListedWithTheirMessageOnOneLine) {
  const std::string text = table(sample::results());
  EXPECT_THAT(text, HasSubstr("  failed ar_gru/quasi_deer/T=9999/float64: rank 1: the matrix of step 17 is singular – "
                              "\"no  pivot\"\n"));
  EXPECT_THAT(text, HasSubstr("  skipped gru/elk/huge: needs 61 TiB, 7.2 GiB are free\n"));
  EXPECT_THAT(text, Not(HasSubstr("500 iterations, tolerance")));  // not converging is a result, not a failure
}

TEST(Table, TwoModesAreTold) {
  auto results = sample::results();
  EXPECT_THAT(table(results), Not(HasSubstr("bimodal")));
  results[1].bimodal = true;
  EXPECT_THAT(table(results), HasSubstr("\n  bimodal gru/deer/T=1000/float32: its times gather about two values"));
}

TEST(Table, RowsThatWouldLookAlikeAreTold) {
  auto results = sample::results();
  results.resize(3);
  results[1].solver = results[2].solver = "deer";
  results[1].scan = "flat";
  results[2].scan = "serial";
  std::string text = table(results);
  EXPECT_NE(line_with(text, {"deer flat"}), "");
  EXPECT_NE(line_with(text, {"deer serial"}), "");
  results[2].scan = "flat";
  results[2].window = "64";
  text = table(results);
  EXPECT_NE(line_with(text, {"deer window=64"}), "");
  results[2].window = "full";
  results[2].pass = results[1].pass == "fused" ? "separate" : "fused";
  text = table(results);
  EXPECT_NE(line_with(text, {"deer " + results[1].pass}), "");
  EXPECT_NE(line_with(text, {"deer " + results[2].pass}), "");
  results[2].pass = results[1].pass;
  text = table(results);
  EXPECT_NE(line_with(text, {results[1].name}), "");
  EXPECT_NE(line_with(text, {results[2].name}), "");
  // What all names begin with takes no room, however settings end; a number is not taken apart.
  const std::string long_start(60, 'x');
  for (std::size_t i = 0; i < 3; ++i) results[i].name = long_start + "-deer-sigma2=1e-" + std::to_string(i + 4);
  results[0].name += "-scan=flat";
  text = table(results);
  EXPECT_NE(line_with(text, {" sigma2=1e-4-scan=flat "}), "");
  EXPECT_NE(line_with(text, {" sigma2=1e-6 "}), "");
  results[0].name = long_start + "-deer";
  text = table(results);
  EXPECT_NE(line_with(text, {" deer "}), "");
  EXPECT_NE(line_with(text, {" deer-sigma2=1e-6 "}), "");
}

TEST(Table, LongNamesAreCutNumbersAreNot) {
  auto results = sample::results();
  results[1].solver = std::string(150, 'x');
  const std::string row = line_with(table(results), {"xxx"});
  EXPECT_LE(width(row), 110U);
  EXPECT_THAT(row, HasSubstr("…"));
  EXPECT_THAT(row, HasSubstr("MiB"));
}

TEST(Verdict, NamesEachReasonOnceWithItsCases) {
  auto results = sample::results();
  const std::string text = table(results);
  EXPECT_THAT(text, HasSubstr("\nofficial: 11 of 16 cases; unofficial: 6 reasons\n"));
  EXPECT_THAT(text, HasSubstr("  1 case: fewer than 10 samples\n"));
  EXPECT_THAT(text, HasSubstr("  1 case: no validated answer: the status is diverged\n"));
  for (auto& r : results) {
    r.official = false;
    r.unofficial_because = "built on a Monday";
  }
  results[3].unofficial_because += "; and\nlate";
  EXPECT_EQ(verdict(results), "unofficial: 2 reasons\n  16 cases: built on a Monday\n    1 case: and late\n");
  for (auto& r : results) {
    r.official = true;
    r.unofficial_because.clear();
  }
  EXPECT_EQ(verdict(results), "official: all 16 cases\n");
  results.resize(1);
  EXPECT_EQ(verdict(results), "official: 1 case\n");
  EXPECT_EQ(verdict({}), "");
}

TEST(Table, NoCases) { EXPECT_EQ(table({}), "no cases\n"); }

TEST(JsonLine, IsOneObjectWithNullsForWhatWasNotMeasured) {
  for (const auto& result : sample::results()) {
    const std::string line = json_line(result);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json.at("name"), result.name);
    EXPECT_EQ(json.at("seed"), result.seed);
    EXPECT_EQ(json.at("status"), record::to_string(result.status));
    EXPECT_EQ(json.at("sigma2").is_null(), std::isnan(result.sigma2));
    EXPECT_EQ(json.at("time_s").size(), result.time_s.size());
  }
}

}  // namespace
}  // namespace elkhorn::report
