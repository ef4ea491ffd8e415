#include "record/recorder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <fstream>
#include <sstream>

#include "input_error.hpp"
#include "limit.hpp"
#include "record/check.hpp"
#include "record/json.hpp"
#include "sample.hpp"

namespace elkhorn::record {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

std::string content(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream out;
  out << stream.rdbuf();
  return out.str();
}

class RecorderTest : public testing::Test {
 protected:
  RecorderTest()
      : path_(folder_.file("r.h5")),
        journal_(path_ + ".journal.jsonl"),
        cases_(sample::results()),
        plan_{sample::deck_text(), sample::names(cases_)} {}

  /// Adds the first `count` cases and stops there, as a kill would.
  void interrupted_run(std::size_t count) {
    Recorder recorder(path_, plan_, false);
    for (std::size_t i = 0; i < count; ++i) recorder.add(cases_[i]);
  }
  /// Resumes, runs what is missing, finishes; returns how many cases ran.
  long resumed_run() {
    Recorder recorder(path_, plan_, true);
    long ran = 0;
    for (const CaseResult& r : cases_)
      if (!recorder.has(r.name)) {
        recorder.add(r);
        ++ran;
      }
    recorder.finish(sample::meta());
    return ran;
  }
  void expect_complete(bool with_states = false) {
    const Results results = read_results(path_, {}, with_states);
    ASSERT_EQ(results.cases.size(), cases_.size());
    for (std::size_t i = 0; i < cases_.size(); ++i)
      EXPECT_EQ(sample::difference(results.cases[i], cases_[i], with_states), "") << cases_[i].name;
    EXPECT_THAT(check_results(path_), IsEmpty());
    EXPECT_FALSE(fs::exists(journal_));
    EXPECT_FALSE(fs::exists(path_ + ".part"));
    EXPECT_FALSE(fs::exists(path_ + ".states"));
    EXPECT_FALSE(fs::exists(path_ + ".incomplete"));
  }

