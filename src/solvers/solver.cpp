#include "solvers/solver.hpp"

#include <algorithm>
#include <stdexcept>

#include "solvers/fused.hpp"
#include "solvers/kinds.hpp"
#include "solvers/newton.hpp"
#include "solvers/sequential.hpp"

namespace elkhorn::solvers {

template <class Real>
std::unique_ptr<Solver<Real>> make_solver(const systems::Instance<Real>& instance, const Setup<Real>& setup) {
  const SolverKind* kind = find_kind(setup.config.kind);
  if (!kind) throw std::invalid_argument("no solver is named '" + setup.config.kind + "'");
  if (setup.line && setup.line->steps().size() != instance.length())
    throw std::invalid_argument("the instance has " + std::to_string(instance.length()) +
                                " steps, its time line says " + std::to_string(setup.line->steps().size()));
  if (!kind->iterative)
    return std::make_unique<Sequential<Real>>(instance, setup.line.value_or(parallel::TimeLine(instance.length())));
  return std::make_unique<Newton<Real>>(*kind, instance, setup);
}

template std::unique_ptr<Solver<float>> make_solver(const systems::Instance<float>&, const Setup<float>&);
template std::unique_ptr<Solver<double>> make_solver(const systems::Instance<double>&, const Setup<double>&);

MemoryModel model_memory(const deck::Case& c, const systems::Shape& shape, int ranks, int threads) {
  const SolverKind* kind = find_kind(c.solver.kind);
  const double real = c.precision == deck::Precision::float32 ? 4 : 8;
  const double D = double(shape.state_dim), n = double(shape.input_dim);
  const long length = parallel::split(shape.length, c.time_ranks, 0).size();
  const long local = parallel::split(c.batch, ranks / c.time_ranks, 0).size();
  const double rows = double(length) * double(local);
  MemoryModel out;
  out.drivers = real * rows * n + real * double(local) * D;
  // A rank in time makes all drivers of its sequences before it keeps its own.
  if (c.time_ranks > 1) out.drivers += real * double(shape.length) * double(local) * n;
  // The answer, the oracle it is validated against, and the last answer, kept as a guess for the next case.
  out.answer = real * rows * D * 3;
  if (!kind || !kind->iterative) return out;
  // Panels hold a window; an automatic one may grow to its largest (the cost of a step only matters for when).
  const bool projects = c.solver.window != "full" && shape.projected_dim > 0;
  const long inputs = projects ? shape.projected_dim : shape.input_dim;
  const auto job_on = [&](long steps, long time_ranks) {
    return job_of(*kind, c.solver, steps, {c.batch, local}, shape.state_dim, shape.factors, int(real), threads,
                  time_ranks);
  };
  const auto fused_on = [&](long steps, long time_ranks) {
    return fuses(*kind, c.solver, job_on(steps, time_ranks), shape.state_dim, time_ranks);
  };
  const bool fused = fused_on(length, c.time_ranks);
  out.pass = fused ? "fused" : "separate";
  const WindowModel windows = window_model(
      *kind, c.solver,
      {shape.state_dim, inputs, real, real * shape.parameters, 1, c.batch, threads, fused_on(shape.length, 1)});
  const long width =
      windows.full ? length : parallel::split(std::min(shape.length, windows.largest), c.time_ranks, 0).size();
  scan::Job job = job_on(length, c.time_ranks);
  job.length = width;
  const scan::Choice choice = scan::choose(c.solver.scan, job, fused);
  const scan::LaneMap map(width, local, choice.chunks);
  const double lanes = double(map.groups) * lane_width, steps = double(map.steps);
  const Linearization form = form_of(*kind, job, choice, fused);
  const double jacobian =
      double(form == Linearization::factored ? shape.factors : systems::jacobian_components(form, shape.state_dim));
  const double blocks = lanes * double(systems::blocks(map.steps));
  if (fused) {
    // Two sides of the states, one of which the answer may lie in, drivers, and a block of steps for every thread.
    const double sides = real * lanes * (steps + 1) * D;
    const bool apart = !windows.full || fused_drops(choice, job.batch, threads);
    if (!apart) out.answer -= real * rows * D;
    const long block = fused_block_length(static_cast<long>(D + jacobian), real);
    out.solver = sides + (apart ? sides : std::max(sides, real * rows * D)) + real * lanes * steps * double(inputs) +
                 real * double(threads) * lane_width * double(std::min(block, map.steps)) * (D + jacobian) +
                 blocks * (2 * real + sizeof(int));
    return out;
  }
  out.solver = real * lanes * ((steps + 1) * D + steps * (D + double(inputs) + jacobian));
  // Ranks fetch their shares of windows, and what they fetch passes through a parcel on either side.
  if (!windows.full && c.time_ranks > 1) out.solver += 3 * real * double(width) * double(local) * (D + n);
  // The smoother keeps covariances, gains and offsets besides.
  if (c.solver.smoother) out.solver += real * lanes * steps * (2 * jacobian + D);
  out.solver += blocks * (real + sizeof(int));
  return out;
}

}  // namespace elkhorn::solvers
