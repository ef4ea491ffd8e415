#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "measure/cgroup.hpp"
#include "measure/memory.hpp"

namespace elkhorn::measure {
namespace {

namespace fs = std::filesystem;

constexpr double mib = 1024.0 * 1024.0;

/// Touches `bytes` and gives them back, past the allocator, which might keep them.
void touch(std::size_t bytes) {
  void* const block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(block, MAP_FAILED);
  std::memset(block, 1, bytes);
  // Read back, or the compiler may drop the whole.
  const volatile char sink = static_cast<volatile char*>(block)[bytes / 2];
  EXPECT_EQ(sink, 1);
  EXPECT_EQ(munmap(block, bytes), 0);
}

TEST(PeakMemory, SeesATouchedAllocation) {
  const double before = resident_bytes();
  const PeakMemory peak;
  touch(64u << 20);
  EXPECT_GE(peak.bytes(), before + 60 * mib);
  EXPECT_LT(resident_bytes(), before + 60 * mib) << "the block is not given back, so the test shows nothing";
}

TEST(PeakMemory, ForgetsWhatCameBefore) {
  touch(96u << 20);
  const double before = resident_bytes();
  const PeakMemory peak;
  if (!peak.since_construction()) GTEST_SKIP() << "this kernel does not reset the peak";
  EXPECT_LT(peak.bytes(), before + 48 * mib);
  touch(64u << 20);
  EXPECT_LT(peak.bytes(), before + 90 * mib);
}

/// A folder that stands for "/", removed in the end.
class FakeRoot : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("elkhorn-memory-" + std::to_string(getpid()));
    fs::remove_all(root_);
    write("proc/meminfo", "MemTotal: 2000 kB\nMemFree: 10 kB\nMemAvailable:  1000 kB\n");
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  fs::path root_;
};

TEST_F(FakeRoot, WithoutGroupsTheMachineLimits) {
  const FreeMemory free = free_memory(root_);
  EXPECT_EQ(free.bytes, 1000 * 1024.0);
  EXPECT_EQ(free.limited_by, "machine");
  EXPECT_FALSE(cgroup_free_bytes(root_));
}

TEST_F(FakeRoot, V2TakesTheTightestLevelAndCountsCacheAsFree) {
  write("proc/self/mounts", "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n");
  write("proc/self/cgroup", "0::/job/step\n");
  write("sys/fs/cgroup/job/step/memory.max", "max\n");
  write("sys/fs/cgroup/job/step/memory.current", "5000\n");
  EXPECT_FALSE(cgroup_free_bytes(root_)) << "max is no limit";
  write("sys/fs/cgroup/job/memory.max", "100000\n");
  write("sys/fs/cgroup/job/memory.current", "70000\n");
  write("sys/fs/cgroup/job/memory.stat", "anon 1\ninactive_file 20000\n");
  EXPECT_EQ(cgroup_free_bytes(root_), 50000.0);
  write("sys/fs/cgroup/job/step/memory.max", "6000\n");
  EXPECT_EQ(cgroup_free_bytes(root_), 1000.0);
  EXPECT_EQ(free_memory(root_).bytes, 1000.0);
  EXPECT_EQ(free_memory(root_).limited_by, "cgroup");
  write("sys/fs/cgroup/job/step/memory.current", "7000\n");
  EXPECT_EQ(cgroup_free_bytes(root_), 0.0) << "never negative";
}

TEST_F(FakeRoot, V1KnowsItsWordForNoLimit) {
  write("proc/self/mounts", "cgroup /cg/memory cgroup rw,nosuid,memory 0 0\ncgroup /cg/cpu cgroup rw,cpu 0 0\n");
  write("proc/self/cgroup", "3:cpu:/other\n4:memory:/a\n0::/\n");
  write("cg/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_FALSE(cgroup_free_bytes(root_));
  write("cg/memory/a/memory.limit_in_bytes", "50000\n");
  write("cg/memory/a/memory.usage_in_bytes", "30000\n");
  write("cg/memory/a/memory.stat", "total_inactive_file 4000\n");
  EXPECT_EQ(cgroup_free_bytes(root_), 24000.0);
}

TEST_F(FakeRoot, AContainersOwnGroupIsTheRootOfTheMount) {
  write("proc/self/mounts", "cgroup /cg/memory cgroup rw,memory 0 0\n");
  write("proc/self/cgroup", "4:memory:/docker/0123\n");  // the host's path, not visible here
  write("cg/memory/memory.limit_in_bytes", "50000\n");
  write("cg/memory/memory.usage_in_bytes", "10000\n");
  EXPECT_EQ(cgroup_free_bytes(root_), 40000.0);
}

TEST_F(FakeRoot, ProcessorTimeHasTheTightestLimitToo) {
  EXPECT_FALSE(cpu_quota(root_));
  write("proc/self/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\ncgroup /cg/cpu cgroup rw,cpu,cpuacct 0 0\n");
  write("proc/self/cgroup", "0::/pod/box\n5:cpu,cpuacct:/a\n");
  write("sys/fs/cgroup/pod/box/cpu.max", "max 100000\n");
  write("cg/cpu/a/cpu.cfs_quota_us", "-1\n");
  write("cg/cpu/a/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(cpu_quota(root_)) << "max and -1 are no limit";
  write("sys/fs/cgroup/pod/cpu.max", "350000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 3.5);
  write("sys/fs/cgroup/pod/box/cpu.max", "400000 100000\n");
  EXPECT_EQ(cpu_quota(root_), 3.5);
  write("cg/cpu/a/cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(cpu_quota(root_), 1.5);
}

TEST(FreeMemory, ARanksShareIsTheSameEverywhereAndFitsTheNode) {
  const parallel::Comm comm;
  const double share = free_bytes_per_rank(comm);
  EXPECT_GT(share, 0);
  EXPECT_EQ(comm.max(share), comm.min(share));
  const parallel::Comm node = comm.split_by_node();
  // Other programs come and go between the two readings.
  EXPECT_LT(share * node.size(), 1.5 * free_memory().bytes);
}

}  // namespace
}  // namespace elkhorn::measure
