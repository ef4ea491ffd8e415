/// lorenz96: dx_i/dt = (x_{i+1} − x_{i−2}) x_{i−1} − x_i + F on a ring of D, one Dormand–Prince 5 step a time step.
#include <algorithm>
#include <cmath>

#include "systems/cell_system.hpp"
#include "systems/data.hpp"
#include "systems/dormand_prince.hpp"
#include "systems/lorenz96_starts.hpp"

namespace elkhorn::systems {

namespace {

namespace dp = dormand_prince;

/// The Jacobian is found column by column: the tangent e_j is carried through the six stages. A slope reaches from
/// x_{i−2} to x_{i+1}, so after m stages the tangent lives on the offsets −m..2m from j. On rings shorter than that its
/// parts meet, and whole rings are carried; on longer ones only the offsets that count:
///   dense     −m..2m, at most 19 a stage, hence O(D) numbers other than zero;
///   diagonal  of these, the ones that still reach j: 30 slopes a column in all, hence O(D) work.
template <class Real_>
struct Lorenz96Cell {
  using Real = Real_;
  static constexpr int longest_band = 22;   ///< offsets −6..12 and the neighbours they read
  static constexpr int no_way_around = 13;  ///< no path of six stages gets around rings from this size on

  Real forcing;
  double step;
  int dim;

  KOKKOS_INLINE_FUNCTION int state_dim() const { return dim; }
  KOKKOS_INLINE_FUNCTION int input_dim() const { return 0; }
  KOKKOS_INLINE_FUNCTION int band() const { return dim < longest_band ? dim : longest_band; }
  /// Six slopes, five stage states, and a tangent with its five slopes.
  KOKKOS_INLINE_FUNCTION int scratch_size() const { return (2 * dp::stages - 1) * dim + dp::stages * band(); }

  double flops(Linearization l) const {
    constexpr double weighted = 15 + 6, slope = 4, tangent = 7;
    const double D = dim, values = D * (2 * weighted + dp::stages * slope);
    const double ring = D * (2 * weighted + dp::stages * tangent);
    if (l == Linearization::dense)
      return values + D * (dim < longest_band ? ring : 19.0 * (2 * weighted + 6 * tangent));
    if (l == Linearization::diagonal)
      return values + D * (dim < no_way_around ? ring : 30.0 * (tangent + 2 * weighted / dp::stages));
    return values;
  }

  /// i + offset on the ring.
  KOKKOS_INLINE_FUNCTION static int around(int i, int offset, int size) {
    const int sum = i + offset;
    return sum < 0 ? sum + size : sum >= size ? sum - size : sum;
  }

  template <class X>
  KOKKOS_INLINE_FUNCTION typename X::Number slope(const X& x, int i) const {
    return (x[around(i, 1, dim)] - x[around(i, -2, dim)]) * x[around(i, -1, dim)] - x[i] + typename X::Number(forcing);
  }

  template <Linearization L, class S, class U, class Out, class W>
  KOKKOS_INLINE_FUNCTION void evaluate(const S& s, const U&, Out& out, const W& work) const {
    using P = typename S::Number;
    const auto stage = [&](int m) { return work.from((m - 1) * dim); };  // states of stages 1..5; that of stage 0 is s
    const auto slopes = [&](int m) { return work.from((dp::stages - 1 + m) * dim); };
    for (int i = 0; i < dim; ++i) slopes(0).set(i, slope(s, i));
    for (int m = 1; m < dp::stages; ++m) {
      for (int i = 0; i < dim; ++i) {
        P sum(Real(0));
        for (int l = 0; l < m; ++l) sum += P(Real(dp::stage_weight(m, l))) * slopes(l)[i];
        stage(m).set(i, s[i] + P(Real(step)) * sum);
      }
      for (int i = 0; i < dim; ++i) slopes(m).set(i, slope(stage(m), i));
    }
    for (int i = 0; i < dim; ++i) {
      P sum(Real(0));
      for (int l = 0; l < dp::stages; ++l) sum += P(Real(dp::solution_weight(l))) * slopes(l)[i];
      out.value(i, s[i] + P(Real(step)) * sum);
    }
    if (L == Linearization::diagonal || L == Linearization::dense)
      for (int j = 0; j < dim; ++j) column<L>(j, s, work, out);
  }

  /// Offsets first..last from column j on which the tangent's slopes of stage m are wanted.
  struct Range {
    int first, last;
  };
  template <Linearization L>
  KOKKOS_INLINE_FUNCTION Range wanted(int m) const {
    const int before = m + 1, after = dp::stages - 1 - m;  // slopes taken so far, and after this one
    if (L == Linearization::dense && dim >= longest_band) return {-before, 2 * before};
    if (L == Linearization::diagonal && dim >= no_way_around)
      return {-before > -2 * after ? -before : -2 * after, 2 * before < after ? 2 * before : after};
    return {0, dim - 1};
  }

