#include "measure/cgroup.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

namespace elkhorn::measure {

namespace fs = std::filesystem;

namespace {

bool names(const std::string& list, const std::string& controller) {
  return ("," + list + ",").find("," + controller + ",") != std::string::npos;
}

/// Where a hierarchy is mounted, its kind, and this process's place in it.
struct Hierarchy {
  fs::path mount;
  bool v2 = false;
  std::string group;  ///< from the mount's root, "/" in front
};

/// /proc/self/mounts gives the mount points, /proc/self/cgroup the group ("4:memory:/a/b", for v2 "0::/a/b").
std::vector<Hierarchy> hierarchies(const std::string& controller, const fs::path& root) {
  std::vector<Hierarchy> found;
  std::ifstream mounts(root / "proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, point, type, options;
    words >> device >> point >> type >> options;
    if (point.empty() || (type != "cgroup2" && !(type == "cgroup" && names(options, controller)))) continue;
    found.push_back({root / point.substr(1), type == "cgroup2", "/"});
  }
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    for (Hierarchy& hierarchy : found)
      if (hierarchy.v2 ? controllers.empty() : names(controllers, controller))
        hierarchy.group = line.substr(second + 1);
  }
  return found;
}

}  // namespace

std::vector<ControlGroup> control_groups(const std::string& controller, const fs::path& root) {
  std::vector<ControlGroup> levels;
  for (const Hierarchy& hierarchy : hierarchies(controller, root)) {
    fs::path group = fs::path(hierarchy.group).relative_path();
    for (bool more = true; more;) {
      levels.push_back({hierarchy.mount / group, hierarchy.v2});
      more = !group.empty();
      group = group.parent_path();
    }
  }
  return levels;
}

std::optional<double> cpu_quota(const fs::path& root) {
  std::optional<double> least;
  for (const ControlGroup& group : control_groups("cpu", root)) {
    double quota = 0, period = 0;  // microseconds; "max" or -1 is no limit
    if (group.v2) {
      std::ifstream(group.folder / "cpu.max") >> quota >> period;
    } else {
      std::ifstream(group.folder / "cpu.cfs_quota_us") >> quota;
      std::ifstream(group.folder / "cpu.cfs_period_us") >> period;
    }
    if (quota > 0 && period > 0)
      least = std::min(quota / period, least.value_or(std::numeric_limits<double>::infinity()));
  }
  return least;
}

}  // namespace elkhorn::measure
