/// One step of a system at given states: f and its Jacobian as the solvers see them, on the host.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "systems/random.hpp"
#include "systems/system.hpp"

namespace elkhorn::test {

/// f_1 of B sequences, each at its own state, through the panels of a problem of one step.
template <class Real>
class Probe {
 public:
  explicit Probe(const systems::Instance<Real>& instance)
      : instance_(instance), dim(instance.system->state_dim()), batch(instance.batch()) {}

  struct Step {
    std::vector<double> f;         ///< (B, D)
    std::vector<double> jacobian;  ///< (B, D) or (B, D, D)
  };

  Step at(const std::vector<double>& states, systems::Linearization linearization) const {
    const scan::LaneMap map(1, batch, 1);
    const long inputs = instance_.system->input_dim();
    const long jacobian = linearization == systems::Linearization::dense      ? dim * dim
                          : linearization == systems::Linearization::diagonal ? dim
                                                                              : 0;
    const auto panel = [&](long rows, long components) {
      return scan::Panel<Real>("test", map.groups, rows, components, lane_width);
    };
    systems::Evaluation<Real> args{map, {}, panel(2, dim), panel(1, inputs), panel(1, dim), panel(1, jacobian), {}};
    args.worst = Kokkos::View<Real***, Kokkos::LayoutRight, Memory>("worst", map.groups, 1, lane_width);
    const auto s = Kokkos::create_mirror_view(args.states);
    const auto u = Kokkos::create_mirror_view(args.inputs);
    const auto drivers = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), instance_.drivers);
    for (long b = 0; b < batch; ++b) {  // rows: the state, and 0, so that the residual is −f
      for (long i = 0; i < dim; ++i)
        s(b / lane_width, 0, i, b % lane_width) = static_cast<Real>(states[static_cast<std::size_t>(b * dim + i)]);
      for (long i = 0; i < inputs; ++i) u(b / lane_width, 0, i, b % lane_width) = drivers(0, b, i);
    }
    Kokkos::deep_copy(args.states, s);
    Kokkos::deep_copy(args.inputs, u);
    instance_.system->evaluate(linearization, args);
    Step out{read(args.residual, dim), read(args.jacobian, jacobian)};
    for (double& x : out.f) x = -x;
    return out;
  }

  /// Numbers of size one, the same on every machine.
  std::vector<double> random_states(std::uint64_t seed) const {
    std::vector<double> out(static_cast<std::size_t>(batch * dim));
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = systems::random_normal(seed, systems::Stream::initial_state, i);
    return out;
  }

  /// f of the states by the sequential rollout.
  std::vector<double> rollout(const std::vector<double>& states) const {
    const auto initial = make_view<Matrix<Real>>("initial", batch, dim);
    const auto host = Kokkos::create_mirror_view(initial);
    for (long b = 0; b < batch; ++b)
      for (long i = 0; i < dim; ++i) host(b, i) = static_cast<Real>(states[static_cast<std::size_t>(b * dim + i)]);
    Kokkos::deep_copy(initial, host);
    const auto out = make_view<Rows<Real>>("out", 1, batch, dim);
    const auto first = make_view<Rows<Real>>("drivers", 1, batch, instance_.system->input_dim());
    Kokkos::deep_copy(first, Kokkos::subview(instance_.drivers, std::make_pair(0L, 1L), Kokkos::ALL, Kokkos::ALL));
    instance_.system->rollout(first, initial, out);
    const auto result = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), out);
    return {result.data(), result.data() + result.size()};
  }

  /// The largest residual of the rollout over all steps, which are evaluated together; NaN where one was not written.
  double worst_of_rollout(systems::Linearization linearization) const {
    const long steps = instance_.length(), inputs = instance_.system->input_dim();
    const auto states = make_view<Rows<Real>>("states", steps, batch, dim);
    instance_.system->rollout(instance_.drivers, instance_.initial, states);
    const auto solved = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), states);
    const auto initial = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), instance_.initial);
    const auto drivers = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), instance_.drivers);
    const scan::LaneMap map(steps, batch, 1);
    const auto panel = [&](long rows, long components) {
      return scan::Panel<Real>("test", map.groups, rows, components, lane_width);
    };
    systems::Evaluation<Real> args{map,
                                   {},
                                   panel(steps + 1, dim),
                                   panel(steps, inputs),
                                   panel(steps, dim),
                                   panel(steps, systems::jacobian_components(linearization, dim)),
                                   {}};
    args.worst =
        Kokkos::View<Real***, Kokkos::LayoutRight, Memory>("worst", map.groups, systems::blocks(steps), lane_width);
    const auto s = Kokkos::create_mirror_view(args.states);
    const auto u = Kokkos::create_mirror_view(args.inputs);
    for (long b = 0; b < batch; ++b)
      for (long t = 0; t <= steps; ++t) {
        for (long i = 0; i < dim; ++i)
          s(b / lane_width, t, i, b % lane_width) = t == 0 ? initial(b, i) : solved(t - 1, b, i);
        for (long i = 0; i < inputs && t < steps; ++i) u(b / lane_width, t, i, b % lane_width) = drivers(t, b, i);
      }
    Kokkos::deep_copy(args.states, s);
    Kokkos::deep_copy(args.inputs, u);
    Kokkos::deep_copy(args.residual, std::numeric_limits<Real>::quiet_NaN());
    instance_.system->evaluate(linearization, args);
    const auto residual = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), args.residual);
    double worst = 0;
    for (long b = 0; b < batch; ++b)
      for (long t = 0; t < steps; ++t)
        for (long i = 0; i < dim; ++i) {
          const double here = std::fabs(static_cast<double>(residual(b / lane_width, t, i, b % lane_width)));
          if (!(here <= worst)) worst = here;  // and NaN stays
          if (std::isnan(worst)) return worst;
        }
    return worst;
  }

 private:
  std::vector<double> read(const scan::Panel<Real>& panel, long components) const {
    const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), panel);
    std::vector<double> out;
    for (long b = 0; b < batch; ++b)
      for (long i = 0; i < components; ++i)
        out.push_back(static_cast<double>(host(b / lane_width, 0, i, b % lane_width)));
    return out;
  }

  systems::Instance<Real> instance_;

 public:
  const long dim, batch;
};

