#include "measure/environment.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <hwloc.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <set>
#include <sstream>
#include <type_traits>

#include "core/version.hpp"
#include "measure/machine.hpp"
#include "measure/memory.hpp"
#include "measure/timer.hpp"
#include "measure/topology.hpp"

namespace elkhorn::measure {

namespace {

using parallel::check;

std::string trimmed(const std::string& text) {
  const char* const space = " \t\r\n";
  const std::size_t first = text.find_first_not_of(space);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(space) - first + 1);
}

std::string or_unknown(const std::string& text) { return text.empty() ? "unknown" : text; }

/// The value of a "name : value" or NAME="value" line of a file.
std::string line_value(const std::string& file, const std::string& name, char separator) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const std::size_t at = line.find(separator);
    if (at == std::string::npos || trimmed(line.substr(0, at)) != name) continue;
    std::string value = trimmed(line.substr(at + 1));
    value.erase(std::remove(value.begin(), value.end(), '"'), value.end());
    return value;
  }
  return "";
}

/// A shell would read the words of the result as `argv`.
std::string command_line(const std::vector<std::string>& argv) {
  std::string line;
  for (const std::string& word : argv) {
    const bool plain = !word.empty() && word.find_first_of(" \t\n'\"\\$`*?[](){}<>|&;#~!") == std::string::npos;
    std::string quoted = word;
    if (!plain) {
      quoted = "'";
      for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
      quoted += "'";
    }
    line += (line.empty() ? "" : " ") + quoted;
  }
  return line;
}

