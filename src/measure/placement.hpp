/// Which cores the ranks and their threads have, and whether they get in each other's way.
#pragma once

#include <string>
#include <vector>

#include "parallel/comm.hpp"

namespace elkhorn::measure {

/// One rank. Processor lists ("0-3,8") hold the operating system's numbers of hardware threads.
struct Placement {
  std::string host;
  long threads = 1;      ///< of the host execution space
  std::string allowed;   ///< where its threads may run, all of them together
  std::string observed;  ///< where they were when asked
  long cores = 0;        ///< physical cores that `allowed` touches
  double quota = 0;      ///< processors' worth of time its control group allows, shared with others in it; 0: no limit
  std::string device;    ///< of a device back-end: PCI address of the accelerator, empty on the host
};

/// Of this rank. Kokkos must be initialised; starts a small kernel on the host.
Placement local_placement();

/// Of all ranks (`here` is this one's), in rank order, on rank 0; empty elsewhere. Collective.
std::vector<Placement> gather_placement(const parallel::Comm& comm, const Placement& here);

/// Sentences on what spoils timings: more threads than hardware threads or processor time on a host, or for one rank;
/// ranks that share a device, or hardware threads unbound. At most one a host, the worst. Those of the first kind have
/// the word "oversubscribed", the last "ranks overlap": such runs are not official.
std::vector<std::string> placement_warnings(const std::vector<Placement>& ranks);

/// A table with a line a rank, at most `max_ranks` of them; the rest is counted in a last line.
std::string placement_table(const std::vector<Placement>& ranks, std::size_t max_ranks = 256);

}  // namespace elkhorn::measure