  sample::Folder folder_;
  std::string path_, journal_;
  std::vector<CaseResult> cases_;
  Plan plan_;
};

TEST_F(RecorderTest, AJournalOfVersion1_0IsResumed) {
  auto json = to_json(cases_[1]);
  for (const char* name : {"time_first_s", "official", "unofficial_because", "outliers", "roof_bound"})
    json.erase(name);
  const CaseResult back = from_json(json);
  EXPECT_EQ(back.time_median_s, cases_[1].time_median_s);
  EXPECT_FALSE(back.official);
  EXPECT_EQ(back.unofficial_because, "not judged");
  json.erase("time_median_s");  // that was always there
  EXPECT_THROW(from_json(json), std::runtime_error);
}

TEST_F(RecorderTest, RatiosAreAmendedAndRoofsKeptInTheFile) {
  Roofs roofs;
  roofs.attributes = {{"triad_float64", 1.8e10}};
  roofs.arrays = {{"latency_ranks", {1}}, {"allreduce_s", {1e-7}}, {"exscan_s", {1e-7}}};
  const double ratio = cases_[1].speedup_over_sequential;  // to a base that was timed later
  cases_[1].speedup_over_sequential = not_a_number;
  Recorder recorder(path_, plan_, false);
  for (const CaseResult& r : cases_) recorder.add(r);
  const std::string journal = content(journal_);
  recorder.amend([&](CaseResult& r) {
    if (r.index == 1) r.speedup_over_sequential = ratio;
  });
  EXPECT_EQ(content(journal_), journal);
  EXPECT_EQ(recorder.finished()[1].speedup_over_sequential, ratio);
  recorder.suspend(sample::meta(), roofs);
  recorder.finish(sample::meta(), roofs);
  const Results results = read_results(path_, {});
  EXPECT_EQ(results.cases[1].speedup_over_sequential, ratio);
  EXPECT_EQ(results.roofs.attributes, roofs.attributes);
  EXPECT_EQ(results.roofs.arrays, roofs.arrays);
  EXPECT_THAT(check_results(path_), IsEmpty());
}

TEST_F(RecorderTest, JsonKeepsEveryBit) {
  const double values[] = {0.1,
                           1.0 / 3,
                           1e-310,
                           1.7976931348623157e308,
                           -0.0,
                           5e-324,
                           not_a_number,
                           std::numeric_limits<double>::infinity(),
                           -std::numeric_limits<double>::infinity()};
  for (const double value : values) {
    CaseResult r = cases_[1];
    r.residual_max = value;
    r.history.mad[3] = value;
    const CaseResult back = from_json(nlohmann::ordered_json::parse(to_json(r).dump()));
    EXPECT_EQ(sample::difference(r, back), "") << value;
  }
  for (const CaseResult& r : cases_)
    EXPECT_EQ(sample::difference(r, from_json(nlohmann::ordered_json::parse(to_json(r).dump()))), "") << r.name;
  auto json = to_json(cases_[1]);
  json.erase("iterations");
  EXPECT_THROW(from_json(json), std::runtime_error);
}

TEST_F(RecorderTest, AnUninterruptedRunLeavesTheResultsFileOnly) {
  Recorder recorder(path_, plan_, false);
  // In another order than the plan's: the file is in plan order.
  for (std::size_t i = cases_.size(); i-- > 0;) recorder.add(cases_[i]);
  EXPECT_FALSE(fs::exists(path_));
  recorder.finish(sample::meta());
  expect_complete();
}

TEST_F(RecorderTest, ResumeRunsWhatIsMissing) {
  interrupted_run(3);
  EXPECT_FALSE(fs::exists(path_));
  {
    const Recorder recorder(path_, plan_, true);
    ASSERT_EQ(recorder.finished().size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(sample::difference(recorder.finished()[i], cases_[i]), "");
    EXPECT_THAT(recorder.notice(), HasSubstr("3 of 16 cases"));
  }
  EXPECT_EQ(resumed_run(), static_cast<long>(cases_.size()) - 3);
  expect_complete();
}

TEST_F(RecorderTest, ALineTornAtAnyByteIsDroppedAndRunAgain) {
  interrupted_run(3);
  const std::string whole = content(journal_);
  const std::size_t last = whole.rfind('\n', whole.size() - 2) + 1;  // where the third case begins
  for (const std::size_t cut : {last + 1, last + (whole.size() - last) / 2, whole.size() - 2, whole.size() - 1}) {
    std::ofstream(journal_, std::ios::binary) << whole.substr(0, cut);
    {
      Recorder recorder(path_, plan_, true);
      ASSERT_EQ(recorder.finished().size(), 2U) << cut;
      recorder.add(cases_[2]);
    }
    EXPECT_EQ(content(journal_), whole) << cut;
  }
  EXPECT_EQ(resumed_run(), static_cast<long>(cases_.size()) - 3);
  expect_complete();
}

TEST_F(RecorderTest, ATornHeaderIsAnEmptyJournal) {
  interrupted_run(1);
  std::ofstream(journal_, std::ios::binary) << content(journal_).substr(0, 40);
  EXPECT_EQ(resumed_run(), static_cast<long>(cases_.size()));
  expect_complete();
}

TEST_F(RecorderTest, DamageWithinTheJournalIsNamedByLine) {
  interrupted_run(3);
  std::string text = content(journal_);
  text[text.find('\n') + 20] = '\x01';
  std::ofstream(journal_, std::ios::binary) << text;
  EXPECT_THAT(input_error([&] { Recorder(path_, plan_, true); }), HasSubstr("journal.jsonl line 2 is damaged"));
  std::ofstream(journal_, std::ios::binary) << "{\"format\": \"other\"}\n";
  EXPECT_THAT(input_error([&] { Recorder(path_, plan_, true); }), HasSubstr("line 1 is not the header"));
}

TEST_F(RecorderTest, AnotherPlanIsRefusedAndTheDifferenceTold) {
  interrupted_run(2);
  const std::string before = content(journal_);
  Plan other = plan_;
  other.deck_text.replace(other.deck_text.find("10000"), 5, "20000");
  EXPECT_NE(fingerprint(other), fingerprint(plan_));
  EXPECT_THAT(input_error([&] { Recorder(path_, other, true); }),
              HasSubstr("had \"length = [1000, 10000]\" and now has \"length = [1000, 20000]\""));
  other = plan_;
  other.case_names.pop_back();
  EXPECT_NE(fingerprint(other), fingerprint(plan_));
  EXPECT_THAT(input_error([&] { Recorder(path_, other, true); }), HasSubstr("gru/elk/huge is not in this plan"));
  EXPECT_EQ(content(journal_), before);
  // The same for a complete results file.
  resumed_run();
  EXPECT_THAT(input_error([&] { Recorder(path_, other, true); }), HasSubstr("belongs to another plan"));
}

TEST_F(RecorderTest, ResumingACompleteFileRunsOnlyWhatFailed) {
  ASSERT_EQ(cases_[14].status, Status::failed);  // the only one
  interrupted_run(cases_.size());
  EXPECT_EQ(resumed_run(), 1);
  expect_complete();
  // It succeeds the second time, and with that the file has nothing left to run.
  cases_[14].status = Status::skipped;
  EXPECT_EQ(resumed_run(), 1);
  expect_complete();
  const auto before = content(path_);
  EXPECT_EQ(resumed_run(), 0);
  EXPECT_EQ(content(path_), before) << "a complete file was written again";
  EXPECT_FALSE(fs::exists(journal_));
}

TEST_F(RecorderTest, AKillWhileACompleteFileIsMendedLosesNothing) {
  interrupted_run(cases_.size());
  resumed_run();
  cases_[14].status = Status::not_converged;
  cases_[14].message = "mended";
  {
    Recorder recorder(path_, plan_, true);
    EXPECT_EQ(recorder.finished().size(), cases_.size() - 1);
    recorder.add(cases_[14]);
  }
  EXPECT_EQ(resumed_run(), 0);
  expect_complete();
}

TEST_F(RecorderTest, StatesGoToFilesOfTheirOwnAndIntoTheResults) {
  sample::Options options;
  options.states = true;
  cases_ = sample::results(options);
  interrupted_run(4);
  EXPECT_TRUE(fs::exists(path_ + ".states/000003.h5"));
  EXPECT_LT(fs::file_size(journal_), 100000U) << "states must not be in the journal";
  {
    const Recorder recorder(path_, plan_, true);
    ASSERT_EQ(recorder.finished().size(), 4U);
    EXPECT_THAT(recorder.finished()[1].states, IsEmpty());
  }
  resumed_run();
  expect_complete(true);
  // Carried over from the complete file when only the failed case runs again.
  EXPECT_EQ(resumed_run(), 1);
  expect_complete(true);
}

TEST_F(RecorderTest, StatesMayComeInPieces) {
  sample::Options options;
  options.states = true;
  cases_ = sample::results(options);
  {
    Recorder recorder(path_, plan_, false);
    for (const CaseResult& whole : cases_) {
      CaseResult r = whole;
      std::unique_ptr<StatesFile> states;
      if (!whole.states.empty()) {
        const auto row = static_cast<std::ptrdiff_t>(whole.batch * whole.state_dim);
        states = recorder.keep_states(r);
        const auto middle = whole.states.begin() + row * (whole.length / 3);
        states->write({whole.states.begin(), middle});
        EXPECT_THROW(states->close(), std::logic_error);
        states->write({middle, whole.states.end()});
      }
      r.states.clear();
      recorder.add(r, std::move(states));
    }
    recorder.finish(sample::meta());
  }
  expect_complete(true);
}

TEST_F(RecorderTest, WithoutResumeAnInterruptedRunIsMovedAside) {
  interrupted_run(2);
  const std::string before = content(journal_);
  {
    const Recorder recorder(path_, plan_, false);
    EXPECT_TRUE(recorder.finished().empty());
    EXPECT_THAT(recorder.notice(), HasSubstr("2 finished cases"));
  }
  EXPECT_EQ(content(journal_ + ".old"), before);
  // A run that finished nothing leaves nothing worth keeping.
  const Recorder recorder(path_, plan_, false);
  EXPECT_THAT(recorder.notice(), IsEmpty());
  EXPECT_EQ(content(journal_ + ".old"), before);
}

TEST_F(RecorderTest, AnOlderResultsFileStandsUntilTheNewOneIsComplete) {
  std::ofstream(path_) << "older";
  Recorder recorder(path_, plan_, false);
  for (const CaseResult& r : cases_) recorder.add(r);
  EXPECT_EQ(content(path_), "older");
  recorder.finish(sample::meta());
  expect_complete();
}

TEST_F(RecorderTest, TwoRunsCannotShareAFile) {
  const Recorder first(path_, plan_, false);
  EXPECT_THAT(input_error([&] { Recorder(path_, plan_, false); }), HasSubstr("another run is writing"));
  EXPECT_THAT(input_error([&] { Recorder(path_, plan_, true); }), HasSubstr("another run is writing"));
}

/// As after a lock that was lost, or without locks: both runs have the journal open.
TEST_F(RecorderTest, ARunWhoseJournalAnotherOneTakesStopsAndLeavesItAlone) {
  const auto stops = [&](Recorder& recorder) {
    const std::string theirs = content(journal_);
    for (const auto& writing : {std::function<void()>([&] { recorder.add(cases_[2]); }),
                                std::function<void()>([&] { recorder.keep_states(cases_[2]); }),
                                std::function<void()>([&] { recorder.suspend(sample::meta()); }),
                                std::function<void()>([&] { recorder.finish(sample::meta()); })})
      try {
        writing();
        ADD_FAILURE() << "it wrote";
      } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), HasSubstr("cannot write " + journal_ + ": another run writes it too"));
      }
    EXPECT_EQ(content(journal_), theirs);
    EXPECT_FALSE(fs::exists(path_));
    EXPECT_FALSE(fs::exists(path_ + ".incomplete"));
  };
  std::string whole;
  {
    Recorder recorder(path_, plan_, false);
    recorder.add(cases_[0]);
    recorder.add(cases_[1]);
    whole = content(journal_);
    fs::rename(journal_, journal_ + ".old");  // a run that starts over does so
    std::ofstream(journal_) << "theirs\n";
    stops(recorder);
    EXPECT_EQ(content(journal_ + ".old"), whole);
  }
  fs::rename(journal_ + ".old", journal_);
  {
    Recorder recorder(path_, plan_, true);
    std::ofstream(journal_, std::ios::app) << "a line of a run that resumes\n";
    stops(recorder);
  }
  fs::resize_file(journal_, whole.size());
  resumed_run();
  expect_complete();
}

