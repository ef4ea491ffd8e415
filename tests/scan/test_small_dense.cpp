// Products of blocks of any shape, lane by lane, against sums written out.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "scan/small_dense.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::scan;

template <class P>
class SmallDense : public ::testing::Test {};
using Numbers = ::testing::Types<LanePack<float>, LanePack<double>, float, double>;
TYPED_TEST_SUITE(SmallDense, Numbers);

/// A block within a larger matrix, no two of whose numbers are the same.
template <class P>
struct Operand {
  std::vector<real_of<P>> numbers;
  int rows, cols, row_stride;

  Operand(int r, int c, double seed) : rows(r), cols(c), row_stride(c + 3) {
    numbers.resize(static_cast<std::size_t>(r * row_stride * width_of<P>));
    for (std::size_t i = 0; i < numbers.size(); ++i)
      numbers[i] = real_of<P>(std::sin(seed + 1.7 * static_cast<double>(i)));
  }
  Block<WorkStrip<P>> block() { return {{numbers.data()}, rows, cols, row_stride}; }
  double at(int i, int j, int lane) const {
    return static_cast<double>(numbers[static_cast<std::size_t>((i * row_stride + j) * width_of<P> + lane)]);
  }
};

template <class P, class OpA, class OpB>
double largest_error(int rows, int inner, int cols) {
  const bool ta = OpA::transposed, tb = OpB::transposed;
  Operand<P> a(ta ? inner : rows, ta ? rows : inner, 0.1), b(tb ? cols : inner, tb ? inner : cols, 0.2),
      c(rows, cols, 0.3);
  Operand<P> sum = c;
  multiply<OpA, OpB>(a.block(), b.block(), c.block());
  const Operand<P> before = sum;
  add_product<OpA, OpB>(a.block(), b.block(), sum.block());
  double worst = 0;
  for (int lane = 0; lane < width_of<P>; ++lane)
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < cols; ++j) {
        double exact = 0;
        for (int k = 0; k < inner; ++k)
          exact += (ta ? a.at(k, i, lane) : a.at(i, k, lane)) * (tb ? b.at(j, k, lane) : b.at(k, j, lane));
        worst = std::fmax(worst, std::fabs(c.at(i, j, lane) - exact));
        worst = std::fmax(worst, std::fabs(sum.at(i, j, lane) - before.at(i, j, lane) - exact));
      }
  // What lies between the rows is another's.
  for (int i = 0; i < rows; ++i)
    for (int j = cols; j < c.row_stride; ++j)
      for (int lane = 0; lane < width_of<P>; ++lane)
        if (c.at(i, j, lane) != before.at(i, j, lane) || sum.at(i, j, lane) != before.at(i, j, lane)) worst = INFINITY;
  return worst;
}

TYPED_TEST(SmallDense, ProductsOfAnyShape) {
  const double bound = sizeof(real_of<TypeParam>) == 4 ? 5e-6 : 1e-14;
  for (const int rows : {1, 2, 3, 4, 5, 8, 11})
    for (const int cols : {1, 2, 3, 4, 5, 8, 13})
      for (const int inner : {1, 4, 7}) {
        SCOPED_TRACE(::testing::Message() << rows << " x " << inner << " x " << cols);
        EXPECT_LE((largest_error<TypeParam, Plain, Plain>(rows, inner, cols)), bound);
        EXPECT_LE((largest_error<TypeParam, Plain, Transposed>(rows, inner, cols)), bound);
        EXPECT_LE((largest_error<TypeParam, Transposed, Plain>(rows, inner, cols)), bound);
      }
}

}  // namespace
