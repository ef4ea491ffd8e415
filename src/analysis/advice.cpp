#include "analysis/advice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "solvers/newton.hpp"

namespace elkhorn::analysis {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Errors that grow by less than this on their way do not take Newton's iterates out of the range where f is smooth.
constexpr double harmless_growth = 3;
/// Iterations that are few enough for a trust region: a smaller one would converge, but slowly.
constexpr long few_iterations = 100;

/// The worst of the sequences analysed.
struct Worst {
  double exponent = -infinity, uncertainty = 0;
  double growth = -infinity, growth_guess = -infinity;  ///< log10
  double guess_residual = 0, residual_to_error = 1, random_to_error = 1, largest_state = 0, reach = infinity;
  bool reach_limited = false;
  LinearIteration quasi_deer;
  std::vector<LinearIteration> elk, quasi_elk;
};

/// Fewer known iterations are better than more, these better than none.
bool worse(const LinearIteration& a, const LinearIteration& b) {
  if (a.iterations < 0 || b.iterations < 0) return a.iterations < 0 && (b.iterations >= 0 || a.peak > b.peak);
  return a.iterations > b.iterations;
}

void take_worse(std::vector<LinearIteration>& kept, const std::vector<LinearIteration>& other) {
  if (kept.empty()) kept = other;
  for (std::size_t i = 0; i < std::min(kept.size(), other.size()); ++i)
    if (worse(other[i], kept[i])) kept[i] = other[i];
}

Worst worst_of(const std::vector<SequenceAnalysis>& sequences) {
  Worst w;
  for (const SequenceAnalysis& s : sequences) {
    if (s.exponents.values.at(0) >= w.exponent) {
      w.exponent = s.exponents.values[0];
      w.uncertainty = s.exponents.uncertainty[0];
    }
    if (&s == &sequences.front() || worse(s.quasi_deer, w.quasi_deer)) w.quasi_deer = s.quasi_deer;
    take_worse(w.elk, s.elk);
    take_worse(w.quasi_elk, s.quasi_elk);
    w.growth = std::max(w.growth, s.dense.largest());
    w.growth_guess = std::max(w.growth_guess, s.dense_guess.largest());
    w.guess_residual = std::max(w.guess_residual, s.guess_residual);
    w.residual_to_error = std::max(w.residual_to_error, s.conditioning.worst);
    w.random_to_error = std::max(w.random_to_error, s.conditioning.random);
    w.largest_state = std::max(w.largest_state, s.largest_state);
    w.reach = std::min(w.reach, s.reach);
    w.reach_limited = w.reach_limited || s.reach < s.reach_tried;
  }
  return w;
}

bool overflows(const LinearIteration& l) { return !(l.peak <= solvers::overflow); }

SolverAdvice deer(const Worst& w) {
  SolverAdvice out;
  out.solver = "deer";
  const double growth = std::max(w.growth, w.growth_guess);
  if (growth + std::log10(w.guess_residual) > std::log10(solvers::overflow)) {
    out.verdict = Verdict::poor;
    out.reason = fmt::format("Jacobian products reach 1e{:+.0f} ({}): steps overflow, and the guard resets states",
                             growth, w.growth_guess > w.growth ? "at the zero guess" : "along the solution");
  } else if (!w.reach_limited) {
    out.verdict = Verdict::good;
    out.reason = "Jacobians hardly depend on the states: close to one linear solve";
  } else if (growth <= std::log10(harmless_growth)) {
    out.verdict = Verdict::good;
    out.reason = "perturbations never grow much: quadratic convergence, typically 3 to 10 iterations";
  } else {
    out.reason = fmt::format("perturbations grow {:.2g}-fold: steps overshoot, expect tens to hundreds of iterations",
                             std::pow(10, growth));
  }
  return out;
}

SolverAdvice quasi_deer(const Worst& w, long length) {
  SolverAdvice out;
  out.solver = "quasi_deer";
  const LinearIteration& l = w.quasi_deer;
  out.iterations = l.iterations;
  if (l.iterations >= 0) {
    out.verdict = 10 * l.iterations <= std::max(length, 200L) ? Verdict::good : Verdict::uncertain;
    out.reason = fmt::format("linear convergence; the iterates' largest error is {:.2g}", l.peak);
  } else if (overflows(l)) {
    out.verdict = Verdict::poor;
    out.reason =
        "what the diagonal leaves out makes the iteration overflow; at best the guard's resets and the exact "
        "prefix carry it";
  } else {
    out.verdict = Verdict::poor;
    out.reason = fmt::format("still not converged after {} iterations of the linearised problem", l.tried);
  }
  return out;
}

SolverAdvice elk(const Worst& w) {
  SolverAdvice out;
  out.solver = "elk";
  if (!w.reach_limited || w.growth <= std::log10(harmless_growth)) {
    // Damping costs iterations and is not needed.
    out.sigma2 = 1e6;
    out.verdict = Verdict::good;
    out.reason = "no damping is needed; a large σ² makes this DEER at a higher price";
    for (const LinearIteration& l : w.elk)
      if (l.sigma2 == out.sigma2) out.iterations = l.iterations;
    if (out.iterations < 0) out.verdict = Verdict::uncertain;
    return out;
  }
  // √(1 + σ²) bounds the damped growth; what it may be depends on how far iterates may stray.
  const double cautious = std::pow(10, std::max(0.0, std::floor(2 * std::log10(std::max(1.0, w.reach)))));
  if (w.elk.empty()) {
    out.sigma2 = cautious;
    out.reason =
        fmt::format("damped growth stays below {:.2g}; raise σ² while it converges", damped_growth_bound(cautious));
    return out;
  }
  double fast = w.elk.back().sigma2;
  for (auto l = w.elk.rbegin(); l != w.elk.rend(); ++l)
    if (l->iterations >= 0 && l->iterations <= few_iterations) fast = l->sigma2;
  fast = std::max(fast, cautious);
  out.sigma2 = std::sqrt(cautious * fast);
  out.reason = fmt::format(
      "between {:.0e} (damped growth ≤ {:.2g} keeps iterates in range) and {:.0e} (fast if f "
      "were linear): raise it while it converges",
      cautious, damped_growth_bound(cautious), fast);
  for (const LinearIteration& l : w.elk)  // the nearest below: more damping, so not too few
    if (l.sigma2 <= out.sigma2 * 1.01) out.iterations = l.iterations;
  // Chaos, or a wide interval: the linearised problem says too little.
  const bool known = w.exponent < -w.uncertainty && fast <= 100 * cautious && out.iterations >= 0;
  out.verdict = known ? Verdict::good : Verdict::uncertain;
  return out;
}

SolverAdvice quasi_elk(const Worst& w, long length) {
  SolverAdvice out;
  out.solver = "quasi_elk";
  const LinearIteration* best = nullptr;
  for (const LinearIteration& l : w.quasi_elk)
    if (l.iterations >= 0 && (!best || l.iterations < best->iterations)) best = &l;
  if (!best) {
    out.verdict = Verdict::poor;
    out.reason = "no σ² from 1 to 1e4 converges on the linearised problem in the iterations tried";
    return out;
  }
  // The nonlinearity makes large σ² fail first: the smallest one that costs at most twice the fewest iterations.
  const long enough = 2 * best->iterations;
  for (auto l = w.quasi_elk.rbegin(); l != w.quasi_elk.rend(); ++l)
    if (l->iterations >= 0 && l->iterations <= enough) best = &*l;
  out.sigma2 = best->sigma2;
  out.iterations = best->iterations;
  out.verdict = 10 * best->iterations <= std::max(length, 200L) ? Verdict::good : Verdict::uncertain;
  out.reason = "the most cautious decade among the fast ones of the linearised problem";
  return out;
}

}  // namespace

