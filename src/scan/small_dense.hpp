/// Products and solves with the D×D blocks of one lane group (P = Pack) or lane (P = Real), by KokkosBatched.
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
  using Batched = KokkosBatched::Trans::NoTranspose;
};
struct Transposed {
  using Batched = KokkosBatched::Trans::Transpose;
};

/// c ← alpha·op(a)·op(b) + beta·c; c must not overlap a or b.
template <class OpA, class OpB, class A, class B, class C>
KOKKOS_INLINE_FUNCTION void multiply(real_of<typename C::P> alpha, const A& a, const B& b, real_of<typename C::P> beta,
                                     const C& c) {
  KokkosBatched::SerialGemm<typename OpA::Batched, typename OpB::Batched, KokkosBatched::Algo::Gemm::Blocked>::invoke(
      alpha, a.view(), b.view(), beta, c.view());
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
