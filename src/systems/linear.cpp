/// linear: s_t = A s_{t−1} + u_t with one matrix; Newton solves it in one step, which tests lean on.
#include "systems/cell_system.hpp"
#include "systems/data.hpp"

namespace elkhorn::systems {

namespace {

template <class Real_>
struct LinearCell {
  using Real = Real_;

  Vector<Real> matrix;  ///< D·D, row by row
  int dim;

  KOKKOS_INLINE_FUNCTION int state_dim() const { return dim; }
  KOKKOS_INLINE_FUNCTION int input_dim() const { return dim; }
  double flops(Linearization) const { return 2.0 * dim * dim; }

  template <Linearization L, class S, class U, class Out>
  KOKKOS_INLINE_FUNCTION void evaluate(const S& s, const U& u, Out& out) const {
    using P = typename S::Number;
    for (int i = 0; i < dim; ++i) {
      const Real* const row = &matrix(static_cast<long>(i) * dim);
      P sum = u[i];
      for (int j = 0; j < dim; ++j) {
        sum = sum + P(row[j]) * s[j];
        if (L == Linearization::dense) out.dense(i, j, P(row[j]));
      }
      out.value(i, sum);
      if (L == Linearization::diagonal) out.diagonal(i, P(row[i]));
    }
  }
};

Array matrix_of(const deck::Case& c) {
  if (c.weights == "random") {
    std::vector<double> a = random_orthogonal(c.state_dim, c.seed, 0);
    for (double& x : a) x *= c.system_options.at("radius");
    return {{c.state_dim, c.state_dim}, a};
  }
  const Array a = read_weights(c, "matrix", {-1, -1});
  if (a.shape[0] != a.shape[1])
    throw InputError(c.origin("system.weights"),
                     c.weights + "/matrix has shape " + record::shape_text(a.shape) + ", a square one is needed");
  if (c.state_dim > 0 && c.state_dim != a.shape[0])
    throw InputError(c.origin("system.state_dim"), "is " + std::to_string(c.state_dim) + ", but the matrix in " +
                                                       c.weights + " has D = " + std::to_string(a.shape[0]));
  return a;
}

Shape inspect_linear(const deck::Case& c) {
  const long dim = matrix_of(c).shape[0];
  inspect_initial_state(c, dim);
  return {dim, dim, inspect_drivers(c, dim, 0)};
}

template <class Real>
Instance<Real> make_linear(const deck::Case& c, parallel::Range batch) {
  const Array a = matrix_of(c);
  const LinearCell<Real> cell{to_device<Real>(a.values), static_cast<int>(a.shape[0])};
  Instance<Real> out;
  out.system = std::make_shared<CellSystem<LinearCell<Real>>>(cell, double(a.values.size()) * sizeof(Real));
  out.drivers = make_drivers<Real>(c, driver_steps(c, cell.dim, 0), cell.dim, batch);
  out.initial = make_initial_state<Real>(c, cell.dim, batch);
  return out;
}

}  // namespace

Registration register_linear() {
  SystemInfo info;
  info.kind = "linear";
  info.doc = "s_t = A s_{t-1} + u_t with one matrix, random orthogonal times radius or given; for tests";
  info.default_state_dim = 4;
  info.options = {{"radius", 0.9, 0, 10, false, "spectral radius of the random matrix"}};
  return {info, inspect_linear, make_linear<float>, make_linear<double>};
}

}  // namespace elkhorn::systems
