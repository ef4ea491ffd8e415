/// Transcendental functions on numbers (Pack or scalar), written so that every lane takes the same path.
///
/// Hosts: Cody–Waite reduction and polynomials, vectorised by the lanes; GPUs: the device's own functions.
/// Within 2 units in the last place (softplus 3), as tests/core/test_math.cpp holds them to.
///
/// Where a function takes `Precision`, it is that accurate: f<float>(x) of a double is good to about 1e-10, enough to be
/// rounded to a float later, and costs less than f(x).
#pragma once

#include <cmath>

#include "core/pack.hpp"

namespace elkhorn {

namespace detail {

/// 2^n for the integral number held in the low bits of `shifted` = n + 1.5·2^(mantissa bits); n in the exponent range.
template <class P>
inline P power_of_two(P shifted) {
  using Real = real_of<P>;
  constexpr int mantissa = sizeof(Real) == 8 ? 52 : 23;
  constexpr bits_of<Real> bias = sizeof(Real) == 8 ? 1023 : 127;
  if constexpr (is_pack<P>) {
    typename P::Bits bits;
    std::memcpy(&bits, &shifted.v, sizeof(bits));
    bits = (bits + bias) << mantissa;  // the constant's own bits are shifted out
    P out;
    std::memcpy(&out.v, &bits, sizeof(bits));
    return out;
  } else {
    bits_of<Real> bits;
    std::memcpy(&bits, &shifted, sizeof(bits));
    std::make_unsigned_t<bits_of<Real>> moved = static_cast<std::make_unsigned_t<bits_of<Real>>>(bits + bias)
                                                << mantissa;
    Real out;
    std::memcpy(&out, &moved, sizeof(out));
    return out;
  }
}

/// The type that says how accurate a function of P is to be.
template <class Precision, class P>
using precision_or_own = std::conditional_t<std::is_void_v<Precision>, real_of<P>, Precision>;

/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; returns r, what its rounding lost in `low`, and n + shift in `shifted`.
template <class P>
inline P reduce_ln2(P x, P& shifted, P& low) {
  using Real = real_of<P>;
  constexpr Real shift = sizeof(Real) == 8 ? Real(6755399441055744.0) : Real(12582912.0);  // 1.5·2^52, 1.5·2^23
  constexpr Real ln2_hi = sizeof(Real) == 8 ? Real(6.93147180369123816490e-01) : Real(0.693359375);
  constexpr Real ln2_lo = sizeof(Real) == 8 ? Real(1.90821492927058770002e-10) : Real(-2.12194440e-4);
  shifted = x * P(Real(1.4426950408889634074)) + P(shift);
  const P n = shifted - P(shift);
  const P most = x - n * P(ln2_hi);
  const P r = most - n * P(ln2_lo);
  low = (most - r) - n * P(ln2_lo);
  return r;
}

/// (e^r − 1 − r) / r² on |r| ≤ ln 2 / 2; of doubles by its Taylor series (remainder below a tenth of the rounding error).
template <class Precision, class P>
inline P expm1_tail(P r) {
  using Real = real_of<P>;
  if constexpr (sizeof(Precision) == 8) {
    P p(Real(1.0 / 6227020800.0));
    p = p * r + P(Real(1.0 / 479001600.0));
    p = p * r + P(Real(1.0 / 39916800.0));
    p = p * r + P(Real(1.0 / 3628800.0));
    p = p * r + P(Real(1.0 / 362880.0));
    p = p * r + P(Real(1.0 / 40320.0));
    p = p * r + P(Real(1.0 / 5040.0));
    p = p * r + P(Real(1.0 / 720.0));
    p = p * r + P(Real(1.0 / 120.0));
    p = p * r + P(Real(1.0 / 24.0));
    p = p * r + P(Real(1.0 / 6.0));
    return p * r + P(Real(0.5));
  } else if constexpr (sizeof(Real) == 4) {
    // Minimax (weight |r|): a term less than Taylor's series, and within 0.3 units in the last place of a float.
    P p(Real(0.00139460511));
    p = p * r + P(Real(0.00836637398));
    p = p * r + P(Real(0.0416662898));
    p = p * r + P(Real(0.166665453));
    return p * r + P(Real(0.500000006));
  } else {
    P p(Real(1.0 / 5040.0));
    p = (P(Real(1.0 / 362880.0)) * r + P(Real(1.0 / 40320.0))) * r + p;
    p = p * r + P(Real(1.0 / 720.0));
    p = p * r + P(Real(1.0 / 120.0));
    p = p * r + P(Real(1.0 / 24.0));
    p = p * r + P(Real(1.0 / 6.0));
    return p * r + P(Real(0.5));
  }
}

template <class Precision, class P>
inline P host_exp(P x) {
  using Real = real_of<P>;
  // Within these bounds 2^n is a normal number; beyond, the result saturates (sigmoid and softplus need no more).
  constexpr Real bound = sizeof(Real) == 8 ? Real(708.0) : Real(87.0);
  x = smaller(larger(x, P(-bound)), P(bound));
  P shifted, low;
  const P r = reduce_ln2(x, shifted, low);
  const P tail = r * r * expm1_tail<Precision>(r);
  const P scale = power_of_two(shifted);
  if constexpr (sizeof(Precision) == 8) {
    const P most = P(Real(1)) + r;
    return scale * most + scale * ((r - (most - P(Real(1)))) + (tail + low));
  }
  return scale + scale * (r + tail);
}

/// (a + a_low) / (b + b_low), rounded about once.
template <class P>
inline P corrected_quotient(P a, P a_low, P b, P b_low) {
  const P inverse = P(real_of<P>(1)) / b;
  const P q = a * inverse;
  return q + (((a - q * b) + a_low) - q * b_low) * inverse;
}

template <class Precision, class P>
inline P host_sigmoid(P x) {
  using Real = real_of<P>;
  const P one(Real(1));
  const P e = host_exp<Precision>(-x);
  const P sum = one + e;
  if constexpr (sizeof(Precision) == 8) {
    const P most = sum - one;  // e but for rounding; both remainders are exact (Knuth's sum)
    return corrected_quotient(one, P(Real(0)), sum, (e - most) + (one - (sum - most)));
  }
  return one / sum;
}

template <class Precision, class P>
inline P host_tanh(P x) {
  using Real = real_of<P>;
  // tanh(|x|) = e/(e + 2), e = expm1(2|x|); beyond the bound it rounds to 1.
  constexpr Real bound = sizeof(Real) == 8 ? Real(40.0) : Real(20.0);
  const P y = smaller(P(Real(2)) * absolute(x), P(bound));  // NaN where x is not a number, and so is all that follows
  P shifted, low;
  const P r = reduce_ln2(y, shifted, low);
  const P scale = power_of_two(shifted);
  const P tail = r * r * expm1_tail<Precision>(r);
  P t;
  if constexpr (sizeof(Precision) == 8) {
    // Where scale = 2 and r < 0 most of it cancels, hence the large terms first and the small ones in one.
    const P most = scale * r + (scale - P(Real(1))), rest = scale * (tail + low);
    const P e = most + rest, e_low = rest - (e - most);
    t = corrected_quotient(e, e_low, e + P(Real(2)), e - ((e + P(Real(2))) - P(Real(2))) + e_low);
  } else {
    const P e = scale * (r + tail) + (scale - P(Real(1)));
    t = e / (e + P(Real(2)));
  }
  return with_sign(t, x);
}

/// log(1 + t) for 0 ≤ t ≤ 1 as 2 atanh(t / (2 + t)), whose argument is at most 1/3.
template <class Precision, class P>
inline P log1p_unit(P t) {
  using Real = real_of<P>;
  const P s = t / (t + P(Real(2)));
  const P q = s * s;
  constexpr int terms = sizeof(Precision) == 8 ? 18 : sizeof(Real) == 8 ? 11 : 9;
  P p(Real(1.0) / Real(2 * terms - 1));
  for (int k = terms - 1; k >= 1; --k) p = p * q + P(Real(1) / Real(2 * k - 1));
  return P(Real(2)) * s * p;
}

}  // namespace detail

/// e^x, saturating to the smallest and largest normal results; NaN is not preserved (states are guarded elsewhere).
template <class Precision = void, class P>
KOKKOS_INLINE_FUNCTION P exponential(P x) {
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  return ::exp(x);
#else
  return detail::host_exp<detail::precision_or_own<Precision, P>>(x);
#endif
}

/// tanh x; NaN in, NaN out.
template <class Precision = void, class P>
KOKKOS_INLINE_FUNCTION P hyperbolic_tangent(P x) {
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  return ::tanh(x);
#else
  return detail::host_tanh<detail::precision_or_own<Precision, P>>(x);
#endif
}

/// 1 / (1 + e^−x).
template <class Precision = void, class P>
KOKKOS_INLINE_FUNCTION P sigmoid(P x) {
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  return P(1) / (P(1) + ::exp(-x));
#else
  return detail::host_sigmoid<detail::precision_or_own<Precision, P>>(x);
#endif
}

/// log(1 + e^x) = max(x, 0) + log1p(e^−|x|).
template <class Precision = void, class P>
KOKKOS_INLINE_FUNCTION P softplus(P x) {
  using Real = real_of<P>;
  const P t = exponential<Precision>(-absolute(x));
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  return larger(x, P(Real(0))) + ::log1p(t);
#else
  return larger(x, P(Real(0))) + detail::log1p_unit<detail::precision_or_own<Precision, P>>(t);
#endif
}

}  // namespace elkhorn
