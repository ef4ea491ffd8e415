/// Pack<Real, N>: N lanes of a number, computed in step. On hosts it is the compiler's vector type; kernels are
/// templates over "a number", so the same code runs on Pack (hosts) and on plain Real (GPUs, and serial paths).
#pragma once

#include <Kokkos_Core.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace elkhorn {

template <class Real>
using bits_of = std::conditional_t<sizeof(Real) == 8, std::int64_t, std::int32_t>;

namespace detail {
#if defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIPCC__)
// GCC takes the size of a vector type only as a non-dependent constant, hence one line a type. Aligned like one number:
// packs are read in place from memory that Kokkos hands out, and unaligned moves cost nothing on aligned addresses.
template <class Number, int N>
struct vector_of;
template <>
struct vector_of<float, 8> {
  typedef float type __attribute__((vector_size(32), aligned(sizeof(float))));
};
template <>
struct vector_of<double, 8> {
  typedef double type __attribute__((vector_size(64), aligned(sizeof(double))));
};
template <>
struct vector_of<std::int32_t, 8> {
  typedef std::int32_t type __attribute__((vector_size(32), aligned(sizeof(std::int32_t))));
};
template <>
struct vector_of<std::int64_t, 8> {
  typedef std::int64_t type __attribute__((vector_size(64), aligned(sizeof(std::int64_t))));
};
#else
// A GPU build computes with plain numbers; this only lets host-side declarations compile.
template <class Number, int N>
struct vector_of {
  struct type {
    Number x[N];
  };
};
#endif
}  // namespace detail

template <class Real_, int N>
struct Pack {
  using Real = Real_;
  static constexpr int width = N;
  using Lanes = typename detail::vector_of<Real, N>::type;
  using Bits = typename detail::vector_of<bits_of<Real>, N>::type;
  Lanes v;

  Pack() = default;
  // s − 0 is s for every s, −0 included, so compilers make a plain broadcast of it (0 + s is not).
  Pack(Real s) : v(s - Lanes{}) {}
  explicit Pack(Lanes lanes) : v(lanes) {}

  Real operator[](int lane) const { return v[lane]; }
  void set(int lane, Real value) { v[lane] = value; }

  friend Pack operator+(Pack a, Pack b) { return Pack(a.v + b.v); }
  friend Pack operator-(Pack a, Pack b) { return Pack(a.v - b.v); }
  friend Pack operator*(Pack a, Pack b) { return Pack(a.v * b.v); }
  friend Pack operator/(Pack a, Pack b) { return Pack(a.v / b.v); }
  friend Pack operator-(Pack a) { return Pack(-a.v); }
  Pack& operator+=(Pack b) { v += b.v; return *this; }
  Pack& operator-=(Pack b) { v -= b.v; return *this; }
  Pack& operator*=(Pack b) { v *= b.v; return *this; }
  Pack& operator/=(Pack b) { v /= b.v; return *this; }
};

namespace detail {
template <class P>
struct real_of_impl {
  using type = P;
};
template <class Real, int N>
struct real_of_impl<Pack<Real, N>> {
  using type = Real;
};
}  // namespace detail
/// The scalar type of a number: Real for Real and for Pack<Real, N>.
template <class P>
using real_of = typename detail::real_of_impl<P>::type;
template <class P>
inline constexpr bool is_pack = !std::is_same_v<P, real_of<P>>;
template <class P>
inline constexpr int width_of = sizeof(P) / sizeof(real_of<P>);

/// Loads and stores without an alignment promise (aligned addresses cost nothing extra).
template <class P>
KOKKOS_INLINE_FUNCTION P load(const real_of<P>* p) {
  if constexpr (is_pack<P>) {
    P out;
    std::memcpy(&out.v, p, sizeof(out.v));
    return out;
  } else {
    return *p;
  }
}
template <class P>
KOKKOS_INLINE_FUNCTION void store(real_of<P>* p, P value) {
  if constexpr (is_pack<P>)
    std::memcpy(p, &value.v, sizeof(value.v));
  else
    *p = value;
}

/// `mask ? yes : no`, lane by lane, where the mask is a < b.
template <class P>
KOKKOS_INLINE_FUNCTION P select_less(P a, P b, P yes, P no) {
  if constexpr (is_pack<P>)
    return P(a.v < b.v ? yes.v : no.v);
  else
    return a < b ? yes : no;
}
/// `yes` where a <= b, `no` elsewhere and where either is NaN.
template <class P>
KOKKOS_INLINE_FUNCTION P select_less_equal(P a, P b, P yes, P no) {
  if constexpr (is_pack<P>)
    return P(a.v <= b.v ? yes.v : no.v);
  else
    return a <= b ? yes : no;
}
template <class P>
KOKKOS_INLINE_FUNCTION P larger(P a, P b) {
  return select_less(a, b, b, a);
}
template <class P>
KOKKOS_INLINE_FUNCTION P smaller(P a, P b) {
  return select_less(b, a, b, a);
}
template <class P>
KOKKOS_INLINE_FUNCTION P absolute(P a) {
  return larger(a, -a);
}
template <class P>
KOKKOS_INLINE_FUNCTION P square_root(P a) {
  if constexpr (is_pack<P>) {
    P out;
    for (int lane = 0; lane < P::width; ++lane) out.set(lane, std::sqrt(a[lane]));
    return out;
  } else {
    return sqrt(a);
  }
}
/// |a|, with NaN mapped to infinity so that maxima cannot lose it.
template <class P>
KOKKOS_INLINE_FUNCTION P magnitude(P a) {
  const P m = absolute(a);
  return select_less_equal(m, P(std::numeric_limits<real_of<P>>::max()), m,
                           P(std::numeric_limits<real_of<P>>::infinity()));
}

}  // namespace elkhorn