TEST_F(RecorderTest, ARunWhoseJournalIsDeletedEndsWellAllTheSame) {
  Recorder recorder(path_, plan_, false);
  recorder.add(cases_[0]);
  fs::remove(journal_);
  for (std::size_t i = 1; i < cases_.size(); ++i) recorder.add(cases_[i]);
  recorder.finish(sample::meta());
  expect_complete();
}

TEST_F(RecorderTest, OutputsThatCannotBeWrittenAreFoundAtOnce) {
  std::ofstream(folder_.file("plain")) << "x";
  const auto refused = [&](const std::string& path) { return input_error([&] { Recorder(path, plan_, false); }); };
  EXPECT_THAT(refused(folder_.file("none/r.h5")), HasSubstr("there is no folder"));
  EXPECT_THAT(refused(folder_.file("plain/r.h5")), HasSubstr("is not a folder"));
  EXPECT_THAT(refused(folder_.file("")), HasSubstr("is a folder"));
  EXPECT_THAT(refused("/proc/r.h5"), HasSubstr("cannot write to folder /proc"));
  EXPECT_THAT(refused("/dev/null"), HasSubstr("not a regular file"));
  EXPECT_THAT(refused(""), HasSubstr("--out: the file name is empty"));
  check_output(path_);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.file("")), {}), 1) << "the check left something behind";
}

