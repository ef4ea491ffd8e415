#include "report/units.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace elkhorn::report {
namespace {

TEST(Units, TimesChooseTheirUnit) {
  EXPECT_EQ(time_text(1.07e-3), "1.07 ms");
  EXPECT_EQ(time_text(0.107), "107 ms");
  EXPECT_EQ(time_text(0.9999), "1.00 s");  // not 1000 ms
  EXPECT_EQ(time_text(8.31e-7), "831 ns");
  EXPECT_EQ(time_text(12.34e-6), "12.3 µs");
  EXPECT_EQ(time_text(90), "90.0 s");
  EXPECT_EQ(time_text(599), "599 s");
  EXPECT_EQ(time_text(744), "12.4 min");
  EXPECT_EQ(time_text(NAN), "–");
  EXPECT_EQ(time_text(INFINITY), "–");
}

TEST(Units, IntervalsKeepTheUnitOfTheMedian) {
  EXPECT_EQ(time_interval_text(1.07e-3, 0.98e-3, 1.1e-3), "1.07 ms [0.98, 1.10]");
  EXPECT_EQ(time_interval_text(1.07e-3, NAN, NAN), "1.07 ms");
  EXPECT_EQ(time_interval_text(NAN, 1, 2), "–");
}

TEST(Units, Memory) {
  EXPECT_EQ(memory_text(12), "12 B");
  EXPECT_EQ(memory_text(12.0 * 1024 * 1024), "12.0 MiB");
  EXPECT_EQ(memory_text(1023.9 * 1024), "1.00 MiB");
  EXPECT_EQ(memory_text(3.5 * 1024 * 1024 * 1024), "3.50 GiB");
  EXPECT_EQ(memory_text(-1), "–");
  EXPECT_EQ(memory_text(NAN), "–");
}

TEST(Units, RatiosErrorsParametersAndClocks) {
  EXPECT_EQ(ratio_text(2.314), "2.31×");
  EXPECT_EQ(ratio_text(0.00734), "0.0073×");
  EXPECT_EQ(ratio_text(NAN), "–");
  EXPECT_EQ(share_text(0.3749), "37 %");
  EXPECT_EQ(share_text(1.5), "150 %");
  EXPECT_EQ(share_text(0.0996), "10 %");
  EXPECT_EQ(share_text(0.0814), "8.1 %");
  EXPECT_EQ(share_text(0.000321), "0.032 %");
  EXPECT_EQ(share_text(NAN), "–");
  EXPECT_EQ(error_text(3.14e-6), "3.1e-06");
  EXPECT_EQ(error_text(0), "0");
  EXPECT_EQ(error_text(INFINITY), "inf");
  EXPECT_EQ(error_text(NAN), "–");
  EXPECT_EQ(parameter_text(1e6), "1e6");
  EXPECT_EQ(parameter_text(100), "100");
  EXPECT_EQ(parameter_text(0.3), "0.3");
  EXPECT_EQ(parameter_text(1e-5), "1e-5");
  EXPECT_EQ(parameter_text(3e7), "3e+07");
  EXPECT_EQ(clock_text(42), "0:42");
  EXPECT_EQ(clock_text(3723), "1:02:03");
  EXPECT_EQ(clock_text(NAN), "–");
}

TEST(Units, WidthsAreColumnsNotBytes) {
  EXPECT_EQ(width("µs σ² –"), 7U);
  EXPECT_EQ(pad_left("µs", 4), "  µs");
  EXPECT_EQ(pad_right("µs", 4), "µs  ");
  EXPECT_EQ(shorten("σ²=1e6", 4), "σ²=…");
  EXPECT_EQ(shorten("short", 10), "short");
}

}  // namespace
}  // namespace elkhorn::report
