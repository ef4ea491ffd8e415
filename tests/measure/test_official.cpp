#include "measure/official.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "record/schema.hpp"

namespace elkhorn::measure {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Environment sound_environment() {
  Environment env;
  for (const std::string& name : record::required_meta()) env.attributes.emplace_back(name, std::string("known"));
  env.attributes.emplace_back("build_type", std::string("Release"));
  env.attributes.emplace_back("cpu_governor", std::string("unavailable: a virtual machine"));
  return env;
}

void set(Environment& env, const std::string& name, const Value& value) {
  for (auto& [key, old] : env.attributes)
    if (key == name) old = value;
}

TEST(OfficialRun, NeedsProvenanceACleanTreeAndAQuietMachine) {
  const Environment sound = sound_environment();
  EXPECT_THAT(reasons_of_run(sound, true), IsEmpty());
  const auto with = [&](const std::string& name, const Value& value) {
    Environment env = sound;
    set(env, name, value);
    return reasons_of_run(env, true);
  };
  EXPECT_THAT(with("git_sha", std::string("unknown")), ElementsAre(HasSubstr("provenance is incomplete: git_sha")));
  EXPECT_THAT(with("git_dirty", 1L), ElementsAre(HasSubstr("not committed")));
  EXPECT_THAT(with("git_dirty", 0L), IsEmpty());
  EXPECT_THAT(with("build_type", std::string("Debug")), ElementsAre(HasSubstr("build_type is Debug")));
  EXPECT_THAT(with("cpu_governor", std::string("ondemand (acpi-cpufreq)")), ElementsAre(HasSubstr("governor")));
  Environment missing = sound;
  missing.attributes.erase(missing.attributes.begin());
  EXPECT_THAT(reasons_of_run(missing, true), ElementsAre(HasSubstr("version unknown")));
}

TEST(OfficialRun, TheLoadAverageCountsWhereNothingBetterIsKnown) {
  Environment env = sound_environment();
  env.warnings = {
      "host a: busy: the load average of the last minute is 3.0 and this run wants 2 of 4 hardware threads"};
  EXPECT_THAT(reasons_of_run(env, true), IsEmpty());
  EXPECT_THAT(reasons_of_run(env, false), ElementsAre(HasSubstr("load average")));
}

Placement rank_on(long threads, const std::string& allowed) {
  Placement rank;
  rank.host = "a";
  rank.threads = threads;
  rank.allowed = allowed;
  return rank;
}

/// The real warnings, whose words the verdict relies on.
TEST(OfficialRun, KnowsTheWarningsOnPlacement) {
  Environment env = sound_environment();
  env.warnings = placement_warnings({rank_on(2, "0"), rank_on(2, "1")});
  EXPECT_THAT(reasons_of_run(env, true), ElementsAre(HasSubstr("oversubscribed")));
  env.warnings = placement_warnings({rank_on(1, "0-3"), rank_on(1, "0-3")});
  EXPECT_THAT(reasons_of_run(env, true), ElementsAre(HasSubstr("ranks overlap")));
  env.warnings = placement_warnings({rank_on(1, "0-1"), rank_on(1, "2-3")});
  EXPECT_THAT(reasons_of_run(env, true), IsEmpty());
}

record::CaseResult sound_result() {
  record::CaseResult r;
  r.status = record::Status::ok;
  r.time_s.assign(12, 0.01);
  r.samples = 12;
  r.time_median_s = 0.01;
  r.time_ci_low_s = 0.0099;
  r.time_ci_high_s = 0.0101;
  return r;
}

TEST(OfficialCase, NeedsAValidatedAnswerAndEnoughSamples) {
  constexpr double clock = 1e-7;
  const Disturbance quiet{0.02, 0.1, 0};
  const auto reasons = [&](const std::function<void(record::CaseResult&)>& change) {
    record::CaseResult r = sound_result();
    change(r);
    return reasons_of_case(r, quiet, clock);
  };
  EXPECT_THAT(reasons([](auto&) {}), IsEmpty());
  EXPECT_THAT(reasons([](auto& r) { r.status = record::Status::not_converged; }),
              ElementsAre("no validated answer: the status is not_converged"));
  EXPECT_THAT(reasons([](auto& r) { r.samples = 9; }), ElementsAre("fewer than 10 samples"));
  EXPECT_THAT(reasons([](auto& r) { r.time_ci_high_s = 0.0106; }), ElementsAre(HasSubstr("wider than 5 %")));
  EXPECT_THAT(reasons([](auto& r) { r.time_ci_low_s = r.time_ci_high_s = record::not_a_number; }),
              ElementsAre(HasSubstr("wider than 5 %")));
  EXPECT_THAT(reasons([](auto& r) { r.time_s.assign(12, 0.001); }), ElementsAre("sampled for less than 0.1 s in all"));
  EXPECT_THAT(reasons([](auto& r) {
                r.time_median_s = 9e-5;
                r.time_ci_low_s = r.time_ci_high_s = 9e-5;
              }),
              ElementsAre("shorter than 1000 steps of the clock"));
  EXPECT_THAT(reasons([](auto& r) { r.drifting = true; }), ElementsAre(HasSubstr("drifted")));
}

TEST(OfficialCase, NeedsAQuietMachineMeanwhile) {
  const record::CaseResult r = sound_result();
  EXPECT_THAT(reasons_of_case(r, {0.3, 0.1, 0}, 1e-7), ElementsAre(HasSubstr("other programs")));
  EXPECT_THAT(reasons_of_case(r, {0.05, 0.1, 0}, 1e-7), IsEmpty());
  EXPECT_THAT(reasons_of_case(r, {record::not_a_number, 0.1, 0}, 1e-7), IsEmpty()) << "not known is no reason";
  EXPECT_THAT(reasons_of_case(r, {0.05, 0.1, 2}, 1e-7), ElementsAre(HasSubstr("throttled")));
}

}  // namespace
}  // namespace elkhorn::measure