TEST_F(RecorderTest, AFullDiskIsOneErrorAndTheJournalStaysWhole) {
  interrupted_run(2);
  const std::string before = content(journal_);
  {
    Recorder recorder(path_, plan_, true);
    const sample::FileSizeLimit limit(before.size() + 100);
    try {
      recorder.add(cases_[2]);
      FAIL();
    } catch (const std::runtime_error& error) {
      EXPECT_THAT(error.what(), HasSubstr("cannot write " + journal_));
      EXPECT_THAT(error.what(), HasSubstr("--resume"));
    }
    EXPECT_EQ(content(journal_), before);
    EXPECT_THROW(recorder.finish(sample::meta()), std::runtime_error);
    EXPECT_EQ(content(journal_), before);
  }
  resumed_run();
  expect_complete();
}

TEST_F(RecorderTest, NoRoomForStatesIsOneErrorToo) {
  sample::Options options;
  options.states = true;
  cases_ = sample::results(options);
  Recorder recorder(path_, plan_, false);
  recorder.add(cases_[0]);
  const sample::FileSizeLimit limit(1 << 20);
  try {
    recorder.add(cases_[5]);
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("cannot keep the states of case"));
  }
}

TEST_F(RecorderTest, ASuspendedRunCanBeReadAndResumed) {
  sample::Options options;
  options.states = true;
  cases_ = sample::results(options);
  plan_.case_names = sample::names(cases_);
  {
    Recorder recorder(path_, plan_, false);
    recorder.suspend(sample::meta());
    EXPECT_FALSE(fs::exists(path_ + ".incomplete")) << "a results file of no case";
    for (const std::size_t i : {5, 0, 1}) recorder.add(cases_[i]);
    recorder.suspend(sample::meta());
  }
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_THAT(check_results(path_ + ".incomplete"), IsEmpty());
  const Results so_far = read_results(path_ + ".incomplete", {}, true);
  ASSERT_EQ(so_far.cases.size(), 3u);
  EXPECT_EQ(sample::difference(so_far.cases[2], cases_[5]), "");
  EXPECT_TRUE(so_far.cases[2].states.empty());
  EXPECT_EQ(resumed_run(), static_cast<long>(cases_.size()) - 3);
  expect_complete(true);
}

