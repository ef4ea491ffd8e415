#include "measure/memory.hpp"

#include <sys/resource.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

#include "measure/cgroup.hpp"

namespace elkhorn::measure {

namespace fs = std::filesystem;

namespace {

constexpr double kib = 1024;

/// The number after `key` at the start of a line of `file` ("VmHWM:  123 kB", "inactive_file 42").
std::optional<double> field(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word;
    double value = 0;
    if (words >> word && word == key && words >> value) return value;
  }
  return std::nullopt;
}

/// The first number in `file`; nothing where it has another word ("max") or cannot be read.
std::optional<double> number(const fs::path& file) {
  std::ifstream in(file);
  double value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

void return_freed_heap() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

double lifetime_peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * kib;
}

/// What one level of control groups leaves; nothing where it sets no limit.
std::optional<double> left_at(const fs::path& group, const char* limit_file, const char* usage_file,
                              const char* cache_key) {
  const std::optional<double> limit = number(group / limit_file);
  // v1 says "no limit" with a number near 2^63
  if (!limit || *limit > 0x1p60) return std::nullopt;
  const double used = number(group / usage_file).value_or(0) - field(group / "memory.stat", cache_key).value_or(0);
  return std::max(0.0, *limit - std::max(0.0, used));
}

}  // namespace

double resident_bytes() {
  const std::optional<double> rss = field("/proc/self/status", "VmRSS:");
  return rss ? *rss * kib : lifetime_peak_bytes();
}

void return_freed_arrays() {
#ifdef __GLIBC__
  // Below it stays what is allocated again and again while cases run.
  constexpr int threshold = 4 << 20;
  mallopt(M_MMAP_THRESHOLD, threshold);
#endif
}

double program_bytes(const parallel::Comm& comm) {
  return_freed_heap();
  return comm.max(resident_bytes());
}

PeakMemory::PeakMemory() {
  return_freed_heap();
  std::ofstream clear("/proc/self/clear_refs");
  clear << "5" << std::flush;  // 5: reset VmHWM (proc(5))
  reset_ = clear.good() && field("/proc/self/status", "VmHWM:").has_value();
}

double PeakMemory::bytes() const {
  if (reset_) {
    if (const std::optional<double> peak = field("/proc/self/status", "VmHWM:")) return *peak * kib;
  }
  return lifetime_peak_bytes();
}

std::optional<double> cgroup_free_bytes(const fs::path& root) {
  std::optional<double> least;
  for (const ControlGroup& group : control_groups("memory", root)) {
    const std::optional<double> left =
        group.v2 ? left_at(group.folder, "memory.max", "memory.current", "inactive_file")
                 : left_at(group.folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
    if (left) least = std::min(*left, least.value_or(std::numeric_limits<double>::infinity()));
  }
  return least;
}

FreeMemory free_memory(const fs::path& root) {
  FreeMemory out{std::numeric_limits<double>::infinity(), "machine"};
  if (const std::optional<double> available = field(root / "proc/meminfo", "MemAvailable:")) {
    out.bytes = *available * kib;
  } else {
    const long pages = sysconf(_SC_AVPHYS_PAGES);
    if (pages > 0) out.bytes = static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE));
  }
  if (const std::optional<double> group = cgroup_free_bytes(root); group && *group < out.bytes)
    out = {*group, "cgroup"};
  return out;
}

double free_bytes_per_rank(const parallel::Comm& comm) {
  const parallel::Comm node = comm.split_by_node();
  return comm.min(free_memory().bytes / node.size());
}

}  // namespace elkhorn::measure
