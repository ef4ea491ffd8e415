/// Products and solves with the D×D blocks of one lane group (P = Pack) or lane (P = Real), by KokkosBatched but for products
/// of groups.
#pragma once

#include <KokkosBatched_Gemm_Decl.hpp>
#include <KokkosBatched_Gemm_Serial_Impl.hpp>
#include <KokkosBatched_LU_Decl.hpp>
#include <KokkosBatched_LU_Serial_Impl.hpp>
#include <KokkosBatched_Trsm_Decl.hpp>
#include <KokkosBatched_Trsm_Serial_Impl.hpp>

#include "core/batched_traits.hpp"
#include "scan/panel.hpp"

namespace elkhorn::scan {

/// A rows × cols matrix, row by row in a strip.
template <class S>
struct Block {
  S s;
  int rows, cols;
  int row_stride;  ///< components from one row to the next

  using P = typename S::Number;
  static constexpr long apart = static_cast<long>(S::stride) * width_of<P>;  ///< reals from one component to the next
  KOKKOS_INLINE_FUNCTION P operator()(int i, int j) const { return s[static_cast<long>(i) * row_stride + j]; }
  KOKKOS_INLINE_FUNCTION void set(int i, int j, P v) const { s.set(static_cast<long>(i) * row_stride + j, v); }

  using View = Kokkos::View<P**, Kokkos::LayoutStride, Memory, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;
  KOKKOS_INLINE_FUNCTION View view() const {
    return View(reinterpret_cast<P*>(s.p), Kokkos::LayoutStride(rows, row_stride * S::stride, cols, S::stride));
  }
};

template <class S>
KOKKOS_INLINE_FUNCTION Block<S> block(S s, int rows, int cols) {
  return {s, rows, cols, cols};
}
template <class S>
KOKKOS_INLINE_FUNCTION Block<S> block(S s, int rows, int cols, int row_stride) {
  return {s, rows, cols, row_stride};
}

struct Plain {
  static constexpr bool transposed = false;
  using Batched = KokkosBatched::Trans::NoTranspose;
};
struct Transposed {
  static constexpr bool transposed = true;
  using Batched = KokkosBatched::Trans::Transpose;
};

namespace detail {
/// Some lanes V of a block or its transpose: (i, j) at p[i · row + j · column].
template <class V>
struct Lanes {
  real_of<V>* p;
  long row, column;