TEST_F(RecorderTest, WhatAKillLeftBesideACompleteFileIsRemoved) {
  cases_[14].status = Status::skipped;
  interrupted_run(cases_.size());
  resumed_run();
  // finish() removes the journal first, so these may be left.
  fs::create_directories(path_ + ".states");
  std::ofstream(path_ + ".states/000001.h5") << "states";
  std::ofstream(path_ + ".incomplete") << "finished cases";
  EXPECT_EQ(resumed_run(), 0);
  expect_complete();
}

TEST_F(RecorderTest, ALinkIsFollowed) {
  std::ofstream(folder_.file("real.h5")) << "older";
  fs::create_symlink(folder_.file("real.h5"), path_);
  Recorder recorder(path_, plan_, false);
  for (const CaseResult& r : cases_) recorder.add(r);
  recorder.finish(sample::meta());
  EXPECT_TRUE(fs::is_symlink(path_));
  EXPECT_THAT(check_results(folder_.file("real.h5")), IsEmpty());
}

TEST_F(RecorderTest, KilledAtAnyMomentItResumesToTheSameSet) {
  for (const int wait_us : {0, 2000, 6000, 15000, 40000}) {
    fs::remove(path_);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        Recorder recorder(path_, plan_, true);
        for (const CaseResult& r : cases_)
          if (!recorder.has(r.name)) recorder.add(r);
        for (;;) pause();
      } catch (...) {
        _exit(3);
      }
    }
    usleep(static_cast<useconds_t>(wait_us));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the run ended by itself with " << WEXITSTATUS(status);
    resumed_run();
    expect_complete();
  }
}

}  // namespace
}  // namespace elkhorn::record