/// A function of whatever libraries are loaded, or null: the BLAS is chosen when the program starts.
template <class Function>
Function* loaded(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

using Attributes = std::vector<std::pair<std::string, Value>>;

void add_build(Attributes& out) {
  out.emplace_back("version", std::string(build::version));
  out.emplace_back("git_sha", or_unknown(std::string(build::git_sha)));
  out.emplace_back("git_dirty", static_cast<long>(build::git_dirty));
  out.emplace_back("build_type", or_unknown(std::string(build::build_type)));
  out.emplace_back("compiler", or_unknown(std::string(build::compiler)));
  out.emplace_back("flags", or_unknown(trimmed(std::string(build::flags))));
}

void add_kokkos(Attributes& out) {
  out.emplace_back("kokkos_version",
                   fmt::format("{}.{}.{}", KOKKOS_VERSION / 10000, KOKKOS_VERSION / 100 % 100, KOKKOS_VERSION % 100));
  out.emplace_back("kokkos_backend", std::string(Kokkos::DefaultExecutionSpace::name()));
  out.emplace_back("kokkos_host_backend", std::string(Kokkos::DefaultHostExecutionSpace::name()));
  out.emplace_back("kokkos_concurrency", static_cast<long>(Kokkos::DefaultExecutionSpace().concurrency()));
  std::ostringstream configuration;
  Kokkos::print_configuration(configuration, true);
  out.emplace_back("kokkos_configuration", trimmed(configuration.str()));
}

void add_mpi(Attributes& out, const parallel::Comm& comm) {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> library{};
  int length = 0;
  check(MPI_Get_library_version(library.data(), &length), "MPI_Get_library_version");
  const std::string text(library.data());
  out.emplace_back("mpi", or_unknown(trimmed(text.substr(0, text.find('\n')))));
  int major = 0, minor = 0;
  check(MPI_Get_version(&major, &minor), "MPI_Get_version");
  out.emplace_back("mpi_standard", fmt::format("{}.{}", major, minor));
  int level = MPI_THREAD_SINGLE;
  check(MPI_Query_thread(&level), "MPI_Query_thread");
  out.emplace_back("mpi_thread_level", std::string(level == MPI_THREAD_MULTIPLE     ? "multiple"
                                                   : level == MPI_THREAD_SERIALIZED ? "serialized"
                                                   : level == MPI_THREAD_FUNNELED   ? "funneled"
                                                                                    : "single"));
  out.emplace_back("mpi_reads_device_memory", static_cast<long>(parallel::reads_device_memory()));
  out.emplace_back("ranks", static_cast<long>(comm.size()));
}

void add_hdf5(Attributes& out) {
  unsigned major = 0, minor = 0, release = 0;
  out.emplace_back("hdf5", H5get_libversion(&major, &minor, &release) < 0
                               ? std::string("unknown")
                               : fmt::format("{}.{}.{}", major, minor, release));
}

void add_blas(Attributes& out) {
  std::string name = "unknown";
  long threads = -1;
  if (auto* const config = loaded<char*()>("openblas_get_config")) {
    name = trimmed(config());
    // No library says so without a version: old ones have "NO_LAPACKE …" here.
    if (name.rfind("OpenBLAS", 0) != 0) name = "OpenBLAS " + name;
    if (auto* const count = loaded<int()>("openblas_get_num_threads")) threads = count();
  } else if (auto* const mkl = loaded<void(char*, int)>("MKL_Get_Version_String")) {
    std::array<char, 256> text{};
    mkl(text.data(), static_cast<int>(text.size()) - 1);
    name = trimmed(text.data());
    if (auto* const count = loaded<int()>("MKL_Get_Max_Threads")) threads = count();
  } else if (auto* const blis = loaded<const char*()>("bli_info_get_version_str")) {
    name = std::string("BLIS ") + blis();
    if (auto* const count = loaded<long()>("bli_thread_get_num_threads")) threads = count();
  }
  Dl_info where{};
  void* const gemm = dlsym(RTLD_DEFAULT, "dgemm_");
  const bool found = gemm != nullptr && dladdr(gemm, &where) != 0 && where.dli_fname != nullptr;
  if (name == "unknown" && gemm == nullptr) name = "none";
  out.emplace_back("blas", name);
  out.emplace_back("blas_library", found ? std::string(where.dli_fname) : std::string("none"));
  if (threads >= 0) out.emplace_back("blas_threads", threads);
}

void add_machine(Attributes& out, const std::string& host) {
  out.emplace_back("host", host);
  utsname os{};
  if (uname(&os) == 0) {
    const std::string name = line_value("/etc/os-release", "PRETTY_NAME", '=');
    out.emplace_back("os",
                     fmt::format("{}{}{} {} {}", name, name.empty() ? "" : ", ", os.sysname, os.release, os.machine));
  }

  const Topology topology = load_topology();
  hwloc_topology_t raw = topology.get();
  const auto count = [raw](hwloc_obj_type_t type) { return std::max(0, hwloc_get_nbobjs_by_type(raw, type)); };
  std::string cpu = line_value("/proc/cpuinfo", "model name", ':');
  if (auto* package = hwloc_get_obj_by_type(raw, HWLOC_OBJ_PACKAGE, 0); package && cpu.empty()) {
    if (const char* model = hwloc_obj_get_info_by_name(package, "CPUModel")) cpu = model;
  }
  out.emplace_back("cpu", or_unknown(cpu));
  out.emplace_back("cpu_sockets", static_cast<long>(count(HWLOC_OBJ_PACKAGE)));
  out.emplace_back("cpu_numa_nodes", static_cast<long>(count(HWLOC_OBJ_NUMANODE)));
  out.emplace_back("cpu_cores", static_cast<long>(count(HWLOC_OBJ_CORE)));
  out.emplace_back("cpu_hardware_threads", static_cast<long>(count(HWLOC_OBJ_PU)));
  out.emplace_back("cpu_allowed_hardware_threads",
                   static_cast<long>(hwloc_bitmap_weight(hwloc_topology_get_allowed_cpuset(raw))));
  const std::pair<const char*, hwloc_obj_type_t> caches[] = {
      {"cpu_l1d", HWLOC_OBJ_L1CACHE}, {"cpu_l2", HWLOC_OBJ_L2CACHE}, {"cpu_l3", HWLOC_OBJ_L3CACHE}};
  for (const auto& [name, type] : caches) {
    auto* cache = hwloc_get_obj_by_type(raw, type, 0);
    if (!cache) continue;
    out.emplace_back(fmt::format("{}_bytes", name), static_cast<double>(cache->attr->cache.size));
    out.emplace_back(fmt::format("{}_caches", name), static_cast<long>(count(type)));
  }
  // Not hwloc's sum over NUMA nodes, which was seen to miss memory plugged in later.
  std::istringstream total(line_value("/proc/meminfo", "MemTotal", ':'));
  if (double kib = 0; total >> kib) out.emplace_back("memory_bytes", kib * 1024);
}

/// What the processors and the clock are like just now.
void add_state(Attributes& out, const std::vector<long>& processors) {
  out.emplace_back("cpu_governor", frequency_governor(processors));
  const long throttled = throttle_events(processors);
  out.emplace_back("cpu_throttling", throttled < 0 ? std::string("unavailable: this machine shows no thermal_throttle")
                                                   : fmt::format("{} events since the host started", throttled));
  const TimerQuality clock = measure_timer();
  out.emplace_back("timer_resolution_s", clock.resolution_s);
  out.emplace_back("timer_overhead_s", clock.overhead_s);
}

/// Variables that change what runs where. Launchers' own bookkeeping (OMPI_MCA_orte_…) is left out.
void add_variables(Attributes& out) {
  static const std::array<const char*, 23> prefixes = {
      "OMP_",           "KOKKOS_",        "OPENBLAS_",      "GOMP_",          "MKL_",         "KMP_",
      "GOTO_",          "BLIS_",          "OMPI_MCA_btl",   "OMPI_MCA_coll",  "OMPI_MCA_pml", "OMPI_MCA_mpi_",
      "OMPI_MCA_rmaps", "OMPI_MCA_hwloc", "PRTE_MCA_rmaps", "PRTE_MCA_hwloc", "UCX_TLS",      "CUDA_VISIBLE_DEVICES",
      "HIP_VISIBLE_",   "ROCR_VISIBLE_",  "SLURM_JOB_ID",   "SLURM_CPU_BIND", "MALLOC_"};
  std::set<std::string> found;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string text = *variable;
    if (text.find('=') == std::string::npos) continue;
    if (std::any_of(prefixes.begin(), prefixes.end(), [&](const char* prefix) { return text.rfind(prefix, 0) == 0; }))
      found.insert(text);
  }
  for (const std::string& text : found) {
    const std::size_t equals = text.find('=');
    out.emplace_back("env." + text.substr(0, equals), text.substr(equals + 1));
  }
}

