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

/// Loops whose numbers or counters are to fill the registers are functions of their own on hosts: compilers that see the
/// caller too would spend registers on the caller's constants. Lambdas are marked to be inlined into such functions.
#if defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIPCC__)
#define ELKHORN_OWN_REGISTERS __attribute__((noinline))
#define ELKHORN_INLINE_LAMBDA __attribute__((always_inline))
#else
#define ELKHORN_OWN_REGISTERS KOKKOS_INLINE_FUNCTION
#define ELKHORN_INLINE_LAMBDA
#endif

namespace elkhorn {

template <class Real>
using bits_of = std::conditional_t<sizeof(Real) == 8, std::int64_t, std::int32_t>;

/// Vector registers of hosts: bytes that kernels are laid out for, and how many registers there are.
#if defined(__AVX512F__)
inline constexpr int register_bytes = 64, register_count = 32;
#else
inline constexpr int register_bytes = 32, register_count = 16;
#endif

namespace detail {
#if defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIPCC__)
/// Bytes of a register that this target has. Vectors of more would live in memory (GCC).
#if defined(__AVX__)
inline constexpr int native_bytes = register_bytes;
#else
inline constexpr int native_bytes = 16;
#endif

// GCC takes the size of a vector type only as a non-dependent constant, hence one line a type. Aligned like one number:
// packs are read in place from memory that Kokkos hands out, and unaligned moves cost nothing on aligned addresses.
template <class Number, int N>
struct vector_of;
template <>
struct vector_of<float, 4> {
  typedef float type __attribute__((vector_size(16), aligned(sizeof(float))));
};
template <>
struct vector_of<double, 2> {
  typedef double type __attribute__((vector_size(16), aligned(sizeof(double))));
};
template <>
struct vector_of<std::int64_t, 2> {
  typedef std::int64_t type __attribute__((vector_size(16), aligned(sizeof(std::int64_t))));
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
// A template's arguments lose the alignment of a vector type, hence <Number, N> in place of the types everywhere.
template <class Number, int N>
inline constexpr bool is_split = N * sizeof(Number) > native_bytes;
template <class Number, int N, bool Split = is_split<Number, N>>
struct lanes_of {
  using type = typename vector_of<Number, N>::type;
};

/// A vector of more than a register, by halves.
template <class Number, int N>
struct Two {
  using Half = typename lanes_of<Number, N / 2>::type;
  Half low, high;

  Two() = default;
  Two(const Half& first, const Half& second) : low(first), high(second) {}
  // Register by register: GCC copies the memory of a struct in pieces of 16 bytes, which loads of 32 wait for.
  Two(const Two& from) : low(from.low), high(from.high) {}
  Two& operator=(const Two& from) {
    low = from.low;
    high = from.high;
    return *this;
  }

  Number operator[](int lane) const { return lane < N / 2 ? low[lane] : high[lane - N / 2]; }
  friend Two operator+(const Two& a, const Two& b) { return {a.low + b.low, a.high + b.high}; }
  friend Two operator-(const Two& a, const Two& b) { return {a.low - b.low, a.high - b.high}; }
  friend Two operator*(const Two& a, const Two& b) { return {a.low * b.low, a.high * b.high}; }
  friend Two operator/(const Two& a, const Two& b) { return {a.low / b.low, a.high / b.high}; }
  friend Two operator&(const Two& a, const Two& b) { return {a.low & b.low, a.high & b.high}; }
  friend Two operator|(const Two& a, const Two& b) { return {a.low | b.low, a.high | b.high}; }
  friend Two operator-(const Two& a) { return {-a.low, -a.high}; }
  friend Two operator-(Number a, const Two& b) { return {a - b.low, a - b.high}; }
  friend Two operator&(const Two& a, Number b) { return {a.low & b, a.high & b}; }
  friend Two operator<<(const Two& a, int by) { return {a.low << by, a.high << by}; }
};
template <class Number, int N>
struct lanes_of<Number, N, true> {
  using type = Two<Number, N>;
};
#else
// A GPU build computes with plain numbers; this only lets host-side declarations compile.
template <class Number, int N>
struct lanes_of {
  struct type {
    Number x[N];
  };
};
template <class Number, int N>
inline constexpr bool is_split = false;
#endif

template <class Number, int N>
using lanes = typename lanes_of<Number, N>::type;

template <class Number, int N>
inline void set_lane(lanes<Number, N>& v, int lane, Number value) {
  if constexpr (is_split<Number, N>)
    lane < N / 2 ? set_lane<Number, N / 2>(v.low, lane, value) : set_lane<Number, N / 2>(v.high, lane - N / 2, value);
  else
    v[lane] = value;
}
}  // namespace detail

template <class Real_, int N>
struct Pack {
  using Real = Real_;
  static constexpr int width = N;
  using Lanes = detail::lanes<Real, N>;
  using Bits = detail::lanes<bits_of<Real>, N>;
  Lanes v;

