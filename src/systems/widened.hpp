/// Evaluating a step in double precision whatever the states are stored in, so that it is rounded once.
#pragma once

#include "core/pack.hpp"

namespace elkhorn::systems {

namespace detail {
template <class P>
struct WidenedOf {
  using type = double;
};
template <class Real, int N>
struct WidenedOf<Pack<Real, N>> {
  using type = Pack<double, N>;
};

template <class To, class From>
KOKKOS_INLINE_FUNCTION To convert(From x) {
#if defined(__GNUC__) && !defined(__CUDACC__) && !defined(__HIPCC__)
  if constexpr (is_pack<To>) {
    constexpr int width = To::width;
    using Half = Pack<real_of<To>, width / 2>;
    if constexpr (!elkhorn::detail::is_split<double, width>) {
      return To(__builtin_convertvector(x.v, typename To::Lanes));
    } else if constexpr (width > 4) {
      return join(convert<Half>(half<0>(x)), convert<Half>(half<1>(x)));
    } else {  // half of such floats is no pack
      To out;
      for (int lane = 0; lane < width; ++lane) out.set(lane, static_cast<real_of<To>>(x[lane]));
      return out;
    }
  }
#endif
  if constexpr (!is_pack<To>) return static_cast<To>(x);
}
}  // namespace detail

/// As many lanes of doubles; double for a single number.
template <class P>
using Widened = typename detail::WidenedOf<P>::type;

template <class P>
KOKKOS_INLINE_FUNCTION Widened<P> widen(P x) {
  return detail::convert<Widened<P>>(x);
}
/// Rounded to the type of P's numbers.
template <class P>
KOKKOS_INLINE_FUNCTION P narrow(Widened<P> x) {
  return detail::convert<P>(x);
}

/// A strip (scan/panel.hpp) that is read in double precision.
template <class S>
struct WideStrip {
  using Number = Widened<typename S::Number>;
  S numbers;
  KOKKOS_INLINE_FUNCTION Number operator[](long i) const { return widen(numbers[i]); }
};

}  // namespace elkhorn::systems
