#include "analysis/trajectory.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "solvers/frame.hpp"

namespace elkhorn::analysis {

namespace {

/// The system's own evaluation at `guess`. One sequence would leave all lanes but one idle and their memory wasted:
/// chunks of time fill them.
Trajectory linearize(const systems::Instance<double>& instance, const solvers::Guess<double>& guess) {
  const long T = instance.length(), D = instance.system->state_dim();
  if (instance.batch() != 1) throw std::invalid_argument("an analysis takes one sequence at a time");
  const scan::LaneMap map(T, 1, lane_width);
  const long G = map.groups, L = map.steps;
  systems::Evaluation<double> args;
  args.map = map;
  args.states = make_view<scan::Panel<double>>("states", G, L + 1, D, lane_width);
  args.inputs = make_view<scan::Panel<double>>("inputs", G, L, instance.system->input_dim(), lane_width);
  args.residual = make_view<scan::Panel<double>>("residual", G, L, D, lane_width);
  args.jacobian = make_view<scan::Panel<double>>("jacobian", G, L, D * D, lane_width);
  args.worst = make_view<solvers::LaneNumbers<double>>("worst", G, systems::blocks(L), lane_width);
  solvers::over_blocks(
      "pack", map, 1,
      solvers::Pack<double>{
          {map, {}, {}}, {}, instance.drivers, {guess, {}, {}}, args.inputs, {{args.states, args.states}, {}}});
  instance.system->evaluate(systems::Linearization::dense, args);
  Exec().fence();

  const auto states = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), args.states);
  const auto jacobian = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), args.jacobian);
  const auto residual = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), args.residual);
  Trajectory out;
  out.length = T;
  out.dim = D;
  out.states.resize(static_cast<std::size_t>((T + 1) * D));
  out.jacobians.resize(static_cast<std::size_t>(T * D * D));
  for (long i = 0; i < D; ++i) out.states[static_cast<std::size_t>(i)] = states(0, 0, i, 0);
  for (long lane = 0; lane < map.lanes(); ++lane)
    for (long k = 0; k < map.steps_of(lane); ++k) {
      const long t = map.chunk_of(lane) * L + k, g = lane / lane_width, w = lane % lane_width;
      for (long i = 0; i < D; ++i) {
        out.states[static_cast<std::size_t>((t + 1) * D + i)] = states(g, k + 1, i, w);
        const double r = std::abs(residual(g, k, i, w));
        out.largest_residual = r <= out.largest_residual ? out.largest_residual : r;  // keeps NaN out of sight of max
      }
      for (long i = 0; i < D * D; ++i) out.jacobians[static_cast<std::size_t>(t * D * D + i)] = jacobian(g, k, i, w);
    }
  return out;
}

}  // namespace

double Trajectory::largest_state() const {
  double largest = 0;
  for (std::size_t i = static_cast<std::size_t>(dim); i < states.size(); ++i)
    largest = std::abs(states[i]) <= largest ? largest : std::abs(states[i]);
  return largest;
}

Trajectory along_solution(const systems::Instance<double>& instance) {
  solvers::Guess<double> guess;
  guess.kind = solvers::Guess<double>::Kind::given;
  guess.initial = instance.initial;
  guess.given = make_view<Rows<double>>("oracle", instance.length(), instance.batch(), instance.system->state_dim());
  instance.system->rollout(instance.drivers, instance.initial, guess.given);
  Exec().fence();
  return linearize(instance, guess);
}

Trajectory along_zero(const systems::Instance<double>& instance) {
  solvers::Guess<double> guess;
  guess.initial = instance.initial;
  return linearize(instance, guess);
}

Trajectory around(const systems::Instance<double>& instance, const Trajectory& along, double distance) {
  solvers::Guess<double> guess;
  guess.kind = solvers::Guess<double>::Kind::given;
  guess.initial = instance.initial;
  guess.given = make_view<Rows<double>>("strayed states", along.length, 1, along.dim);
  const auto host = Kokkos::create_mirror_view(guess.given);
  std::vector<double> scale(static_cast<std::size_t>(along.dim), 0.0);
  for (long t = 1; t <= along.length; ++t)
    for (long i = 0; i < along.dim; ++i) {
      double& largest = scale[static_cast<std::size_t>(i)];
      largest = std::max(largest, std::abs(along.state(t)[i]));
    }
  std::mt19937_64 generator(1);
  std::normal_distribution<double> normal;
  for (long t = 0; t < along.length; ++t)
    for (long i = 0; i < along.dim; ++i)
      host(t, 0, i) = along.state(t + 1)[i] + distance * scale[static_cast<std::size_t>(i)] * normal(generator);
  Kokkos::deep_copy(guess.given, host);
  return linearize(instance, guess);
}

double model_memory(long length, long dim) {
  // Two trajectories at once; one more copy of Jacobians as panels, and one as gains of the filter or products.
  return 8.0 * double(length) * double(dim) * (4.0 * double(dim) + 10.0) * 1.25;
}

}  // namespace elkhorn::analysis