  Pack() = default;
  // s − 0 is s for every s, −0 included, so compilers make a plain broadcast of it (0 + s is not).
  Pack(Real s) : v(s - Lanes{}) {}
  explicit Pack(Lanes lanes) : v(lanes) {}

  Real operator[](int lane) const { return v[lane]; }
  void set(int lane, Real value) { detail::set_lane<Real, N>(v, lane, value); }

  friend Pack operator+(Pack a, Pack b) { return Pack(a.v + b.v); }
  friend Pack operator-(Pack a, Pack b) { return Pack(a.v - b.v); }
  friend Pack operator*(Pack a, Pack b) { return Pack(a.v * b.v); }
  friend Pack operator/(Pack a, Pack b) { return Pack(a.v / b.v); }
  friend Pack operator-(Pack a) { return Pack(-a.v); }
  // Without a conversion: to some compilers KokkosBatched's operators are as near otherwise.
  friend Pack operator*(Real a, Pack b) { return Pack(a) * b; }
  friend Pack operator*(Pack a, Real b) { return a * Pack(b); }
  Pack& operator+=(Pack b) {
    v = v + b.v;
    return *this;
  }
  Pack& operator-=(Pack b) {
    v = v - b.v;
    return *this;
  }
  Pack& operator*=(Pack b) {
    v = v * b.v;
    return *this;
  }
  Pack& operator/=(Pack b) {
    v = v / b.v;
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
/// Registers that a number takes on hosts.
template <class P>
inline constexpr int registers_of = (int(sizeof(P)) + register_bytes - 1) / register_bytes;

namespace detail {
// Through pointers to vectors, which may point at any of their numbers: for copies of memory GCC goes through the stack in
// halves of registers.
template <class Number, int N>
inline void load_lanes(lanes<Number, N>& out, const Number* p) {
  if constexpr (is_split<Number, N>) {
    load_lanes<Number, N / 2>(out.low, p);
    load_lanes<Number, N / 2>(out.high, p + N / 2);
  } else {
    out = *reinterpret_cast<const lanes<Number, N>*>(p);
  }
}
template <class Number, int N>
inline void store_lanes(Number* p, const lanes<Number, N>& x) {
  if constexpr (is_split<Number, N>) {
    store_lanes<Number, N / 2>(p, x.low);
    store_lanes<Number, N / 2>(p + N / 2, x.high);
  } else {
    *reinterpret_cast<lanes<Number, N>*>(p) = x;
  }
}
/// The same bits as lanes of another type.
template <class To, class From, int N>
inline lanes<To, N> same_bits(const lanes<From, N>& x) {
  if constexpr (is_split<From, N>)
    return {same_bits<To, From, N / 2>(x.low), same_bits<To, From, N / 2>(x.high)};
  else
    return (lanes<To, N>)x;  // NOLINT: the cast of vectors is spelled so
}
/// a < b ? yes : no; or a <= b.
template <bool OrEqual, class Number, int N>
inline lanes<Number, N> choose_less(const lanes<Number, N>& a, const lanes<Number, N>& b, const lanes<Number, N>& yes,
                                    const lanes<Number, N>& no) {
  if constexpr (is_split<Number, N>)
    return {choose_less<OrEqual, Number, N / 2>(a.low, b.low, yes.low, no.low),
            choose_less<OrEqual, Number, N / 2>(a.high, b.high, yes.high, no.high)};
  else if constexpr (OrEqual)
    return a <= b ? yes : no;
  else
    return a < b ? yes : no;
}
template <class Number, int N>
inline lanes<Number, N> fused_multiply_add(const lanes<Number, N>& a, const lanes<Number, N>& b,
                                           const lanes<Number, N>& c) {
  if constexpr (is_split<Number, N>) {
    return {fused_multiply_add<Number, N / 2>(a.low, b.low, c.low),
            fused_multiply_add<Number, N / 2>(a.high, b.high, c.high)};
  } else {
#if defined(__FMA__) && defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIPCC__)
    using Lanes = lanes<Number, N>;
    if constexpr (std::is_same_v<Number, float>) {
      if constexpr (N == 4) return Lanes(_mm_fmadd_ps(a, b, c));
      if constexpr (N == 8) return Lanes(_mm256_fmadd_ps(a, b, c));
#if defined(__AVX512F__)
      if constexpr (N == 16) return Lanes(_mm512_fmadd_ps(a, b, c));
#endif
    } else {
      if constexpr (N == 2) return Lanes(_mm_fmadd_pd(a, b, c));
      if constexpr (N == 4) return Lanes(_mm256_fmadd_pd(a, b, c));
#if defined(__AVX512F__)
      if constexpr (N == 8) return Lanes(_mm512_fmadd_pd(a, b, c));
#endif
    }
#endif
    return a * b + c;
  }
}
}  // namespace detail

/// Loads and stores without an alignment promise (aligned addresses cost nothing extra).
template <class P>
KOKKOS_INLINE_FUNCTION P load(const real_of<P>* p) {
  if constexpr (is_pack<P>) {
    P out;
    detail::load_lanes<real_of<P>, P::width>(out.v, p);
    return out;
  } else {
    return *p;
  }
}
template <class P>
KOKKOS_INLINE_FUNCTION void store(real_of<P>* p, P value) {
  if constexpr (is_pack<P>)
    detail::store_lanes<real_of<P>, P::width>(p, value.v);
  else
    *p = value;
}

namespace detail {
template <class Number, int N>
inline void stream_lanes(Number* p, const lanes<Number, N>& x) {
  constexpr int bytes = N * int(sizeof(Number));
#if defined(__AVX__) && defined(__FMA__) && defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIPCC__)
  if constexpr (is_split<Number, N>) {
    stream_lanes<Number, N / 2>(p, x.low);
    stream_lanes<Number, N / 2>(p + N / 2, x.high);
  } else if (bytes == 16 || reinterpret_cast<std::uintptr_t>(p) % bytes != 0) {
    store_lanes<Number, N>(p, x);
  } else {
    if constexpr (bytes == 32) _mm256_stream_si256(reinterpret_cast<__m256i*>(p), __m256i(x));
#if defined(__AVX512F__)
    if constexpr (bytes == 64) _mm512_stream_si512(reinterpret_cast<__m512i*>(p), __m512i(x));
#endif
  }
#else
  store_lanes<Number, N>(p, x);
#endif
}
}  // namespace detail

/// `store` to memory that no cache keeps until it is read again: lines that are written as a whole are not read before, and
/// nothing else is thrown out for them. Other threads see what was stored once this one has called `end_of_streams`.
template <class P>
KOKKOS_INLINE_FUNCTION void store_past_caches(real_of<P>* p, P value) {
  if constexpr (is_pack<P>)
    detail::stream_lanes<real_of<P>, P::width>(p, value.v);
  else
    *p = value;
}
inline void end_of_streams() {
#if defined(__AVX__) && defined(__FMA__) && defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIPCC__)
  _mm_sfence();
#endif
}

namespace detail {
template <class P>
inline typename P::Bits to_bits(P x) {
  return same_bits<bits_of<real_of<P>>, real_of<P>, P::width>(x.v);
}
template <class P>
inline P from_bits(typename P::Bits bits) {
  return P(same_bits<real_of<P>, bits_of<real_of<P>>, P::width>(bits));
}

#if defined(__has_builtin) && !defined(__CUDACC__)  // nvcc hands the host's compiler a pack that is not expanded
#if __has_builtin(__builtin_shufflevector)
#define ELKHORN_SHUFFLES 1
#endif
#endif
/// Numbers First, First + 1, … of a and then b.
template <class Number, int From, int First, std::size_t... i>
inline lanes<Number, int(sizeof...(i))> lanes_from(const lanes<Number, From>& a, const lanes<Number, From>& b,
                                                   std::index_sequence<i...>) {
#if ELKHORN_SHUFFLES  // stays in registers
  return __builtin_shufflevector(a, b, int(First + i)...);
#else
  lanes<Number, int(sizeof...(i))> out;
  for (int k = 0; k < int(sizeof...(i)); ++k) out[k] = First + k < From ? a[First + k] : b[First + k - From];
  return out;
#endif
}
}  // namespace detail

/// Two packs side by side, and the halves of such a pack.
template <class Real, int N>
inline Pack<Real, 2 * N> join(Pack<Real, N> low, Pack<Real, N> high) {
  using Whole = Pack<Real, 2 * N>;
  if constexpr (detail::is_split<Real, 2 * N>)
    return Whole(typename Whole::Lanes{low.v, high.v});
  else
    return Whole(detail::lanes_from<Real, N, 0>(low.v, high.v, std::make_index_sequence<2 * std::size_t{N}>()));
}
template <int Half, class Real, int N>
inline Pack<Real, N / 2> half(Pack<Real, N> x) {
  using P = Pack<Real, N / 2>;
  if constexpr (detail::is_split<Real, N>)
    return P(Half == 0 ? x.v.low : x.v.high);
  else
    return P(detail::lanes_from<Real, N, Half * N / 2>(x.v, x.v, std::make_index_sequence<N / 2>()));
}

/// a · b + c, rounded once where the processor can. Sums in loops need this function: compilers fuse a · b + c when they
/// like (GCC for AMD processors not in chains of 256-bit sums), and the same sum must be the same number in every kernel.
template <class P>
KOKKOS_INLINE_FUNCTION P multiply_add(P a, P b, P c) {
  if constexpr (is_pack<P>) {
    return P(detail::fused_multiply_add<real_of<P>, P::width>(a.v, b.v, c.v));
  } else {
#if defined(__FMA__) && !defined(__CUDA_ARCH__) && !defined(__HIP_DEVICE_COMPILE__)
    if constexpr (std::is_same_v<P, float>) return __builtin_fmaf(a, b, c);
    if constexpr (std::is_same_v<P, double>) return __builtin_fma(a, b, c);
#endif
    return a * b + c;
  }
}

namespace detail {
template <class Number, int N>
inline void hold_lanes(lanes<Number, N>& x) {
  if constexpr (is_split<Number, N>) {
    hold_lanes<Number, N / 2>(x.low);
    hold_lanes<Number, N / 2>(x.high);
  } else {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIPCC__)
    asm("" : "+v"(x));  // for all that compilers know this is another number now
#endif
  }
}
}  // namespace detail
/// Keeps numbers that came from memory in a register while they are used: compilers make loads operands of the operations
/// instead, one load each, and loads are as scarce as multiply-adds.
template <class P>
KOKKOS_FORCEINLINE_FUNCTION void hold(P& x) {
  if constexpr (is_pack<P>) detail::hold_lanes<real_of<P>, P::width>(x.v);
}

/// `mask ? yes : no`, lane by lane, where the mask is a < b.
template <class P>
KOKKOS_INLINE_FUNCTION P select_less(P a, P b, P yes, P no) {
  if constexpr (is_pack<P>)
    return P(detail::choose_less<false, real_of<P>, P::width>(a.v, b.v, yes.v, no.v));
  else
    return a < b ? yes : no;
}
/// `yes` where a <= b, `no` elsewhere and where either is NaN.
template <class P>
KOKKOS_INLINE_FUNCTION P select_less_equal(P a, P b, P yes, P no) {
  if constexpr (is_pack<P>)
    return P(detail::choose_less<true, real_of<P>, P::width>(a.v, b.v, yes.v, no.v));
  else
    return a <= b ? yes : no;
}
namespace detail {
/// b where it is larger (or smaller) than a, else a: one instruction, which compilers do not find where b is a constant.
template <bool Larger, class Number, int N>
inline lanes<Number, N> extreme(const lanes<Number, N>& a, const lanes<Number, N>& b) {
  if constexpr (is_split<Number, N>) {
    return {extreme<Larger, Number, N / 2>(a.low, b.low), extreme<Larger, Number, N / 2>(a.high, b.high)};
  } else {
#if defined(__AVX__) && defined(__FMA__) && defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIPCC__)
    using Lanes = lanes<Number, N>;
    if constexpr (std::is_same_v<Number, float> && N == 8)
      return Lanes(Larger ? _mm256_max_ps(b, a) : _mm256_min_ps(b, a));
    if constexpr (std::is_same_v<Number, double> && N == 4)
      return Lanes(Larger ? _mm256_max_pd(b, a) : _mm256_min_pd(b, a));
#if defined(__AVX2__)
    if constexpr (std::is_same_v<Number, std::int32_t> && N == 8)
      return Lanes(Larger ? _mm256_max_epi32(__m256i(a), __m256i(b)) : _mm256_min_epi32(__m256i(a), __m256i(b)));
#endif
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<Number, float> && N == 16)
      return Lanes(Larger ? _mm512_mask_max_ps(b, __mmask16(-1), b, a) : _mm512_mask_min_ps(b, __mmask16(-1), b, a));
    if constexpr (std::is_same_v<Number, double> && N == 8)
      return Lanes(Larger ? _mm512_mask_max_pd(b, __mmask8(-1), b, a) : _mm512_mask_min_pd(b, __mmask8(-1), b, a));
    if constexpr (std::is_same_v<Number, std::int32_t> && N == 16)
      return Lanes(Larger ? _mm512_mask_max_epi32(__m512i(b), __mmask16(-1), __m512i(b), __m512i(a))
                          : _mm512_mask_min_epi32(__m512i(b), __mmask16(-1), __m512i(b), __m512i(a)));
    if constexpr (std::is_same_v<Number, std::int64_t> && N == 8)
      return Lanes(Larger ? _mm512_mask_max_epi64(__m512i(b), __mmask8(-1), __m512i(b), __m512i(a))
                          : _mm512_mask_min_epi64(__m512i(b), __mmask8(-1), __m512i(b), __m512i(a)));
#endif
#endif
    return Larger ? choose_less<false, Number, N>(a, b, b, a) : choose_less<false, Number, N>(b, a, b, a);
  }
}
}  // namespace detail

/// The larger and the smaller of two; a where either is NaN.
template <class P>
KOKKOS_INLINE_FUNCTION P larger(P a, P b) {
  if constexpr (is_pack<P>)
    return P(detail::extreme<true, real_of<P>, P::width>(a.v, b.v));
  else
    return a < b ? b : a;
}
template <class P>
KOKKOS_INLINE_FUNCTION P smaller(P a, P b) {
  if constexpr (is_pack<P>)
    return P(detail::extreme<false, real_of<P>, P::width>(a.v, b.v));
  else
    return b < a ? b : a;
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

/// The larger of a ≥ 0 and |b|, for maxima over many numbers: packs compare bits, where what is not a number exceeds all
/// numbers, and `magnitude` of the result makes infinity of it. Single numbers become infinity at once.
template <class P>
KOKKOS_INLINE_FUNCTION P larger_magnitude(P a, P b) {
  if constexpr (is_pack<P>) {
    using Bits = bits_of<real_of<P>>;
    return detail::from_bits<P>(detail::extreme<true, Bits, P::width>(
        detail::to_bits(a), detail::to_bits(b) & std::numeric_limits<Bits>::max()));
  } else {
    return larger(a, magnitude(b));
  }
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
  static constexpr int count = N;
  P part[N];

  Several() = default;
  KOKKOS_FORCEINLINE_FUNCTION explicit Several(real_of<P> s) {
    unrolled<N>([&](auto k) ELKHORN_INLINE_LAMBDA { part[k] = P(s); });
  }
  // Number by number: GCC copies the memory of a struct in pieces of 16 bytes, which loads of a register wait for.
  KOKKOS_FORCEINLINE_FUNCTION Several(const Several& from) { *this = from; }
  // NOLINTNEXTLINE(bugprone-unhandled-self-assignment): parts copied onto themselves stay
  KOKKOS_FORCEINLINE_FUNCTION Several& operator=(const Several& from) {
    unrolled<N>([&](auto k) ELKHORN_INLINE_LAMBDA { part[k] = from.part[k]; });
    return *this;
  }
  /// Parts First, First + 1, …, Count of them.
  template <int First, int Count>
  KOKKOS_FORCEINLINE_FUNCTION Several<P, Count> some() const {
    Several<P, Count> out;
    unrolled<Count>([&](auto k) ELKHORN_INLINE_LAMBDA { out.part[k] = part[First + k]; });
    return out;
  }

  KOKKOS_FORCEINLINE_FUNCTION friend Several operator+(const Several& a, const Several& b) {
    return each([](P x, P y) ELKHORN_INLINE_LAMBDA { return x + y; }, a, b);
  }
  KOKKOS_FORCEINLINE_FUNCTION friend Several operator-(const Several& a, const Several& b) {
    return each([](P x, P y) ELKHORN_INLINE_LAMBDA { return x - y; }, a, b);
  }
  KOKKOS_FORCEINLINE_FUNCTION friend Several operator*(const Several& a, const Several& b) {
    return each([](P x, P y) ELKHORN_INLINE_LAMBDA { return x * y; }, a, b);
  }
  KOKKOS_FORCEINLINE_FUNCTION friend Several operator/(const Several& a, const Several& b) {
    return each([](P x, P y) ELKHORN_INLINE_LAMBDA { return x / y; }, a, b);
  }
  KOKKOS_FORCEINLINE_FUNCTION friend Several operator-(const Several& a) {
    return each([](P x) ELKHORN_INLINE_LAMBDA { return -x; }, a);
  }
};

/// f of the parts of several numbers, one part after the other.
template <class F, class P, int N, class... More>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> each(const F& f, const Several<P, N>& a, const More&... more) {
  Several<P, N> out;
  unrolled<N>([&](auto k) ELKHORN_INLINE_LAMBDA { out.part[k] = f(a.part[k], more.part[k]...); });
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
  return each([](P x, P y, P z) ELKHORN_INLINE_LAMBDA { return multiply_add(x, y, z); }, a, b, c);
}
template <class P, int N>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> larger(const Several<P, N>& a, const Several<P, N>& b) {
  return each([](P x, P y) ELKHORN_INLINE_LAMBDA { return larger(x, y); }, a, b);
}
template <class P, int N>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> smaller(const Several<P, N>& a, const Several<P, N>& b) {
  return each([](P x, P y) ELKHORN_INLINE_LAMBDA { return smaller(x, y); }, a, b);
}
template <class P, int N>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> absolute(const Several<P, N>& a) {
  return each([](P x) ELKHORN_INLINE_LAMBDA { return absolute(x); }, a);
}
template <class P, int N>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> with_sign(const Several<P, N>& magnitude, const Several<P, N>& sign) {
  return each([](P x, P y) ELKHORN_INLINE_LAMBDA { return with_sign(x, y); }, magnitude, sign);
}

}  // namespace elkhorn