const char* to_string(Verdict verdict) {
  return verdict == Verdict::good ? "good" : verdict == Verdict::uncertain ? "uncertain" : "poor";
}

double damped_growth_bound(double sigma2) { return std::sqrt(1 + sigma2); }

Advice advise(const std::vector<SequenceAnalysis>& sequences, long length, double tolerance) {
  const Worst w = worst_of(sequences);
  Advice out;
  out.solvers = {deer(w), quasi_deer(w, length), elk(w), quasi_elk(w, length)};
  out.useful_tolerance = 1e-3 * w.largest_state / w.residual_to_error;
  if (w.exponent < -w.uncertainty)
    out.summary = "predictable (λ < 0): perturbations die out, the equations stay well conditioned however large T is";
  else if (w.exponent > w.uncertainty)
    out.summary = fmt::format("unpredictable (λ > 0): Newton's basin shrinks like exp(-λT) = {:.1e}",
                              std::exp(-w.exponent * double(length)));
  else
    out.summary = "at the edge (λ = 0 within its uncertainty): errors neither die out nor explode";
  out.summary +=
      fmt::format(". A residual of {:.0e} leaves errors up to {:.1e}", tolerance, tolerance * w.residual_to_error);
  if (out.useful_tolerance < tolerance)
    out.summary += fmt::format("; for errors below 1e-3 of max |s| ask for tolerance {:.0e}", out.useful_tolerance);
  const double floor = double(std::numeric_limits<float>::epsilon()) * w.largest_state * w.random_to_error;
  if (floor > 1e-2 * w.largest_state)
    out.summary += fmt::format("; float32 rounding alone makes errors of about {:.0e}: use float64", floor);
  return out;
}

}  // namespace elkhorn::analysis
