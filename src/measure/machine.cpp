#include "measure/machine.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "core/counted.hpp"
#include "measure/placement.hpp"
#include "measure/topology.hpp"

namespace elkhorn::measure {

namespace {

namespace fs = std::filesystem;

/// The first line of a file; nothing where it cannot be read.
std::optional<std::string> line_of(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  return line.substr(0, line.find_last_not_of(" \t\r\n") + 1);
}

std::optional<double> number_in(const fs::path& file) {
  const auto line = line_of(file);
  double value = 0;
  if (!line || !(std::istringstream(*line) >> value)) return std::nullopt;
  return value;
}

fs::path folder_of(long processor, const std::string& root) {
  return fs::path(root) / "sys/devices/system/cpu" / fmt::format("cpu{}", processor);
}

/// Seconds of processor time of this process, all threads.
double own_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

}  // namespace

std::vector<long> processors_of(const std::vector<std::string>& allowed) {
  std::set<long> found;
  for (const std::string& list : allowed) {
    const Bitmap set = make_bitmap();
    if (hwloc_bitmap_list_sscanf(set.get(), list.c_str()) != 0) continue;
    for (int i = hwloc_bitmap_first(set.get()); i >= 0; i = hwloc_bitmap_next(set.get(), i)) found.insert(i);
  }
  return {found.begin(), found.end()};
}

double busy_seconds(const std::vector<long>& processors, const std::string& root) {
  std::ifstream in(fs::path(root) / "proc/stat");
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  double total = 0;
  std::size_t found = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("cpu", 0) != 0 || line.size() < 4 || line[3] == ' ') continue;
    std::istringstream words(line.substr(3));
    long processor = -1;
    words >> processor;
    if (!std::binary_search(processors.begin(), processors.end(), processor)) continue;
    // user nice system idle iowait irq softirq steal; guests are counted in user
    double value = 0;
    int column = 0;
    for (; column < 8 && words >> value; ++column)
      if (column != 3 && column != 4) total += value;
    if (column < 4) return -1;
    ++found;
  }
  return found == processors.size() && found > 0 && ticks > 0 ? total / ticks : -1;
}

long throttle_events(const std::vector<long>& processors, const std::string& root) {
  double events = 0;
  bool found = false;
  for (const long processor : processors)
    for (const char* counter : {"core_throttle_count", "package_throttle_count"})
      if (const auto count = number_in(folder_of(processor, root) / "thermal_throttle" / counter)) {
        events += *count;
        found = true;
      }
  return found ? static_cast<long>(events) : -1;
}

std::string frequency_governor(const std::vector<long>& processors, const std::string& root) {
  std::set<std::string> found;
  for (const long processor : processors) {
    const fs::path folder = folder_of(processor, root) / "cpufreq";
    const auto governor = line_of(folder / "scaling_governor");
    if (!governor) continue;
    const auto driver = line_of(folder / "scaling_driver");
    found.insert(*governor + (driver ? " (" + *driver + ")" : ""));
  }
  if (found.empty()) return "unavailable: this machine shows no cpufreq governor (a virtual machine or a container?)";
  std::string text;
  for (const std::string& one : found) text += (text.empty() ? "" : ", ") + one;
  return text;
}

bool slows_down(const std::string& governor) {
  if (governor.find("pstate") != std::string::npos) return false;
  for (const char* name : {"powersave", "ondemand", "conservative"})
    if (governor.find(name) != std::string::npos) return true;
  return false;
}

QuietWatch::QuietWatch(const parallel::Comm& comm) : comm_(comm), node_(comm.split_by_node()) {
  processors_ = node_.broadcast(processors_of(node_.gather(local_placement().allowed)));
}

QuietWatch::Reading QuietWatch::read() const {
  Reading reading;
  reading.own_s = node_.sum(own_seconds());
  if (node_.is_root()) {
    reading.busy_s = busy_seconds(processors_);
    reading.throttled = throttle_events(processors_);
  }
  reading.wall_s = timer_.seconds();
  return reading;
}

QuietWatch::Reading QuietWatch::read_after(const Reading& from) const {
  const double rest = from.wall_s + shortest_s - timer_.seconds();
  if (rest > 0) std::this_thread::sleep_for(std::chrono::duration<double>(rest));
  comm_.barrier();  // else own work of a rank that is late would be seen, and not counted
  return read();
}

double QuietWatch::others(const Reading& from, const Reading& to) const {
  constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
  double busy = 0;
  if (node_.is_root()) {
    const double wall = to.wall_s - from.wall_s;
    const bool known = wall >= shortest_s && from.busy_s >= 0 && to.busy_s >= 0;
    busy = known ? std::max(0.0, (to.busy_s - from.busy_s - (to.own_s - from.own_s)) / wall) : unknown;
  }
  return comm_.max(busy);
}

long QuietWatch::throttled(const Reading& from, const Reading& to) const {
  return comm_.sum(node_.is_root() && from.throttled >= 0 ? std::max(0L, to.throttled - from.throttled) : 0L);
}

EnergyMeter::EnergyMeter(const parallel::Comm& comm, const std::string& root) {
  const parallel::Comm node = comm.split_by_node();
  bool here = true;
  if (node.is_root()) {
    const fs::path folder = fs::path(root) / "sys/class/powercap";
    std::string problem = "there is no " + folder.string() + " (no RAPL, a virtual machine or a container?)";
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      const auto name = line_of(entry.path() / "name");
      if (!name || name->rfind("package", 0) != 0) continue;  // cores and memory are parts of a package or beside it
      const fs::path counter = entry.path() / "energy_uj";
      const auto range = number_in(entry.path() / "max_energy_range_uj");
      if (!number_in(counter) || !range) {
        problem = counter.string() + " cannot be read (only root may, on most systems)";
        zones_.clear();
        break;
      }
      zones_.push_back({counter.string(), *range, 0});
    }
    here = !zones_.empty();
    source_ = here ? "powercap: " + counted(static_cast<long>(zones_.size()), "package") : "unavailable: " + problem;
  }
  source_ = comm.broadcast(source_);
  available_ = comm.min(here ? 1L : 0L) == 1;
}

void EnergyMeter::start() {
  if (!available_) return;
  for (Zone& zone : zones_) zone.before = number_in(zone.file).value_or(zone.before);
}

double EnergyMeter::stop() {
  double joules = 0;
  if (!available_) return joules;
  for (const Zone& zone : zones_) {
    const double now = number_in(zone.file).value_or(zone.before);
    joules += 1e-6 * (now >= zone.before ? now - zone.before : now + zone.range - zone.before);
  }
  return joules;
}

}  // namespace elkhorn::measure