/// Largest |difference| of f by the panels and by the rollout; of the dense Jacobian and central differences; of its
/// diagonal and the diagonal linearization. Infinity where anything is not a number.
struct Consistency {
  double rollout = 0, differences = 0, diagonal = 0;
};

inline Consistency consistency(const systems::Instance<double>& instance) {
  using systems::Linearization;
  const Probe<double> probe(instance);
  const std::size_t D = static_cast<std::size_t>(probe.dim), B = static_cast<std::size_t>(probe.batch);
  const std::vector<double> s = probe.random_states(7);
  const auto dense = probe.at(s, Linearization::dense), diagonal = probe.at(s, Linearization::diagonal);
  const auto worse = [](double& kept, double difference) {
    if (!(std::abs(difference) <= kept)) kept = std::isnan(difference) ? INFINITY : std::abs(difference);
  };
  Consistency out;
  const std::vector<double> rolled = probe.rollout(s);
  for (std::size_t i = 0; i < B * D; ++i) {
    worse(out.rollout, dense.f[i] - rolled[i]);
    worse(out.rollout, diagonal.f[i] - rolled[i]);
    worse(out.diagonal, dense.jacobian[i / D * D * D + i % D * D + i % D] - diagonal.jacobian[i]);
  }
  constexpr double h = 1e-5;
  for (std::size_t j = 0; j < D; ++j) {
    std::vector<double> up = s, down = s;
    for (std::size_t b = 0; b < B; ++b) up[b * D + j] += h, down[b * D + j] -= h;
    const auto above = probe.at(up, Linearization::zero).f, below = probe.at(down, Linearization::zero).f;
    for (std::size_t b = 0; b < B; ++b)
      for (std::size_t i = 0; i < D; ++i)
        worse(out.differences, dense.jacobian[(b * D + i) * D + j] - (above[b * D + i] - below[b * D + i]) / (2 * h));
  }
  return out;
}

}  // namespace elkhorn::test
