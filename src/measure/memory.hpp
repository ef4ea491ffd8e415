/// Memory of this process and of the node, in bytes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "parallel/comm.hpp"

namespace elkhorn::measure {

/// Peak resident set of this process from construction on, libraries and what was allocated before included.
/// (Since Linux 6.2 the kernel counts a process's pages in batches per CPU: on machines with hundreds of CPUs the
/// figure can be off by some MiB.)
class PeakMemory {
 public:
  /// Returns freed heap memory to the system, so that earlier cases do not count, and resets the kernel's mark.
  PeakMemory();
  double bytes() const;
  /// False where the kernel would not reset its mark: then `bytes` is the peak since the process began.
  bool since_construction() const { return reset_; }

 private:
  bool reset_ = false;
};

/// Resident set of this process now.
double resident_bytes();

/// From now on arrays go back to the system when they are freed. The C library would keep blocks of up to 32 MiB for later
/// (mallopt(3), "dynamic mmap threshold"), so that a case's peak told of the cases before it.
void return_freed_arrays();

/// What the program holds beside its cases, libraries, MPI and plan: its resident set before the first case, with freed
/// heap memory returned. The largest of all ranks. Collective.
double program_bytes(const parallel::Comm& comm);

/// What memory is free on this node: the smaller of what the machine and what control groups (v1 or v2, at any
/// level above this process) leave. `root` is for tests: a folder that stands for "/".
struct FreeMemory {
  double bytes = 0;
  std::string limited_by;  ///< machine | cgroup
};
FreeMemory free_memory(const std::filesystem::path& root = "/");

/// What control groups leave this process; page cache they could drop counts as free. Nothing where no limit is
/// set or none can be read.
std::optional<double> cgroup_free_bytes(const std::filesystem::path& root = "/");

/// Free memory of the node divided by its ranks; the smallest of all ranks, the same on every rank. Collective.
double free_bytes_per_rank(const parallel::Comm& comm);

}  // namespace elkhorn::measure
