/// Transcendental functions on numbers (Pack or scalar), written so that every lane takes the same path.
///
/// Hosts: Cody–Waite reduction and polynomials, vectorised by the lanes; GPUs: the device's own functions.
/// Accuracy against the libm, measured by tests/core/test_math.cpp: see there for the bounds asserted.
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
    std::make_unsigned_t<bits_of<Real>> moved = static_cast<std::make_unsigned_t<bits_of<Real>>>(bits + bias) << mantissa;
    Real out;
    std::memcpy(&out, &moved, sizeof(out));
    return out;
  }
}

/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; returns r, and n + shift in `shifted`, n in `n`.
template <class P>
inline P reduce_ln2(P x, P& shifted, P& n) {
  using Real = real_of<P>;
  constexpr Real shift = sizeof(Real) == 8 ? Real(6755399441055744.0) : Real(12582912.0);  // 1.5·2^52, 1.5·2^23
  constexpr Real ln2_hi = sizeof(Real) == 8 ? Real(6.93147180369123816490e-01) : Real(0.693359375);
  constexpr Real ln2_lo = sizeof(Real) == 8 ? Real(1.90821492927058770002e-10) : Real(-2.12194440e-4);
  shifted = x * P(Real(1.4426950408889634074)) + P(shift);
  n = shifted - P(shift);
  return (x - n * P(ln2_hi)) - n * P(ln2_lo);
}

/// (e^r − 1 − r) / r² on |r| ≤ ln 2 / 2 by its Taylor series (remainder below a tenth of the rounding error).
template <class P>
inline P expm1_tail(P r) {
  using Real = real_of<P>;
  if constexpr (sizeof(Real) == 8) {
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
  } else {
    P p(Real(1.0 / 5040.0));
    p = p * r + P(Real(1.0 / 720.0));
    p = p * r + P(Real(1.0 / 120.0));
    p = p * r + P(Real(1.0 / 24.0));
    p = p * r + P(Real(1.0 / 6.0));
    return p * r + P(Real(0.5));
  }
}

template <class P>
inline P host_exp(P x) {
  using Real = real_of<P>;
  // Within these bounds 2^n is a normal number; beyond, the result saturates (sigmoid and softplus need no more).
  constexpr Real bound = sizeof(Real) == 8 ? Real(708.0) : Real(87.0);
  x = smaller(larger(x, P(-bound)), P(bound));
  P shifted, n;
  const P r = reduce_ln2(x, shifted, n);
  const P em1 = r + r * r * expm1_tail(r);
  const P scale = power_of_two(shifted);
  return scale + scale * em1;
}

template <class P>
inline P host_tanh(P x) {
  using Real = real_of<P>;
  // tanh(|x|) = e/(e + 2), e = expm1(2|x|); beyond the bound it rounds to 1.
  constexpr Real bound = sizeof(Real) == 8 ? Real(40.0) : Real(20.0);
  const P y = smaller(P(Real(2)) * absolute(x), P(bound));
  P shifted, n;
  const P r = reduce_ln2(y, shifted, n);
  const P scale = power_of_two(shifted);
  const P em1 = scale * (r + r * r * expm1_tail(r)) + (scale - P(Real(1)));
  const P t = em1 / (em1 + P(Real(2)));
  const P signed_t = select_less(x, P(Real(0)), -t, t);
  return select_less_equal(absolute(x), P(std::numeric_limits<Real>::max()), signed_t, x - x + signed_t);
}

/// log(1 + t) for 0 ≤ t ≤ 1 as 2 atanh(t / (2 + t)), whose argument is at most 1/3.
template <class P>
inline P log1p_unit(P t) {
  using Real = real_of<P>;
  const P s = t / (t + P(Real(2)));
  const P q = s * s;
  constexpr int terms = sizeof(Real) == 8 ? 18 : 9;
  P p(Real(1.0) / Real(2 * terms - 1));
  for (int k = terms - 1; k >= 1; --k) p = p * q + P(Real(1) / Real(2 * k - 1));
  return P(Real(2)) * s * p;
}

}  // namespace detail

/// e^x, saturating to the smallest and largest normal results; NaN is not preserved (states are guarded elsewhere).
template <class P>
KOKKOS_INLINE_FUNCTION P exponential(P x) {
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  return ::exp(x);
#else
  return detail::host_exp(x);
#endif
}

/// tanh x; NaN in, NaN out.
template <class P>
KOKKOS_INLINE_FUNCTION P hyperbolic_tangent(P x) {
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  return ::tanh(x);
#else
  return detail::host_tanh(x);
#endif
}

/// 1 / (1 + e^−x).
template <class P>
KOKKOS_INLINE_FUNCTION P sigmoid(P x) {
  using Real = real_of<P>;
  return P(Real(1)) / (P(Real(1)) + exponential(-x));
}

/// log(1 + e^x) = max(x, 0) + log1p(e^−|x|).
template <class P>
KOKKOS_INLINE_FUNCTION P softplus(P x) {
  using Real = real_of<P>;
  const P t = exponential(-absolute(x));
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  return larger(x, P(Real(0))) + ::log1p(t);
#else
  return larger(x, P(Real(0))) + detail::log1p_unit(t);
#endif
}

}  // namespace elkhorn
