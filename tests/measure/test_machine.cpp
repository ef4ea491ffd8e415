#include "measure/machine.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "measure/timer.hpp"

namespace elkhorn::measure {
namespace {

namespace fs = std::filesystem;

/// A folder that stands for "/", one a rank, removed in the end.
class FakeMachine : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("elkhorn-machine-" + std::to_string(getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  fs::path root_;
  parallel::Comm comm_;
};

TEST_F(FakeMachine, BusySecondsAreThoseOfTheProcessorsNamed) {
  EXPECT_LT(busy_seconds({0}, root_), 0) << "there is no proc/stat";
  //                               user nice system idle iowait irq softirq steal guest nice
  write("proc/stat",
        "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 20 30 7000 500 1 2 40 100 0\ncpu1 1000 0 0 9 0 0 0 0 0 0\nintr 5\n");
  const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  EXPECT_NEAR(busy_seconds({0}, root_), 193 * tick, 1e-12);
  EXPECT_NEAR(busy_seconds({0, 1}, root_), 1193 * tick, 1e-12);
  EXPECT_LT(busy_seconds({0, 2}, root_), 0) << "processor 2 is not there";
  EXPECT_LT(busy_seconds({}, root_), 0);
}

TEST_F(FakeMachine, GovernorsAndThrottling) {
  EXPECT_EQ(frequency_governor({0}, root_).rfind("unavailable: ", 0), 0u);
  EXPECT_EQ(throttle_events({0}, root_), -1);
  write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n");
  write("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "acpi-cpufreq\n");
  write("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n");
  write("sys/devices/system/cpu/cpu1/cpufreq/scaling_driver", "intel_pstate\n");
  write("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n");
  write("sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count", "4\n");
  EXPECT_EQ(frequency_governor({0}, root_), "ondemand (acpi-cpufreq)");
  EXPECT_EQ(frequency_governor({0, 1}, root_), "ondemand (acpi-cpufreq), powersave (intel_pstate)");
  EXPECT_EQ(throttle_events({0, 1}, root_), 7);
  EXPECT_TRUE(slows_down("ondemand (acpi-cpufreq)"));
  EXPECT_TRUE(slows_down("powersave"));
  EXPECT_FALSE(slows_down("powersave (intel_pstate)")) << "the hardware chooses";
  EXPECT_FALSE(slows_down("performance (acpi-cpufreq)"));
  EXPECT_FALSE(slows_down(frequency_governor({5}, root_))) << "not known is not slow";
}

TEST_F(FakeMachine, EnergyIsTheSumOfThePackagesAndSurvivesAWrap) {
  {
    const EnergyMeter none(comm_, root_);
    EXPECT_FALSE(none.available());
    EXPECT_EQ(none.source().rfind("unavailable: ", 0), 0u);
  }
  const auto zone = [&](int i, const std::string& name, const std::string& energy) {
    const fs::path folder = fs::path("sys/class/powercap") / ("intel-rapl:" + std::to_string(i));
    write(folder / "name", name + "\n");
    write(folder / "energy_uj", energy + "\n");
    write(folder / "max_energy_range_uj", "1000000000\n");
  };
  zone(0, "package-0", "5000000");
  zone(1, "package-1", "999000000");
  zone(2, "psys", "1");
  EnergyMeter meter(comm_, root_);
  ASSERT_TRUE(meter.available()) << meter.source();
  EXPECT_EQ(meter.source(), "powercap: 2 packages");
  meter.start();
  zone(0, "package-0", "7000000");  // 2 J
  zone(1, "package-1", "500000");   // 1.5 J, over the end of the counter
  zone(2, "psys", "900000000");
  EXPECT_NEAR(comm_.sum(meter.stop()), 3.5, 1e-9);  // one rank of the host reads
}

TEST(Processors, AreReadFromLists) {
  EXPECT_EQ(processors_of({"0-2,8", "2-3"}), (std::vector<long>{0, 1, 2, 3, 8}));
  EXPECT_TRUE(processors_of({""}).empty());
}

double burn(double seconds) {
  const Timer timer;
  volatile double x = 1;
  while (timer.seconds() < seconds)
    for (int i = 0; i < 1000; ++i) x = x * 1.0000001;
  return x;
}

TEST(QuietWatch, OwnWorkIsNotOthers) {
  const parallel::Comm comm;
  const QuietWatch watch(comm);
  ASSERT_FALSE(watch.processors().empty());
  const auto from = watch.read();
  EXPECT_TRUE(std::isnan(watch.others(from, watch.read()))) << "too short to say";
  EXPECT_GE(watch.read_after(from).wall_s - from.wall_s, QuietWatch::shortest_s);
  burn(0.6);
  const auto to = watch.read();
  if (comm.min(to.busy_s) < 0) GTEST_SKIP() << "this machine does not tell how busy it is";
  EXPECT_GE(to.own_s - from.own_s, 0.1) << "the watch does not see this process work";
  const double others = watch.others(from, to);
  // Others may be at work; more than all processors they cannot keep busy.
  EXPECT_GE(others, 0);
  EXPECT_LE(others, static_cast<double>(watch.processors().size()) + 0.1);
  EXPECT_EQ(watch.throttled(from, from), 0);
}

TEST(QuietWatch, CountsWhatIsBusyBesidesOwnWork) {
  const parallel::Comm comm;
  const QuietWatch watch(comm);
  QuietWatch::Reading from, to;
  from.wall_s = 10;
  from.busy_s = 100;
  from.own_s = 50;
  to.wall_s = 12;
  to.busy_s = 105;  // 5 s in 2 s of two processors and more
  to.own_s = 52;
  EXPECT_NEAR(watch.others(from, to), 1.5, 1e-12);
  to.own_s = 56;  // processor time comes in ticks: never negative
  EXPECT_EQ(watch.others(from, to), 0);
  to.busy_s = -1;
  EXPECT_TRUE(std::isnan(watch.others(from, to)));
  to.throttled = 3;
  const parallel::Comm node = comm.split_by_node();
  EXPECT_EQ(watch.throttled(from, to), 3 * comm.sum(node.is_root() ? 1L : 0L));
}

TEST(Timer, ItsOwnQualityIsMeasured) {
  const TimerQuality clock = measure_timer();
  EXPECT_GT(clock.resolution_s, 0);
  EXPECT_LT(clock.resolution_s, 1e-3);
  EXPECT_GT(clock.overhead_s, 0);
  EXPECT_LT(clock.overhead_s, 1e-3);
}

}  // namespace
}  // namespace elkhorn::measure
