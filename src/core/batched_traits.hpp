/// What KokkosBatched asks of a number type, for Pack (its blocked algorithms need no more than this).
#pragma once

#include <KokkosBatched_Util.hpp>
#include <KokkosBatched_Vector.hpp>

#include "core/pack.hpp"

namespace KokkosBatched {

template <class Real, int N>
struct MagnitudeScalarType<elkhorn::Pack<Real, N>> {
  using type = Real;
};

}  // namespace KokkosBatched
