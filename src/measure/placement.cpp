#include "measure/placement.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <array>
#include <map>

#include "core/counted.hpp"
#include "measure/cgroup.hpp"
#include "measure/topology.hpp"

namespace elkhorn::measure {

namespace {

Bitmap bitmap_of(const std::string& list) {
  Bitmap set = make_bitmap();
  if (hwloc_bitmap_list_sscanf(set.get(), list.c_str()) != 0) hwloc_bitmap_zero(set.get());
  return set;
}

/// One host's ranks.
struct Host {
  std::vector<std::size_t> ranks;
  long threads = 0;
  Bitmap processors = make_bitmap();     ///< union of `allowed`
  bool shared = false;                   ///< two ranks may run on the same hardware thread
  long crowded = -1;                     ///< a rank with more threads than hardware threads
  double quota = 0;                      ///< the largest of the ranks
  std::map<std::string, long> ranks_on;  ///< by device
};

/// PCI address of the accelerator that Kokkos uses, empty on the host.
std::string device_address() {
  std::array<char, 32> address{};
#if defined(KOKKOS_ENABLE_CUDA)
  int device = 0;
  if (cudaGetDevice(&device) == cudaSuccess) static_cast<void>(cudaDeviceGetPCIBusId(address.data(), 31, device));
#elif defined(KOKKOS_ENABLE_HIP)
  int device = 0;
  if (hipGetDevice(&device) == hipSuccess) static_cast<void>(hipDeviceGetPCIBusId(address.data(), 31, device));
#endif
  return address.data();
}

}  // namespace

Placement local_placement() {
  Placement here;
  std::array<char, 256> name{};
  here.host = gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";

  using HostSpace = Kokkos::DefaultHostExecutionSpace;
  here.threads = HostSpace().concurrency();
  std::vector<int> where(static_cast<std::size_t>(here.threads), -1);
  int* const out = where.data();
  Kokkos::parallel_for("elkhorn::placement", Kokkos::RangePolicy<HostSpace>(0, here.threads),
                       [=](const long i) { out[i] = sched_getcpu(); });
  Kokkos::fence();
  const Bitmap observed = make_bitmap();
  for (const int processor : where)
    if (processor >= 0) hwloc_bitmap_set(observed.get(), static_cast<unsigned>(processor));
  here.observed = list_of(observed);

  const Topology topology = load_topology();
  const Bitmap allowed = make_bitmap();
  // PROCESS: all threads together, so it must come after the kernel that starts them.
  if (hwloc_get_cpubind(topology.get(), allowed.get(), HWLOC_CPUBIND_PROCESS) != 0)
    hwloc_bitmap_copy(allowed.get(), hwloc_topology_get_allowed_cpuset(topology.get()));
  here.allowed = list_of(allowed);
  hwloc_obj_t core = nullptr;
  while ((core = hwloc_get_next_obj_by_type(topology.get(), HWLOC_OBJ_CORE, core)) != nullptr)
    if (hwloc_bitmap_intersects(core->cpuset, allowed.get())) ++here.cores;
  here.quota = cpu_quota().value_or(0);
  here.device = device_address();
  return here;
}

std::vector<Placement> gather_placement(const parallel::Comm& comm, const Placement& here) {
  const std::vector<std::string> hosts = comm.gather(here.host);
  const std::vector<std::string> allowed = comm.gather(here.allowed);
  const std::vector<std::string> observed = comm.gather(here.observed);
  const std::vector<std::string> devices = comm.gather(here.device);
  const std::vector<long> threads = comm.allgather(here.threads);
  const std::vector<long> cores = comm.allgather(here.cores);
  const std::vector<double> quotas = comm.allgather(here.quota);
  std::vector<Placement> ranks;
  for (std::size_t r = 0; r < hosts.size(); ++r)
    ranks.push_back({hosts[r], threads[r], allowed[r], observed[r], cores[r], quotas[r], devices[r]});
  return ranks;
}

std::vector<std::string> placement_warnings(const std::vector<Placement>& ranks) {
  std::map<std::string, Host> hosts;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    Host& host = hosts[ranks[r].host];
    const Bitmap allowed = bitmap_of(ranks[r].allowed);
    host.ranks.push_back(r);
    host.threads += ranks[r].threads;
    if (hwloc_bitmap_intersects(allowed.get(), host.processors.get())) host.shared = true;
    if (ranks[r].threads > hwloc_bitmap_weight(allowed.get()) && host.crowded < 0) host.crowded = static_cast<long>(r);
    hwloc_bitmap_or(host.processors.get(), host.processors.get(), allowed.get());
    host.quota = std::max(host.quota, ranks[r].quota);
    if (!ranks[r].device.empty()) ++host.ranks_on[ranks[r].device];
  }
  std::vector<std::string> warnings;
  for (const auto& [name, host] : hosts) {
    const long processors = hwloc_bitmap_weight(host.processors.get());
    const auto crowd =
        std::find_if(host.ranks_on.begin(), host.ranks_on.end(), [](const auto& d) { return d.second > 1; });
    if (host.threads > processors) {
      warnings.push_back(
          fmt::format("host {}: oversubscribed: {} with {} on {} ({}); set OMP_NUM_THREADS "
                      "lower, or let the ranks have more cores (mpirun --bind-to none, --map-by slot:PE=n)",
                      name, counted(static_cast<long>(host.ranks.size()), "rank"), counted(host.threads, "thread"),
                      counted(processors, "hardware thread"), list_of(host.processors)));
    } else if (host.crowded >= 0) {
      const Placement& rank = ranks[static_cast<std::size_t>(host.crowded)];
      warnings.push_back(fmt::format(
          "host {}: oversubscribed: rank {} has {} threads on the hardware threads {} only; bind ranks to more cores "
          "(mpirun --bind-to none, --map-by slot:PE=n)",
          name, host.crowded, rank.threads, rank.allowed));
    } else if (host.quota > 0 && static_cast<double>(host.threads) > host.quota) {
      warnings.push_back(fmt::format(
          "host {}: oversubscribed: {} with {}, but the limit of their control group (a container's) is "
          "{:.4g} s of processor time a second; they are stopped in between. Use fewer threads, or raise the limit",
          name, counted(static_cast<long>(host.ranks.size()), "rank"), counted(host.threads, "thread"), host.quota));
    } else if (crowd != host.ranks_on.end()) {
      warnings.push_back(fmt::format("host {}: oversubscribed: {} ranks share the device {}; use one rank a device",
                                     name, crowd->second, crowd->first));
    } else if (host.shared) {
      warnings.push_back(fmt::format(
          "host {}: ranks overlap: several may run on the same hardware threads ({}), so the system may move or stack "
          "them; bind them for steadier times",
          name, list_of(host.processors)));
    }
  }
  return warnings;
}

