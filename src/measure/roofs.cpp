#include "measure/roofs.hpp"

#include <mpi.h>
#include <KokkosBlas3_gemm.hpp>

#include <algorithm>

#include "core/math.hpp"
#include "measure/memory.hpp"
#include "measure/statistics.hpp"
#include "measure/timer.hpp"

namespace elkhorn::measure {

namespace {

/// Seconds of the fastest of `repetitions` runs.
template <class Run>
double fastest(int repetitions, const Run& run) {
  double best = 1e300;
  for (int i = 0; i < repetitions; ++i) {
    Exec().fence();
    const Timer timer;
    run();
    Exec().fence();
    best = std::min(best, timer.seconds());
  }
  return best;
}

template <class Real>
struct Triad {
  Vector<Real> a, b, c;
  KOKKOS_INLINE_FUNCTION void operator()(long i) const { a(i) = b(i) + Real(1.5) * c(i); }
};

struct Nothing {
  KOKKOS_INLINE_FUNCTION void operator()(long) const {}
};

constexpr int chains = 12, rounds = 20000;

template <class Real>
struct MultiplyAdd {
  using P = Widest<Real>;
  Vector<Real> out;
  KOKKOS_INLINE_FUNCTION void operator()(long item) const {
    P sum[chains];
    for (int i = 0; i < chains; ++i) sum[i] = P(out(item) + Real(i));
    const P factor(Real(0.999) + out(item)), term(Real(1e-3));
    for (int k = 0; k < rounds; ++k)
      for (int i = 0; i < chains; ++i) sum[i] = multiply_add(sum[i], factor, term);
    for (int i = 1; i < chains; ++i) sum[0] = sum[0] + sum[i];
    Real lanes[width_of<P>];
    store<P>(lanes, sum[0]);
    out(item) = lanes[0] * Real(1e-30);
  }
};

constexpr int numbers = 2048;  ///< of an item, in its first-level cache

template <class Real>
struct Exponentials {
  using P = Widest<Real>;
  Matrix<Real> in, out;
  KOKKOS_INLINE_FUNCTION void operator()(long item) const {
    for (int round = 0; round < 50; ++round)
      for (int i = 0; i < numbers; i += width_of<P>) store<P>(&out(item, i), exponential(load<P>(&in(item, i))));
  }
};

}  // namespace

template <class Real>
Roofs measure_roofs(double array_bytes) {
  using Policy = Kokkos::RangePolicy<Exec>;
  Roofs roofs;
  const long items = Exec().concurrency();
  const long long_array = static_cast<long>(array_bytes) / static_cast<long>(sizeof(Real));
  {
    const Vector<Real> a("a", long_array), b("b", long_array), c("c", long_array);
    const double s = fastest(6, [&] { Kokkos::parallel_for("triad", Policy(0, long_array), Triad<Real>{a, b, c}); });
    roofs.bandwidth = 3.0 * sizeof(Real) * double(long_array) / s;
  }
  {
    const Vector<Real> out("out", items);
    const double s =
        fastest(20, [&] { Kokkos::parallel_for("multiply-adds", Policy(0, items), MultiplyAdd<Real>{out}); });
    roofs.flops = 2.0 * chains * rounds * width_of<Widest<Real>> * double(items) / s;
  }
  {
    const Matrix<Real> in("in", items, numbers), out("out", items, numbers);
    Kokkos::deep_copy(in, Real(0.7));
    const double s = fastest(20, [&] {
      Kokkos::parallel_for("exponentials", Policy(0, items), Exponentials<Real>{in, out});
    });
    roofs.transcendentals = 50.0 * numbers * double(items) / s;
  }
  {
    constexpr long n = 512;
    const Matrix<Real> a("a", n, n), b("b", n, n), c("c", n, n);
    Kokkos::deep_copy(a, Real(1));
    Kokkos::deep_copy(b, Real(1));
    const double s = fastest(6, [&] { KokkosBlas::gemm("N", "N", Real(1), a, b, Real(0), c); });
    roofs.gemm = 2.0 * double(n * n * n) / s;
  }
  return roofs;
}

template <class Real>
Roofs measure_roofs(const parallel::Comm& comm) {
  // A host's ranks together stream what one process would; a rank alone streams more than its share of the caches.
  const double ranks = static_cast<double>(comm.split_by_node().size());
  const double array_bytes = std::min(std::max(triad_bytes / ranks, triad_bytes / 4), free_bytes_per_rank(comm) / 12);
  comm.barrier();
  const Roofs mine = measure_roofs<Real>(comm.min(array_bytes));
  const std::vector<double> all =
      comm.sum(std::vector<double>{mine.bandwidth, mine.flops, mine.gemm, mine.transcendentals});
  return {all[0], all[1], all[2], all[3]};
}

template Roofs measure_roofs<float>(double);
template Roofs measure_roofs<double>(double);
template Roofs measure_roofs<float>(const parallel::Comm&);
template Roofs measure_roofs<double>(const parallel::Comm&);

Latencies measure_latencies(const parallel::Comm& comm) {
  // Enough for a median; where a call is slow (ranks that take turns on a processor) time counts, not calls.
  constexpr int least = 5, most = 300;
  constexpr double budget_s = 0.05;
  const auto median_seconds = [](const parallel::Comm& ranks, const auto& call) {
    std::vector<double> seconds;
    const Timer all;
    for (int i = 0; i < most; ++i) {
      ranks.barrier();  // else a call that need not wait (the first rank's of a scan) would not be one of its kind
      const Timer timer;
      call();
      seconds.push_back(timer.seconds());
      if (i + 1 >= least && i % 16 == 0 && ranks.broadcast(all.seconds()) > budget_s) break;
    }
    return ranks.max(median_interval(seconds).median);
  };

  Latencies out;
  Kokkos::fence();
  out.launch_s = median_seconds(comm, [] {
    Kokkos::parallel_for("nothing", Kokkos::RangePolicy<Exec>(0, Exec().concurrency()), Nothing());
    Exec().fence();
  });
  for (int n = 1;; n = std::min(2 * n, comm.size())) {
    const bool member = comm.rank() < n;
    const parallel::Comm some = comm.split(member ? 0 : 1);
    double allreduce = 0, exscan = 0;
    if (member) {
      double value = 1, result = 0;
      some.barrier();
      allreduce = median_seconds(some, [&] {
        parallel::check(MPI_Allreduce(&value, &result, 1, MPI_DOUBLE, MPI_SUM, some.handle()), "MPI_Allreduce");
      });
      exscan = median_seconds(some, [&] {
        parallel::check(MPI_Exscan(&value, &result, 1, MPI_DOUBLE, MPI_SUM, some.handle()), "MPI_Exscan");
      });
    }
    out.ranks.push_back(n);
    out.allreduce_s.push_back(comm.broadcast(allreduce));
    out.exscan_s.push_back(comm.broadcast(exscan));
    if (n == comm.size()) break;
  }
  if (comm.size() == 1) return out;

  // Pairs (0, 1), (2, 3), …; a last rank without a partner looks on.
  constexpr std::size_t small = 8, large = 1 << 20;
  const int partner = comm.rank() ^ 1;
  const bool paired = partner < comm.size();
  std::vector<char> there(large), back(large);
  const auto round_trip = [&](std::size_t bytes) {
    return median_seconds(comm, [&] {
      if (!paired) return;
      const bool first = comm.rank() < partner;
      if (first) comm.exchange_bytes(there.data(), bytes, partner, nullptr, 0, -1);
      comm.exchange_bytes(nullptr, 0, -1, back.data(), bytes, partner);
      if (!first) comm.exchange_bytes(there.data(), bytes, partner, nullptr, 0, -1);
    });
  };
  out.message_s = round_trip(small) / 2;
  out.message_bytes_s = double(large - small) / std::max(round_trip(large) / 2 - out.message_s, 1e-9);
  return out;
}

}  // namespace elkhorn::measure
