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

/// Where the hierarchy for memory is mounted, its kind, and this process's place in it.
struct Hierarchy {
  fs::path mount;
  bool v2 = false;
  std::string group;  ///< from the mount's root, "/" in front
};

/// /proc/self/mounts gives the mount points, /proc/self/cgroup the group ("4:memory:/a/b", for v2 "0::/a/b").
std::vector<Hierarchy> hierarchies(const fs::path& root) {
  std::vector<Hierarchy> found;
  std::ifstream mounts(root / "proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, point, type, options;
    words >> device >> point >> type >> options;
    const bool v1_memory = type == "cgroup" && ("," + options + ",").find(",memory,") != std::string::npos;
    if (point.empty() || (type != "cgroup2" && !v1_memory)) continue;
    found.push_back({root / point.substr(1), type == "cgroup2", "/"});
  }
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v1_memory = ("," + controllers + ",").find(",memory,") != std::string::npos;
    for (Hierarchy& hierarchy : found)
      if (hierarchy.v2 ? controllers.empty() : v1_memory) hierarchy.group = line.substr(second + 1);
  }
  return found;
}

}  // namespace

double resident_bytes() {
  const std::optional<double> rss = field("/proc/self/status", "VmRSS:");
  return rss ? *rss * kib : lifetime_peak_bytes();
}

PeakMemory::PeakMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
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
  for (const Hierarchy& hierarchy : hierarchies(root)) {
    // Limits hold at every level. A level that cannot be seen (a container shows its own group as the root of
    // the mount, yet may name the host's path) is passed over.
    fs::path group = fs::path(hierarchy.group).relative_path();
    for (bool more = true; more;) {
      const fs::path at = hierarchy.mount / group;
      const std::optional<double> left =
          hierarchy.v2 ? left_at(at, "memory.max", "memory.current", "inactive_file")
                       : left_at(at, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
      if (left) least = std::min(*left, least.value_or(std::numeric_limits<double>::infinity()));
      more = !group.empty();
      group = group.parent_path();
    }
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
