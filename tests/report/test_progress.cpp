#include "report/progress.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "../record/sample.hpp"
#include "report/units.hpp"

namespace elkhorn::report {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Progress, EtaIsTheMeanOfThisRunsCases) {
  EXPECT_DOUBLE_EQ(eta(2, 6, 10), 30);
  EXPECT_DOUBLE_EQ(eta(4, 0, 10), 0);
  EXPECT_TRUE(std::isnan(eta(0, 6, 10)));
}

TEST(Progress, ElsewhereThanOnATerminalOnePlainLineAFinishedCase) {
  std::ostringstream out;
  double now = 100;
  const auto results = sample::results();
  {
    Progress progress(out, false, 16, 12, [&] { return now; });
    progress.start(results[12].name);
    progress.refresh();
    EXPECT_EQ(out.str(), "");
    now += 20;
    progress.done(results[12]);
  }
  EXPECT_THAT(out.str(), HasSubstr("[13/16] not_converged "));
  EXPECT_THAT(out.str(), HasSubstr("500 iterations  " + results[12].name + "  (about 1:00 left)\n"));
  EXPECT_THAT(out.str(), Not(HasSubstr("\r")));
  EXPECT_THAT(out.str(), Not(HasSubstr("\033")));
}

TEST(Progress, OnATerminalTheBarIsRedrawnAndCleared) {
  std::ostringstream out;
  double now = 0;
  const auto results = sample::results();
  {
    Progress progress(out, true, 4, 0, [&] { return now; });
    progress.start("first");
    EXPECT_THAT(out.str(), HasSubstr("0/4  elapsed 0:00  first"));
    now = 30;
    progress.done(results[0]);
    progress.start("second");
    EXPECT_THAT(out.str(), HasSubstr("[#####···············] 1/4  elapsed 0:30, about 1:30 left  second"));
  }
  EXPECT_THAT(out.str(), testing::EndsWith("\r\033[K"));
}

TEST(Progress, ALongSolveSaysHowFarItIs) {
  double now = 0;
  std::ostringstream bar, lines;
  Progress on_terminal(bar, true, 4, 0, [&] { return now; }), elsewhere(lines, false, 4, 0, [&] { return now; });
  for (Progress* progress : {&on_terminal, &elsewhere}) progress->start("long");
  for (; now < 130; now += 0.01)
    for (Progress* progress : {&on_terminal, &elsewhere}) progress->within(now / 200);
  EXPECT_EQ(lines.str(), "[0/4] 30 % settled  long\n[0/4] 60 % settled  long\n");
  EXPECT_THAT(bar.str(), HasSubstr("0/4  elapsed 1:00  30 % settled  long"));
  const std::string drawn = bar.str();
  EXPECT_LE(std::count(drawn.begin(), drawn.end(), '\r'), 130 * 5 + 1);  // what a terminal is sent stays bounded
}

TEST(Progress, LinesNeverShowNaNAndBarsNeverWrap) {
  for (const auto& result : sample::results()) EXPECT_THAT(case_line(result, 1, 16), Not(HasSubstr("nan")));
  EXPECT_LE(width(bar_line(3, 7, 10, 20, std::string(300, 'x'), 79)), 79U);
  EXPECT_THAT(bar_line(0, 0, 0, NAN, ""), HasSubstr("0/0"));
}

}  // namespace
}  // namespace elkhorn::report
