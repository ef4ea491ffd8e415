/// Pack<Real, N>: N lanes of a number, computed in step. On hosts it is the compiler's vector type; kernels are
/// templates over "a number", so the same code runs on Pack (hosts) and on plain Real (GPUs, and serial paths).
#pragma once

#include <Kokkos_Core.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#if defined(__FMA__)
#include <immintrin.h>
#endif

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define ELKHORN_SHUFFLES 1
#endif
#endif

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
struct vector_of<float, 4> {
  typedef float type __attribute__((vector_size(16), aligned(sizeof(float))));
};
template <>
struct vector_of<float, 8> {
  typedef float type __attribute__((vector_size(32), aligned(sizeof(float))));
};
template <>
struct vector_of<float, 16> {
  typedef float type __attribute__((vector_size(64), aligned(sizeof(float))));
};
template <>
struct vector_of<double, 4> {
  typedef double type __attribute__((vector_size(32), aligned(sizeof(double))));
};
template <>
struct vector_of<double, 8> {
  typedef double type __attribute__((vector_size(64), aligned(sizeof(double))));
};
template <>
struct vector_of<std::int32_t, 4> {
  typedef std::int32_t type __attribute__((vector_size(16), aligned(sizeof(std::int32_t))));
};
template <>
struct vector_of<std::int32_t, 8> {
  typedef std::int32_t type __attribute__((vector_size(32), aligned(sizeof(std::int32_t))));
};
template <>
struct vector_of<std::int32_t, 16> {
  typedef std::int32_t type __attribute__((vector_size(64), aligned(sizeof(std::int32_t))));
};
template <>
struct vector_of<std::int64_t, 4> {
  typedef std::int64_t type __attribute__((vector_size(32), aligned(sizeof(std::int64_t))));
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
  // Without a conversion: to some compilers KokkosBatched's operators are as near otherwise.
  friend Pack operator*(Real a, Pack b) { return Pack(a) * b; }
  friend Pack operator*(Pack a, Real b) { return a * Pack(b); }
  Pack& operator+=(Pack b) {
    v += b.v;
    return *this;
  }
  Pack& operator-=(Pack b) {
    v -= b.v;
    return *this;
  }
  Pack& operator*=(Pack b) {
    v *= b.v;
    return *this;
  }
  Pack& operator/=(Pack b) {
    v /= b.v;
    return *this;
  }
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

namespace detail {
template <class P>
inline typename P::Bits to_bits(P x) {
  typename P::Bits bits;
  std::memcpy(&bits, &x.v, sizeof(bits));
  return bits;
}
template <class P>
inline P from_bits(typename P::Bits bits) {
  P out;
  std::memcpy(&out.v, &bits, sizeof(bits));
  return out;
}
}  // namespace detail

/// Two packs side by side, and the halves of such a pack.
template <class Real, int N>
inline Pack<Real, 2 * N> join(Pack<Real, N> low, Pack<Real, N> high) {
#if ELKHORN_SHUFFLES  // stays in registers
  if constexpr (N == 8)
    return Pack<Real, 2 * N>(
        __builtin_shufflevector(low.v, high.v, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
#endif
  Pack<Real, 2 * N> out;
  std::memcpy(&out.v, &low.v, sizeof(low.v));
  std::memcpy(reinterpret_cast<char*>(&out.v) + sizeof(low.v), &high.v, sizeof(high.v));
  return out;
}
template <int Half, class Real, int N>
inline Pack<Real, N / 2> half(Pack<Real, N> x) {
#if ELKHORN_SHUFFLES
  constexpr int i = Half * N / 2;
  if constexpr (N == 16)
    return Pack<Real, N / 2>(__builtin_shufflevector(x.v, x.v, i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7));
#endif
  Pack<Real, N / 2> out;
  std::memcpy(&out.v, reinterpret_cast<const char*>(&x.v) + Half * sizeof(out.v), sizeof(out.v));
  return out;
}

/// a · b + c, rounded once where the processor can. Sums in loops need this function: compilers fuse a · b + c when they
/// like (GCC for AMD processors not in chains of 256-bit sums), and the same sum must be the same number in every kernel.
template <class P>
KOKKOS_INLINE_FUNCTION P multiply_add(P a, P b, P c) {
#if defined(__AVX512F__) && defined(__AVX512VL__)
  using Lanes = typename std::conditional_t<is_pack<P>, P, Pack<double, 8>>::Lanes;
  if constexpr (std::is_same_v<P, Pack<float, 16>>) return P(Lanes(_mm512_fmadd_ps(a.v, b.v, c.v)));
  if constexpr (std::is_same_v<P, Pack<float, 8>>) return P(Lanes(_mm256_fmadd_ps(a.v, b.v, c.v)));
  if constexpr (std::is_same_v<P, Pack<float, 4>>) return P(Lanes(_mm_fmadd_ps(a.v, b.v, c.v)));
  if constexpr (std::is_same_v<P, Pack<double, 8>>) return P(Lanes(_mm512_fmadd_pd(a.v, b.v, c.v)));
  if constexpr (std::is_same_v<P, Pack<double, 4>>) return P(Lanes(_mm256_fmadd_pd(a.v, b.v, c.v)));
#elif defined(__FMA__)
  if constexpr (std::is_same_v<P, Pack<float, 8>>) return P(typename P::Lanes(_mm256_fmadd_ps(a.v, b.v, c.v)));
  if constexpr (std::is_same_v<P, Pack<float, 4>>) return P(typename P::Lanes(_mm_fmadd_ps(a.v, b.v, c.v)));
  if constexpr (std::is_same_v<P, Pack<double, 4>>) return P(typename P::Lanes(_mm256_fmadd_pd(a.v, b.v, c.v)));
#endif
  return a * b + c;
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
/// The larger and the smaller of two; a where either is NaN.
template <class P>
KOKKOS_INLINE_FUNCTION P larger(P a, P b) {
#if defined(__AVX512F__)  // one instruction, which compilers do not find where b is a constant
  if constexpr (std::is_same_v<P, Pack<float, 16>>)
    return P(typename P::Lanes(_mm512_mask_max_ps(b.v, __mmask16(-1), b.v, a.v)));
  if constexpr (std::is_same_v<P, Pack<double, 8>>)
    return P(typename P::Lanes(_mm512_mask_max_pd(b.v, __mmask8(-1), b.v, a.v)));
#endif
  return select_less(a, b, b, a);
}
template <class P>
KOKKOS_INLINE_FUNCTION P smaller(P a, P b) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<P, Pack<float, 16>>)
    return P(typename P::Lanes(_mm512_mask_min_ps(b.v, __mmask16(-1), b.v, a.v)));
  if constexpr (std::is_same_v<P, Pack<double, 8>>)
    return P(typename P::Lanes(_mm512_mask_min_pd(b.v, __mmask8(-1), b.v, a.v)));
#endif
  return select_less(b, a, b, a);
}
/// Of std::numeric_limits, whose functions are for hosts only.
template <class Real>
struct Limits {
  static constexpr Real most = std::numeric_limits<Real>::max(), infinity = std::numeric_limits<Real>::infinity();
};

template <class P>
KOKKOS_INLINE_FUNCTION P absolute(P a) {
  if constexpr (is_pack<P>)
    return detail::from_bits<P>(detail::to_bits(a) & std::numeric_limits<bits_of<real_of<P>>>::max());
  else
    return larger(a, -a);
}
/// `magnitude`, not negative, with the sign of `sign`.
template <class P>
KOKKOS_INLINE_FUNCTION P with_sign(P magnitude, P sign) {
  if constexpr (is_pack<P>) {
    constexpr bits_of<real_of<P>> sign_bit = std::numeric_limits<bits_of<real_of<P>>>::min();
    return detail::from_bits<P>(detail::to_bits(magnitude) | (detail::to_bits(sign) & sign_bit));
  } else {
    return std::copysign(magnitude, sign);
  }
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
  using Of = Limits<real_of<P>>;
  const P m = absolute(a);
  return select_less_equal(m, P(Of::most), m, P(Of::infinity));
}

namespace detail {
/// std::integral_constant's conversion is for hosts only.
template <int k>
struct Constant {
  KOKKOS_FORCEINLINE_FUNCTION constexpr operator int() const { return k; }
};
template <class F, std::size_t... k>
KOKKOS_FORCEINLINE_FUNCTION void unrolled(std::index_sequence<k...>, const F& f) {
  (f(Constant<int(k)>()), ...);
}
}  // namespace detail
/// f(0), …, f(N − 1) with constants for compilers: an array that is indexed by them alone can live in registers.
template <int N, class F>
KOKKOS_FORCEINLINE_FUNCTION void unrolled(const F& f) {
  detail::unrolled(std::make_index_sequence<N>(), f);
}

/// N numbers P that take every operation side by side. Functions of one number wait for their own results, and compilers
/// fetch their many constants from memory for each; of several numbers neither costs much (core/math.hpp, hosts).
template <class P_, int N>
struct Several {
  using P = P_;
  P part[N];

  Several() = default;
  KOKKOS_FORCEINLINE_FUNCTION explicit Several(real_of<P> s) {
    unrolled<N>([&](auto k) { part[k] = P(s); });
  }

  KOKKOS_FORCEINLINE_FUNCTION friend Several operator+(const Several& a, const Several& b) {
    return each([](P x, P y) { return x + y; }, a, b);
  }
  KOKKOS_FORCEINLINE_FUNCTION friend Several operator-(const Several& a, const Several& b) {
    return each([](P x, P y) { return x - y; }, a, b);
  }
  KOKKOS_FORCEINLINE_FUNCTION friend Several operator*(const Several& a, const Several& b) {
    return each([](P x, P y) { return x * y; }, a, b);
  }
  KOKKOS_FORCEINLINE_FUNCTION friend Several operator/(const Several& a, const Several& b) {
    return each([](P x, P y) { return x / y; }, a, b);
  }
  KOKKOS_FORCEINLINE_FUNCTION friend Several operator-(const Several& a) {
    return each([](P x) { return -x; }, a);
  }
};

/// f of the parts of several numbers, one part after the other.
template <class F, class P, int N, class... More>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> each(const F& f, const Several<P, N>& a, const More&... more) {
  Several<P, N> out;
  unrolled<N>([&](auto k) { out.part[k] = f(a.part[k], more.part[k]...); });
  return out;
}
template <class P>
inline constexpr bool is_several = false;
template <class P, int N>
inline constexpr bool is_several<Several<P, N>> = true;
namespace detail {
template <class P, int N>
struct real_of_impl<Several<P, N>> {
  using type = real_of<P>;
};
}  // namespace detail
template <class P, int N>
inline constexpr bool is_pack<Several<P, N>> = false;

template <class P, int N>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> multiply_add(const Several<P, N>& a, const Several<P, N>& b,
                                                       const Several<P, N>& c) {
  return each([](P x, P y, P z) { return multiply_add(x, y, z); }, a, b, c);
}
template <class P, int N>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> larger(const Several<P, N>& a, const Several<P, N>& b) {
  return each([](P x, P y) { return larger(x, y); }, a, b);
}
template <class P, int N>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> smaller(const Several<P, N>& a, const Several<P, N>& b) {
  return each([](P x, P y) { return smaller(x, y); }, a, b);
}
template <class P, int N>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> absolute(const Several<P, N>& a) {
  return each([](P x) { return absolute(x); }, a);
}
template <class P, int N>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> with_sign(const Several<P, N>& magnitude, const Several<P, N>& sign) {
  return each([](P x, P y) { return with_sign(x, y); }, magnitude, sign);
}

}  // namespace elkhorn
