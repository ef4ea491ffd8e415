/// What this machine can do at most, measured in the process that is judged by it.
///
/// All threads of the default execution space work at once. Each roof is the best of several runs, as a roof should be.
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/kokkos.hpp"
#include "core/pack.hpp"
#include "parallel/comm.hpp"

namespace elkhorn::measure {

/// Per second, all threads together.
struct Roofs {
  double bandwidth = 0;        ///< bytes of a triad a = b + s c on arrays beyond all caches, its three streams counted
  double flops = 0;            ///< multiply-adds in registers, two each
  double gemm = 0;             ///< flops of the BLAS on 512 × 512 matrices
  double transcendentals = 0;  ///< exponential() of numbers in the first-level cache

  /// Seconds that work must take: the largest of what each resource needs. Arithmetic is judged by what the BLAS reaches.
  double seconds(double bytes, double operations, double functions = 0) const {
    return std::max({bytes / bandwidth, operations / gemm, functions / transcendentals});
  }
  /// The resource that needs them.
  const char* limit(double bytes, double operations, double functions = 0) const {
    const double most = seconds(bytes, operations, functions);
    return most == bytes / bandwidth ? "bandwidth" : most == operations / gemm ? "flops" : "functions";
  }
};

/// The widest numbers that kernels compute with: a full vector register.
template <class Real>
using Widest = std::conditional_t<exec_is_host, Pack<Real, register_bytes / sizeof(Real)>, Real>;

/// Bytes of each of the triad's three arrays: beyond most caches.
inline constexpr double triad_bytes = 1 << 26;
/// Of this process, with the triad on arrays of so many bytes; about 0.3 s. Float and double are there.
template <class Real>
Roofs measure_roofs(double array_bytes = triad_bytes);
/// Of all ranks at once, added up: what the job can do. Collective.
template <class Real>
Roofs measure_roofs(const parallel::Comm& comm);

/// Seconds, medians.
struct Latencies {
  double launch_s = 0;              ///< an empty kernel and its fence, largest over ranks
  std::vector<double> ranks;        ///< 1, 2, 4, …, all: how many take part
  std::vector<double> allreduce_s;  ///< of 8 bytes, largest over those ranks
  std::vector<double> exscan_s;
  /// A message between neighbours, all pairs of ranks at once: seconds of an empty one (half a round trip of 8 bytes), and
  /// bytes a second of large ones (1 MiB); the slowest pair. Not a number with one rank.
  double message_s = std::numeric_limits<double>::quiet_NaN();
  double message_bytes_s = std::numeric_limits<double>::quiet_NaN();
};
/// Less than half a second, with few ranks. Collective.
Latencies measure_latencies(const parallel::Comm& comm);

}  // namespace elkhorn::measure