  V operator()(int i, int j) const { return load<V>(p + i * row + j * column); }
  Lanes from(int i, int j) const { return {p + i * row + j * column, row, column}; }
};

/// Tiles of a product whose sums fill the registers with a row of b and a number of a.
inline constexpr int tile_rows = register_count >= 32 ? 4 : 2, tile_columns = 4;

/// M × N numbers of c from `inner` columns of a and rows of b. KokkosBatched's tiles of 4 × 4 numbers are of one shape for
/// all: packs of two registers do not fit (ELK in float64 with AVX2 reached a third of the peak).
template <int M, int N, class V>
ELKHORN_OWN_REGISTERS void multiply_tile(const Lanes<V>& a, const Lanes<V>& b, int inner, const Lanes<V>& c, bool add) {
  V sum[M * N];
  unrolled<M * N>([&](auto s) ELKHORN_INLINE_LAMBDA { sum[s] = add ? c(s / N, s % N) : V(real_of<V>(0)); });
  for (int k = 0; k < inner; ++k) {
    V right[N];
    unrolled<N>([&](auto n) ELKHORN_INLINE_LAMBDA {
      right[n] = b(k, n);
      hold(right[n]);
    });
    unrolled<M>([&](auto m) ELKHORN_INLINE_LAMBDA {
      V left = a(m, k);
      hold(left);
      unrolled<N>([&](auto n) ELKHORN_INLINE_LAMBDA { sum[m * N + n] = multiply_add(left, right[n], sum[m * N + n]); });
    });
  }
  unrolled<M * N>([&](auto s) ELKHORN_INLINE_LAMBDA { store<V>(c.from(s / N, s % N).p, sum[s]); });
}

template <int M, class V>
void multiply_rows(const Lanes<V>& a, const Lanes<V>& b, int inner, int columns, const Lanes<V>& c, bool add) {
  int j = 0;
  for (; j + tile_columns <= columns; j += tile_columns)
    multiply_tile<M, tile_columns>(a, b.from(0, j), inner, c.from(0, j), add);
  for (; j < columns; ++j) multiply_tile<M, 1>(a, b.from(0, j), inner, c.from(0, j), add);
}

template <class V>
void multiply_lanes(const Lanes<V>& a, const Lanes<V>& b, int rows, int inner, int columns, const Lanes<V>& c,
                    bool add) {
  int i = 0;
  for (; i + tile_rows <= rows; i += tile_rows)
    multiply_rows<tile_rows>(a.from(i, 0), b, inner, columns, c.from(i, 0), add);
  for (; i < rows; ++i) multiply_rows<1>(a.from(i, 0), b, inner, columns, c.from(i, 0), add);
}

template <class OpA, class OpB, class A, class B, class C>
KOKKOS_INLINE_FUNCTION void multiply(const A& a, const B& b, const C& c, bool add) {
  using P = typename C::P;
  using Real = real_of<P>;
  if constexpr (exec_is_host && is_pack<P>) {
    constexpr int lanes = width_of<P> / registers_of<P>;
    using V = Pack<Real, lanes>;
    const auto of = [](const auto& m, bool transposed, int lane) {
      constexpr long apart = std::decay_t<decltype(m)>::apart;
      const long down = m.row_stride * apart;
      return Lanes<V>{m.s.p + lane, transposed ? apart : down, transposed ? down : apart};
    };
    for (int lane = 0; lane < width_of<P>; lane += lanes)
      multiply_lanes(of(a, OpA::transposed, lane), of(b, OpB::transposed, lane), c.rows,
                     OpA::transposed ? a.rows : a.cols, c.cols, of(c, false, lane), add);
  } else {
    KokkosBatched::SerialGemm<typename OpA::Batched, typename OpB::Batched, KokkosBatched::Algo::Gemm::Blocked>::invoke(
        Real(1), a.view(), b.view(), Real(add ? 1 : 0), c.view());
  }
}
}  // namespace detail

/// c ← op(a)·op(b); c must not overlap a or b.
template <class OpA, class OpB, class A, class B, class C>
KOKKOS_INLINE_FUNCTION void multiply(const A& a, const B& b, const C& c) {
  detail::multiply<OpA, OpB>(a, b, c, false);
}
/// c ← c + op(a)·op(b).
template <class OpA, class OpB, class A, class B, class C>
KOKKOS_INLINE_FUNCTION void add_product(const A& a, const B& b, const C& c) {
  detail::multiply<OpA, OpB>(a, b, c, true);
}

/// x ← a⁻¹·x for symmetric positive definite a (LU without pivoting is stable there); a is overwritten.
template <class A, class X>
KOKKOS_INLINE_FUNCTION void solve_spd(const A& a, const X& x) {
  namespace KB = KokkosBatched;
  using Algorithm = KB::Algo::Trsm::Blocked;
  const real_of<typename X::P> one(1);
  KB::SerialLU<KB::Algo::LU::Blocked>::invoke(a.view());
  KB::SerialTrsm<KB::Side::Left, KB::Uplo::Lower, KB::Trans::NoTranspose, KB::Diag::Unit, Algorithm>::invoke(
      one, a.view(), x.view());
  KB::SerialTrsm<KB::Side::Left, KB::Uplo::Upper, KB::Trans::NoTranspose, KB::Diag::NonUnit, Algorithm>::invoke(
      one, a.view(), x.view());
}

/// The lower Cholesky factor of a symmetric positive semidefinite matrix, zeros above the diagonal. A pivot that is
/// not positive (a semidefinite matrix in rounding) gives a zero column. KokkosBatched 3.4 has no Cholesky.
template <class A, class L>
KOKKOS_INLINE_FUNCTION void cholesky(const A& a, const L& l) {
  using P = typename A::P;
  using Real = real_of<P>;
  const int n = a.rows;
  for (int j = 0; j < n; ++j) {
    P pivot = a(j, j);
    for (int k = 0; k < j; ++k) pivot = pivot - l(j, k) * l(j, k);
    const P zero(Real(0));
    const P root = square_root(larger(pivot, zero));
    const P inverse = select_less(zero, root, P(Real(1)) / root, zero);
    l.set(j, j, root);
    for (int i = j + 1; i < n; ++i) {
      P sum = a(i, j);
      for (int k = 0; k < j; ++k) sum = sum - l(i, k) * l(j, k);
      l.set(i, j, sum * inverse);
      l.set(j, i, zero);
    }
  }
}

/// x ← l⁻¹·x for a lower factor from `cholesky`; zero pivots give zero rows.
template <class L, class X>
KOKKOS_INLINE_FUNCTION void solve_lower(const L& l, const X& x) {
  using P = typename L::P;
  using Real = real_of<P>;
  const P zero(Real(0));
  for (int i = 0; i < l.rows; ++i) {
    const P pivot = l(i, i);
    const P inverse = select_less(zero, pivot, P(Real(1)) / pivot, zero);
    for (int j = 0; j < x.cols; ++j) {
      P sum = x(i, j);
      for (int k = 0; k < i; ++k) sum = sum - l(i, k) * x(k, j);
      x.set(i, j, sum * inverse);
    }
  }
}

}  // namespace elkhorn::scan
