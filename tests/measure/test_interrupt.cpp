#include "measure/interrupt.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <ctime>

#include "measure/sampling.hpp"

namespace elkhorn::measure {
namespace {

/// Who asked for a stop, "" where nobody has.
std::string asked(const parallel::Comm& comm, double needed_s = 0) {
  try {
    stop_if_asked(comm, needed_s);
  } catch (const parallel::AgreedStop& stop) {
    return stop.what();
  }
  return "";
}

TEST(Interrupt, ASignalToAnyRankStopsAll) {
  const parallel::Comm comm;
  for (const auto& [number, name] : {std::pair{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGUSR1, "SIGUSR1"}})
    for (int rank = 0; rank < comm.size(); ++rank) {
      const Interruptible interruptible;
      EXPECT_EQ(asked(comm), "");
      if (comm.rank() == rank) {
        raise(number);
        raise(number);  // at once, so it counts as the same
      }
      EXPECT_EQ(asked(comm), name);
      EXPECT_EQ(asked(comm), name) << "the wish was forgotten";
    }
  EXPECT_EQ(asked(comm), "") << "the wish outlived the run";
  struct sigaction action {};
  sigaction(SIGTERM, nullptr, &action);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
}

TEST(Interrupt, StopsSamplingBetweenSolvesOnAllRanks) {
  const parallel::Comm comm;
  const Interruptible interruptible;
  deck::MeasureConfig config;
  config.warmup = 1;
  config.min_repetitions = config.max_repetitions = 1000;
  int solves = 0;
  const auto run = [&] {
    // As the runner does: a stop is no error of the case.
    return comm.agree(parallel::caught([&] {
      sample(comm, config, [&] {
        if (++solves == 5 && comm.rank() == comm.size() - 1) raise(SIGUSR1);
      });
    }));
  };
  EXPECT_THROW(run(), parallel::AgreedStop);
  EXPECT_EQ(solves, 5);
}

TEST(Interrupt, TheTimeLimitCountsWhatIsToCome) {
  const parallel::Comm comm;
  const Interruptible interruptible("1000");
  EXPECT_EQ(asked(comm), "");
  EXPECT_EQ(asked(comm, 900), "");
  EXPECT_EQ(asked(comm, 990), "the time limit") << "50 s are for the rest";
}

TEST(Interrupt, SchedulersTellTheTimeLimit) {
  const parallel::Comm comm;
  const auto with = [&](const char* variable, const std::string& value, const char* option) {
    setenv(variable, value.c_str(), 1);
    std::string who;
    {
      const Interruptible interruptible(option);
      who = asked(comm, 500);
    }
    unsetenv(variable);
    return who;
  };
  const long now = static_cast<long>(std::time(nullptr));
  EXPECT_EQ(with("SLURM_JOB_END_TIME", std::to_string(now + 400), ""), "the time limit");
  EXPECT_EQ(with("SLURM_JOB_END_TIME", std::to_string(now + 1000), ""), "");
  EXPECT_EQ(with("SLURM_JOB_END_TIME", std::to_string(now - 5), ""), "the time limit");
  EXPECT_EQ(with("SLURM_JOB_END_TIME", std::to_string(now - 5), "none"), "");
  EXPECT_EQ(with("SLURM_JOB_END_TIME", std::to_string(now - 5), "1000"), "") << "the option is stronger";
  for (const char* nonsense : {"", "soon", "12x", "-5", "nan"})
    EXPECT_EQ(with("SLURM_JOB_END_TIME", nonsense, ""), "") << nonsense;
  EXPECT_EQ(with("PBS_WALLTIME", "400", ""), "the time limit");
  EXPECT_EQ(with("PBS_WALLTIME", "1000", ""), "");
}

TEST(Interrupt, TimesAreReadAsPeopleWriteThem) {
  const Origin origin{"--time-limit", "", 0};
  for (const auto& [text, seconds] : {std::pair{"90", 90.0},
                                      {"90s", 90},
                                      {"1.5m", 90},
                                      {"2h", 7200},
                                      {".5", 0.5},
                                      {"30:00", 1800},
                                      {"1:30:00", 5400},
                                      {"100:00:01", 360001}})
    EXPECT_EQ(seconds_of(text, origin), seconds) << text;
  for (const char* text : {"", "0", "0:00", "-1", "1:2", "1:60", "5 m", "2d", "1e3", "nan", "inf", "1:00:00:00"}) {
    try {
      seconds_of(text, origin);
      FAIL() << text;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::StartsWith("--time-limit: must be a time above 0"));
    }
  }
}

}  // namespace
}  // namespace elkhorn::measure