std::string join(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

std::string human_bytes(double bytes) {
  const std::array<const char*, 5> units = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < units.size(); ++unit) bytes /= 1024;
  return fmt::format("{:.4g} {}", bytes, units[unit]);
}

std::string shown(const std::string& name, const Value& value) {
  static const std::string suffix = "_bytes";
  const bool is_size =
      name.size() > suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
  return std::visit(
      [&](const auto& v) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>)
          return v;
        else
          return is_size ? human_bytes(static_cast<double>(v)) : fmt::format("{}", v);
      },
      value);
}

}  // namespace

const Value* Environment::find(const std::string& name) const {
  for (const auto& [key, value] : attributes)
    if (key == name) return &value;
  return nullptr;
}

Environment collect_environment(const parallel::Comm& comm, const std::vector<std::string>& argv) {
  Environment env;
  Attributes& out = env.attributes;
  // What only this rank does may throw here (an unreadable machine); what is collective comes after it is agreed.
  Placement here;
  const std::optional<std::string> error = comm.attempt([&] {
    add_build(out);
    add_kokkos(out);
    add_mpi(out, comm);
    add_hdf5(out);
    add_blas(out);
    here = local_placement();
    add_machine(out, here.host);
    add_state(out, processors_of({here.allowed}));
  });
  if (error) throw parallel::AgreedError(*error);

  env.placement = gather_placement(comm, here);
  env.warnings = placement_warnings(env.placement);
  const parallel::Comm node = comm.split_by_node();
  const double free_bytes = free_bytes_per_rank(comm);
  const long ranks_per_node = comm.max(static_cast<long>(node.size()));
  const long nodes = comm.sum(node.is_root() ? 1L : 0L);
  const long node_threads = node.sum(here.threads);
  out.emplace_back("memory_free_per_rank_bytes", free_bytes);
  out.emplace_back("energy", EnergyMeter(comm).source());
  out.emplace_back("nodes", nodes);
  out.emplace_back("ranks_per_node", ranks_per_node);
  out.emplace_back("threads", here.threads);
  if (comm.is_root()) out.emplace_back("placement", placement_table(env.placement));

  std::array<double, 1> load{};
  if (getloadavg(load.data(), 1) == 1) {
    out.emplace_back("load_average_1min", load[0]);
    const long processors = std::get<long>(*env.find("cpu_allowed_hardware_threads"));
    // An oversubscribed run has its warning already.
    if (comm.is_root() && load[0] >= 0.5 && node_threads <= processors &&
        load[0] + static_cast<double>(node_threads) > static_cast<double>(processors))
      env.warnings.push_back(fmt::format(
          "host {}: busy: the load average of the last minute is {:.1f} and this run wants {} of {} hardware threads; "
          "other work may disturb the times",
          here.host, load[0], node_threads, processors));
  }
  if (comm.is_root()) out.emplace_back("warnings", env.warnings.empty() ? std::string("none") : join(env.warnings));
  out.emplace_back("argv", or_unknown(command_line(argv)));
  out.emplace_back("started", utc_timestamp());
  add_variables(out);
  return env;
}

std::string render(const Environment& environment) {
  std::size_t width = 0;
  for (const auto& [name, value] : environment.attributes) width = std::max(width, name.size());
  std::string text;
  for (const auto& [name, value] : environment.attributes) {
    if (name == "warnings") continue;  // at the end, where they are seen
    const std::string all = shown(name, value);
    if (all.find('\n') == std::string::npos) {
      text += fmt::format("{:<{}}  {}\n", name, width, all);
      continue;
    }
    text += name + "\n";
    std::istringstream lines(all);
    for (std::string line; std::getline(lines, line);) text += "    " + line + "\n";
  }
  for (const std::string& warning : environment.warnings) text += "warning: " + warning + "\n";
  return text;
}

std::string utc_timestamp(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

}  // namespace elkhorn::measure
