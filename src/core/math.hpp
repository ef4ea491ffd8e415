/// Transcendental functions on numbers (Pack or scalar), written so that every lane takes the same path.
///
/// Hosts: Cody–Waite reduction and polynomials, vectorised by the lanes; GPUs: the device's own functions.
/// Within 2 units in the last place in float64 (2.1 without fused multiply-adds) and 3.3 in float32, softplus 3.5 in both,
/// as tests/core/test_math.cpp holds them to.
///
/// They take Several numbers too, side by side, and are then faster.
///
/// Where a function takes `Precision`, it is that accurate: f<float>(x) of a double is good to about 1e-10, enough to be
/// rounded to a float later, and costs less than f(x).
#pragma once

#include <cmath>

#include "core/pack.hpp"

namespace elkhorn {

namespace detail {

/// What adding to a number of moderate size leaves its nearest integer n and the exponent's bias in the low bits.
template <class Real>
inline constexpr Real biased_shift = sizeof(Real) == 8 ? Real(6755399441055744.0 + 1023)
                                                       : Real(12582912.0 + 127);  // 1.5·2^52, 1.5·2^23

/// 2^n where `shifted` = n + biased_shift; n in the exponent range.
template <class P>
KOKKOS_FORCEINLINE_FUNCTION P power_of_two(P shifted) {
  using Real = real_of<P>;
  constexpr int mantissa = sizeof(Real) == 8 ? 52 : 23;
  if constexpr (is_pack<P>) {
    return from_bits<P>(to_bits(shifted) << mantissa);  // the constant's own bits are shifted out
  } else {
    std::make_unsigned_t<bits_of<Real>> bits;
    std::memcpy(&bits, &shifted, sizeof(bits));
    bits <<= mantissa;
    Real out;
    std::memcpy(&out, &bits, sizeof(out));
    return out;
  }
}

template <class P, int N>
KOKKOS_FORCEINLINE_FUNCTION Several<P, N> power_of_two(const Several<P, N>& shifted) {
  return each([](P x) ELKHORN_INLINE_LAMBDA { return power_of_two(x); }, shifted);
}

/// The type that says how accurate a function of P is to be.
template <class Precision, class P>
using precision_or_own = std::conditional_t<std::is_void_v<Precision>, real_of<P>, Precision>;

/// ±x = n·ln 2 / Part + r with |r| ≤ ln 2 / (2 Part), and 2^n. Returns r; `low` is what its rounding lost.
template <int Sign, int Part = 1, class P>
KOKKOS_FORCEINLINE_FUNCTION P reduce_ln2(const P& x, P& scale, P& low) {
  using Real = real_of<P>;
  constexpr Real ln2_hi = (sizeof(Real) == 8 ? Real(6.93147180369123816490e-01) : Real(0.693359375)) / Part;
  constexpr Real ln2_lo = (sizeof(Real) == 8 ? Real(1.90821492927058770002e-10) : Real(-2.12194440e-4)) / Part;
  const P shifted = multiply_add(x, P(Real(Sign * Part * 1.4426950408889634074)), P(biased_shift<Real>));
  const P n = shifted - P(biased_shift<Real>);
  const P most = multiply_add(n, P(-ln2_hi), Sign > 0 ? x : -x);
  const P r = multiply_add(n, P(-ln2_lo), most);
  scale = power_of_two(shifted);
  low = multiply_add(n, P(-ln2_lo), most - r);
  return r;
}

/// Σ coefficient_k r^k.
template <class P, int N>
KOKKOS_FORCEINLINE_FUNCTION P polynomial(const P& r, const real_of<P> (&coefficients)[N]) {
  P p(coefficients[N - 1]);
  for (int k = N - 2; k >= 0; --k) p = multiply_add(p, r, P(coefficients[k]));
  return p;
}

/// (e^r − 1 − r) / r² on |r| ≤ ln 2 / 2: minimax with weight |r|, to 0.2 (float: 0.3) units in the last place of e^r − 1.
template <class Precision, class P>
KOKKOS_FORCEINLINE_FUNCTION P expm1_tail(const P& r) {
  using Real = real_of<P>;
  if constexpr (sizeof(Precision) == 8) {
    constexpr Real c[] = {0.5000000000000006,    0.16666666666666666,   0.041666666666570505,   0.008333333333327106,
                          0.0013888888933138756, 0.0001984126987614942, 2.4801503690924905e-05, 2.755725181405167e-06,
                          2.762658896312847e-07, 2.5106965177464404e-08};
    return polynomial(r, c);
  } else if constexpr (sizeof(Real) == 4) {
    constexpr Real c[] = {0.500000006f, 0.166665453f, 0.0416662898f, 0.00836637398f, 0.00139460511f};
    return polynomial(r, c);
  } else {
    constexpr Real c[] = {1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880};
    return polynomial(r, c);
  }
}

/// e^r on |r| ≤ ln 2 / 2, minimax in relative error, to 0.8 units in the last place of floats.
template <class P>
KOKKOS_FORCEINLINE_FUNCTION P short_exp(const P& r) {
  constexpr float c[] = {1, 0.9999997f, 0.49999148f, 0.16667654f, 0.04189818f, 0.008289205f};
  return polynomial(r, c);
}

/// (e^2r − 1) / r on |r| ≤ ln 2 / 4, likewise, to 0.1 units.
template <class P>
KOKKOS_FORCEINLINE_FUNCTION P short_expm1_of_twice(const P& r) {
  constexpr float c[] = {2, 2, 1.3333238f, 0.66666925f, 0.26771557f, 0.088962726f};
  return polynomial(r, c);
}

template <class Precision, class P>
KOKKOS_FORCEINLINE_FUNCTION P host_exp(const P& x) {
  using Real = real_of<P>;
  // Within these bounds 2^n is a normal number; beyond, the result saturates (softplus needs no more).
  constexpr Real bound = sizeof(Real) == 8 ? Real(708.0) : Real(87.0);
  P scale, low;
  const P r = reduce_ln2<1>(smaller(larger(x, P(-bound)), P(bound)), scale, low);
  const P r2 = r * r;
  if constexpr (sizeof(Precision) == 8) {
    const P most = P(Real(1)) + r;
    const P rest = (r - (most - P(Real(1)))) + multiply_add(r2, expm1_tail<Precision>(r), low);
    return multiply_add(scale, most, scale * rest);
  }
  return multiply_add(scale, multiply_add(r2, expm1_tail<Precision>(r), r), scale);
}

/// (a + a_low) / (b + b_low), rounded about once.
template <class P>
KOKKOS_FORCEINLINE_FUNCTION P corrected_quotient(const P& a, const P& a_low, const P& b, const P& b_low) {
  const P inverse = P(real_of<P>(1)) / b;
  const P q = a * inverse;
  return multiply_add(multiply_add(-q, b_low, multiply_add(-q, b, a) + a_low), inverse, q);
}

template <class Precision, class P>
KOKKOS_FORCEINLINE_FUNCTION P host_sigmoid(const P& x) {
  using Real = real_of<P>;
  constexpr Real bound = sizeof(Real) == 8 ? Real(708.0) : Real(87.0);
  const P one(Real(1));
  P scale, low;
  const P r = reduce_ln2<-1>(smaller(larger(x, P(-bound)), P(bound)), scale, low);
  if constexpr (sizeof(Real) == 4) {
    return one / multiply_add(scale, short_exp(r), one);
  } else {
    const P rest = multiply_add(r * r, expm1_tail<Precision>(r), r);
    const P most = scale + one;  // 1 + e^−x is that and scale (e^r − 1), rounded once
    const P sum = multiply_add(scale, rest, most);
    if constexpr (sizeof(Precision) == 8)
      return corrected_quotient(one, P(Real(0)), sum, multiply_add(scale, rest, most - sum));
    return one / sum;
  }
}

template <class Precision, class P>
KOKKOS_FORCEINLINE_FUNCTION P host_tanh(const P& x) {
  using Real = real_of<P>;
  // tanh(|x|) = e/(e + 2), e = expm1(2|x|); beyond the bound it rounds to 1.
  constexpr Real bound = sizeof(Real) == 8 ? Real(20.0) : Real(10.0);
  const P two(Real(2));
  P scale, low, t;
  // NaN where x is, and so is the rest.
  const P size = smaller(absolute(x), P(bound));
  if constexpr (sizeof(Real) == 4) {
    const P r = reduce_ln2<1, 2>(size, scale, low);
    const P e = multiply_add(scale, r * short_expm1_of_twice(r), scale - P(Real(1)));
    t = e / (e + two);
  } else {
    const P r = reduce_ln2<1>(two * size, scale, low);
    const P r2 = r * r;
    const P tail = expm1_tail<Precision>(r), head = scale - P(Real(1));
    if constexpr (sizeof(Precision) == 8) {
      // Where scale = 2 and r < 0 most of it cancels, hence the large terms first and the small ones in one.
      const P most = multiply_add(scale, r, head);
      const P rest = scale * multiply_add(r2, tail, low);
      const P e = most + rest, e_low = rest - (e - most), sum = e + two;
      t = corrected_quotient(e, e_low, sum, (e - (sum - two)) + e_low);
    } else {
      const P e = multiply_add(scale, multiply_add(r2, tail, r), head);
      t = e / (e + two);
    }
  }
  return with_sign(t, x);
}

/// log(1 + t) for 0 ≤ t ≤ 1 as 2 atanh(t / (2 + t)), whose argument is at most 1/3.
template <class Precision, class P>
KOKKOS_FORCEINLINE_FUNCTION P log1p_unit(P t) {
  using Real = real_of<P>;
  const P s = t / (t + P(Real(2)));
  const P q = s * s;
  constexpr int terms = sizeof(Precision) == 8 ? 18 : sizeof(Real) == 8 ? 11 : 9;
  P p(Real(1.0) / Real(2 * terms - 1));
  for (int k = terms - 1; k >= 1; --k) p = multiply_add(p, q, P(Real(1) / Real(2 * k - 1)));
  return P(Real(2)) * s * p;
}

/// f(x). Several numbers take turns where they do not fit into registers beside f's own.
template <class P, class F>
KOKKOS_FORCEINLINE_FUNCTION P in_turns(const P& x, const F& f) {
  if constexpr (is_several<P>) {
    constexpr int fit = register_count / 4 / registers_of<typename P::P>, first = P::count < fit ? P::count : fit;
    if constexpr (first < P::count) {
      P out;
      const auto now = in_turns(x.template some<0, first>(), f);
      const auto later = in_turns(x.template some<first, P::count - first>(), f);
      elkhorn::unrolled<first>([&](auto k) ELKHORN_INLINE_LAMBDA { out.part[k] = now.part[k]; });
      elkhorn::unrolled<P::count - first>([&](auto k) ELKHORN_INLINE_LAMBDA { out.part[first + k] = later.part[k]; });
      return out;
    }
  }
  return f(x);
}

}  // namespace detail

/// e^x, saturating to the smallest and largest normal results; NaN is not preserved (states are guarded elsewhere).
template <class Precision = void, class P>
KOKKOS_FORCEINLINE_FUNCTION P exponential(const P& x) {
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  return ::exp(x);
#else
  return detail::in_turns(x, [](const auto& y) ELKHORN_INLINE_LAMBDA {
    return detail::host_exp<detail::precision_or_own<Precision, P>>(y);
  });
#endif
}

/// tanh x; NaN in, NaN out.
template <class Precision = void, class P>
KOKKOS_FORCEINLINE_FUNCTION P hyperbolic_tangent(const P& x) {
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  if constexpr (is_several<P>)
    return each([](auto y) ELKHORN_INLINE_LAMBDA { return hyperbolic_tangent<Precision>(y); }, x);
  else
    return ::tanh(x);
#else
  return detail::in_turns(x, [](const auto& y) ELKHORN_INLINE_LAMBDA {
    return detail::host_tanh<detail::precision_or_own<Precision, P>>(y);
  });
#endif
}

/// 1 / (1 + e^−x).
template <class Precision = void, class P>
KOKKOS_FORCEINLINE_FUNCTION P sigmoid(const P& x) {
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  if constexpr (is_several<P>)
    return each([](auto y) ELKHORN_INLINE_LAMBDA { return sigmoid<Precision>(y); }, x);
  else
    return P(1) / (P(1) + ::exp(-x));
#else
  return detail::in_turns(x, [](const auto& y) ELKHORN_INLINE_LAMBDA {
    return detail::host_sigmoid<detail::precision_or_own<Precision, P>>(y);
  });
#endif
}

/// log(1 + e^x) = max(x, 0) + log1p(e^−|x|).
template <class Precision = void, class P>
KOKKOS_INLINE_FUNCTION P softplus(const P& x) {
  using Real = real_of<P>;
  const P t = exponential<Precision>(-absolute(x));
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  return larger(x, P(Real(0))) + ::log1p(t);
#else
  return larger(x, P(Real(0))) + detail::log1p_unit<detail::precision_or_own<Precision, P>>(t);
#endif
}

}  // namespace elkhorn