  template <Linearization L, class S, class W, class Out>
  KOKKOS_INLINE_FUNCTION void column(int j, const S& s, const W& work, Out& out) const {
    using P = typename S::Number;
    const int n = band();
    const auto at = [n](int offset) { return around(offset, 0, n); };
    const W tangent = work.from((2 * dp::stages - 1) * dim);
    const auto slopes = [&](int m) { return tangent.from((m + 1) * n); };  // of stages 0..4, the last one stays local
    const auto sum_of = [&](int m, int offset) {  // the tangent of the state that stage m sees; m = 6: of the solution
      P sum(Real(0));
      for (int l = 0; l < m && l < dp::stages - 1; ++l)
        sum += P(Real(m < dp::stages ? dp::stage_weight(m, l) : dp::solution_weight(l))) * slopes(l)[at(offset)];
      return P(Real(step)) * sum + P(Real(offset == 0));
    };
    for (int i = 0; i < dp::stages * n; ++i) tangent.set(i, P(Real(0)));
    const auto slope_at = [&](const auto& x, int offset) {
      const int i = around(j, offset < 0 ? offset + dim : offset, dim);
      return (tangent[at(offset + 1)] - tangent[at(offset - 2)]) * x[around(i, -1, dim)] +
             (x[around(i, 1, dim)] - x[around(i, -2, dim)]) * tangent[at(offset - 1)] - tangent[at(offset)];
    };
    const auto take = [&](int m, const auto& x) {
      const Range before = m > 0 ? wanted<L>(m - 1) : Range{0, 0}, now = wanted<L>(m);
      for (int o = before.first; o <= before.last; ++o) tangent.set(at(o), sum_of(m, o));
      if (m < dp::stages - 1)
        for (int o = now.first; o <= now.last; ++o) slopes(m).set(at(o), slope_at(x, o));
    };
    take(0, s);
    for (int m = 1; m < dp::stages; ++m) take(m, work.from((m - 1) * dim));
    const auto last = work.from((dp::stages - 2) * dim);
    const P weight(Real(step * dp::solution_weight(dp::stages - 1)));
    if (L == Linearization::diagonal) {
      out.diagonal(j, sum_of(dp::stages, 0) + weight * slope_at(last, 0));
    } else {
      const Range reached = wanted<L>(dp::stages - 1);
      if (dim >= longest_band)
        for (int i = 0; i < dim; ++i) out.dense(i, j, P(Real(0)));
      for (int o = reached.first; o <= reached.last; ++o)
        out.dense(around(j, o < 0 ? o + dim : o, dim), j, sum_of(dp::stages, o) + weight * slope_at(last, o));
    }
  }
};

/// The published error: |·| summed over coordinates, divided by the number of states, of which the first is given.
template <class Real>
class Lorenz96 : public CellSystem<Lorenz96Cell<Real>> {
 public:
  using CellSystem<Lorenz96Cell<Real>>::CellSystem;
  ErrorMeasure error_measure(long length) const override { return {0, this->state_dim(), double(length + 1)}; }
};

/// s_0 of each of the sequences.
std::vector<std::vector<double>> starts_of(const deck::Case& c, parallel::Range batch) {
  std::vector<double> starts[lorenz96_starts];
  std::vector<std::vector<double>> out;
  for (long b = batch.begin; b < batch.end; ++b) {
    const long start = (static_cast<long>(c.system_options.at("start")) + b) % lorenz96_starts;
    std::vector<double>& s = starts[start];
    if (s.empty()) s = lorenz96_start(c.state_dim, c.system_options.at("forcing"), c.system_options.at("step"), start);
    for (const double x : s)
      if (!std::isfinite(x))
        throw InputError(c.origin("system.step"),
                         "the rollout to the starts overflows with this step and forcing; "
                         "take a smaller step, or name an initial_state in a file");
    out.push_back(s);
  }
  return out;
}

Shape inspect_lorenz96(const deck::Case& c) {
  if (c.length <= 0) throw InputError(c.origin("problem.length"), "is missing; write the number of steps");
  if (c.initial_state == "zero") starts_of(c, {0, std::min<long>(c.batch, lorenz96_starts)});
  inspect_initial_state(c, c.state_dim);
  return {c.state_dim, 0, c.length};
}

template <class Real>
Instance<Real> make_lorenz96(const deck::Case& c, parallel::Range batch) {
  const Lorenz96Cell<Real> cell{static_cast<Real>(c.system_options.at("forcing")), c.system_options.at("step"),
                                static_cast<int>(c.state_dim)};
  Instance<Real> out;
  out.system = std::make_shared<Lorenz96<Real>>(cell, 0.0);
  out.drivers = make_view<Rows<Real>>("no drivers", c.length, batch.size(), 0);
  if (c.initial_state != "zero") {
    out.initial = make_initial_state<Real>(c, c.state_dim, batch);
    return out;
  }
  out.initial = make_view<Matrix<Real>>("initial state", batch.size(), c.state_dim);
  const auto host = Kokkos::create_mirror_view(out.initial);
  const std::vector<std::vector<double>> starts = starts_of(c, batch);
  for (std::size_t b = 0; b < starts.size(); ++b)
    for (std::size_t i = 0; i < starts[b].size(); ++i) host(b, i) = static_cast<Real>(starts[b][i]);
  Kokkos::deep_copy(out.initial, host);
  return out;
}

}  // namespace

Registration register_lorenz96() {
  SystemInfo info;
  info.kind = "lorenz96";
  info.doc = "Lorenz-96 on a ring of D, chaotic; a Dormand-Prince step of fifth order; starts on its attractor";
  info.default_state_dim = 5;
  info.min_state_dim = 4;
  info.has_weights = false;
  info.has_drivers = false;
  info.options = {{"forcing", 8, -1e3, 1e3, false, "F; chaotic from about 8 on"},
                  {"step", 0.01, 1e-6, 1, false, "time of one step"},
                  {"start", 0, 0, lorenz96_starts - 1, true,
                   "which start of its own rollout; sequence b of a batch takes (start + b) mod 10"}};
  return {info, inspect_lorenz96, make_lorenz96<float>, make_lorenz96<double>};
}

}  // namespace elkhorn::systems
