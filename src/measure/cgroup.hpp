/// Control groups of Linux, v1 or v2: which ones hold this process, and what processor time they leave it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace elkhorn::measure {

struct ControlGroup {
  std::filesystem::path folder;  ///< whose files say the limits; may not exist
  bool v2 = false;
};

/// The groups of a controller ("memory", "cpu") that hold this process, from its own up to the root: limits hold at
/// every level. Some may not be visible (a container shows its own group as the root of the mount, yet may name the host's
/// path). `root` is for tests: a folder that stands for "/".
std::vector<ControlGroup> control_groups(const std::string& controller, const std::filesystem::path& root = "/");

/// Seconds of processor time a second that the tightest group allows all its processes together; nothing where none
/// limits it.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

}  // namespace elkhorn::measure
