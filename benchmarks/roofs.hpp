/// What this machine can do at most, measured in the process that is judged by it: the roofs of the benchmarks.
///
/// All threads of the default execution space work at once. Each roof is the best of several runs, as a roof should be.
#pragma once

#include <KokkosBlas3_gemm.hpp>

#include <algorithm>
#include <chrono>

#include "core/kokkos.hpp"
#include "core/math.hpp"

namespace elkhorn::benchmarks {

/// Per second, all threads together.
struct Roofs {
  double bandwidth = 0;        ///< bytes of a triad a = b + s c on arrays beyond all caches, its three streams counted
  double flops = 0;            ///< multiply-adds in registers, two each
  double gemm = 0;             ///< flops of the BLAS on 512 × 512 matrices
  double transcendentals = 0;  ///< exponential() of numbers in the first-level cache

  /// Seconds that work must take: the largest of what each resource needs. Arithmetic is judged by what the BLAS reaches.
  double seconds(double bytes, double operations, double functions) const {
    return std::max({bytes / bandwidth, operations / gemm, functions / transcendentals});
  }
  /// The resource that needs them.
  const char* limit(double bytes, double operations, double functions) const {
    const double most = seconds(bytes, operations, functions);
    return most == bytes / bandwidth ? "bandwidth" : most == operations / gemm ? "flops" : "functions";
  }
};

/// The widest numbers that kernels compute with: a full vector register.
template <class Real>
using Widest = std::conditional_t<exec_is_host, Pack<Real, 64 / sizeof(Real)>, Real>;

namespace detail {

/// Seconds of the fastest of `repetitions` runs.
template <class Run>
double fastest(int repetitions, const Run& run) {
  double best = 1e300;
  for (int i = 0; i < repetitions; ++i) {
    Exec().fence();
    const auto start = std::chrono::steady_clock::now();
    run();
    Exec().fence();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

template <class Real>
struct Triad {
  Vector<Real> a, b, c;
  KOKKOS_INLINE_FUNCTION void operator()(long i) const { a(i) = b(i) + Real(1.5) * c(i); }
};

inline constexpr int chains = 12, rounds = 20000;

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

inline constexpr int numbers = 2048;  ///< of an item, in its first-level cache

template <class Real>
struct Exponentials {
  using P = Widest<Real>;
  Matrix<Real> in, out;
  KOKKOS_INLINE_FUNCTION void operator()(long item) const {
    for (int round = 0; round < 50; ++round)
      for (int i = 0; i < numbers; i += width_of<P>) store<P>(&out(item, i), exponential(load<P>(&in(item, i))));
  }
};

}  // namespace detail

template <class Real>
Roofs measure_roofs() {
  using Policy = Kokkos::RangePolicy<Exec>;
  Roofs roofs;
  const long items = Exec().concurrency(), long_array = 1L << 24;
  {
    const Vector<Real> a("a", long_array), b("b", long_array), c("c", long_array);
    const double s = detail::fastest(10, [&] {
      Kokkos::parallel_for("triad", Policy(0, long_array), detail::Triad<Real>{a, b, c});
    });
    roofs.bandwidth = 3.0 * sizeof(Real) * double(long_array) / s;
  }
  {
    const Vector<Real> out("out", items);
    const double s = detail::fastest(
        20, [&] { Kokkos::parallel_for("multiply-adds", Policy(0, items), detail::MultiplyAdd<Real>{out}); });
    roofs.flops = 2.0 * detail::chains * detail::rounds * width_of<Widest<Real>> * double(items) / s;
  }
  {
    const Matrix<Real> in("in", items, detail::numbers), out("out", items, detail::numbers);
    Kokkos::deep_copy(in, Real(0.7));
    const double s = detail::fastest(20, [&] {
      Kokkos::parallel_for("exponentials", Policy(0, items), detail::Exponentials<Real>{in, out});
    });
    roofs.transcendentals = 50.0 * detail::numbers * double(items) / s;
  }
  {
    constexpr long n = 512;
    const Matrix<Real> a("a", n, n), b("b", n, n), c("c", n, n);
    Kokkos::deep_copy(a, Real(1));
    Kokkos::deep_copy(b, Real(1));
    const double s = detail::fastest(10, [&] { KokkosBlas::gemm("N", "N", Real(1), a, b, Real(0), c); });
    roofs.gemm = 2.0 * double(n * n * n) / s;
  }
  return roofs;
}

/// Measured once a process and precision.
template <class Real>
const Roofs& roofs() {
  static const Roofs measured = measure_roofs<Real>();
  return measured;
}

}  // namespace elkhorn::benchmarks