std::string placement_table(const std::vector<Placement>& ranks, std::size_t max_ranks) {
  std::size_t host_width = 4, allowed_width = 7;
  bool quota = false, device = false;  // columns that most machines have no use for
  for (const Placement& rank : ranks) {
    host_width = std::max(host_width, rank.host.size());
    allowed_width = std::max(allowed_width, rank.allowed.size());
    quota = quota || rank.quota > 0;
    device = device || !rank.device.empty();
  }
  std::string table = fmt::format("{:>5}  {:<{}}  {:>7}  {:>5}  {:<{}}  {}", "rank", "host", host_width, "threads",
                                  "cores", "allowed", allowed_width, "observed");
  if (quota) table += "  quota";
  if (device) table += "  device";
  for (std::size_t r = 0; r < std::min(ranks.size(), max_ranks); ++r) {
    const Placement& rank = ranks[r];
    table += fmt::format("\n{:>5}  {:<{}}  {:>7}  {:>5}  {:<{}}  {}", r, rank.host, host_width, rank.threads,
                         rank.cores, rank.allowed, allowed_width, rank.observed);
    if (quota) table += fmt::format("  {:.4g}", rank.quota);
    if (device) table += "  " + rank.device;
  }
  if (ranks.size() > max_ranks) table += fmt::format("\n  … and {} more ranks", ranks.size() - max_ranks);
  return table;
}

}  // namespace elkhorn::measure
