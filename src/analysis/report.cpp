#include "analysis/analyze.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace elkhorn::analysis {

namespace {

using Json = nlohmann::ordered_json;

Json summary(const Summary& s) { return {{"median", s.median}, {"p95", s.p95}, {"max", s.max}}; }

Json growth(const Growth& g) { return {{"window", g.window}, {"log10_max", g.log10_max}}; }

Json iteration(const LinearIteration& l) {
  Json out{{"iterations", l.iterations < 0 ? Json() : Json(l.iterations)}, {"tried", l.tried}, {"peak_error", l.peak}};
  if (!std::isnan(l.sigma2)) out["sigma2"] = l.sigma2;
  return out;
}

Json iterations(const std::vector<LinearIteration>& all) {
  Json out = Json::array();
  for (const LinearIteration& l : all) out.push_back(iteration(l));
  return out;
}

std::string sigma_text(double sigma2) { return std::isnan(sigma2) ? "" : fmt::format("{:.0e}", sigma2); }

std::string count_text(const LinearIteration& l) {
  if (l.iterations >= 0) return fmt::format("{}", l.iterations);
  return std::isfinite(l.peak) && l.peak < 1e8 ? fmt::format("> {}", l.tried) : "overflow";
}

std::string growth_text(double log10) { return std::isinf(log10) ? "0" : fmt::format("1e{:+.1f}", log10); }

std::string numbers(const SequenceAnalysis& s, const ProblemAnalysis& p) {
  std::string out = fmt::format(
      "  sequence {} of {}: max |s| {:.3g}; residual of the sequential states {:.1e}, of the zero guess {:.2g}\n",
      s.sequence, p.batch, s.largest_state, s.largest_residual, s.guess_residual);
  const auto& e = s.exponents;
  out += fmt::format("    largest Lyapunov exponent   {:+.5g} ± {:.1g} a step", e.values.at(0), e.uncertainty.at(0));
  if (p.time_step > 0)
    out += fmt::format(", {:+.4g} ± {:.1g} a unit of time", e.values[0] / p.time_step, e.uncertainty[0] / p.time_step);
  out += "\n";
  if (e.values.size() > 1) {
    out += fmt::format("    {:<26}  ", static_cast<long>(e.values.size()) == p.state_dim ? "whole spectrum, a step"
                                                                                         : "leading spectrum, a step");
    constexpr std::size_t shown = 8;
    for (std::size_t i = 0; i < std::min(e.values.size(), shown); ++i)
      out += fmt::format("{}{:+.4g}", i ? "  " : "", e.values[i]);
    if (e.values.size() > shown) out += fmt::format("  …  {:+.4g}", e.values.back());
    out += "\n";
  }
  const auto line = [&](const char* what, const Summary& x) {
    out += fmt::format("    {:<26}  median {:.4g}, 95 % {:.4g}, max {:.4g}", what, x.median, x.p95, x.max);
  };
  line("‖A_t‖₂", s.norms);
  out += "\n";
  line("max_i |(A_t)_ii|", s.diagonals);
  out += fmt::format("; {:.1f} % of the entries > 1\n", 100 * s.diagonal_beyond_one);

  out += fmt::format("    growth of products over  w {:>14} {:>14} {:>14} {:>14}\n", "A", "diag A", "A at guess",
                     "diag at guess");
  const auto& w = s.dense.window;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const bool shown = i + 1 == w.size() || (w[i] & 0x5555555555555555) != 0;  // 1, 4, 16, …, T
    if (shown)
      out += fmt::format("    {:>26} {:>14} {:>14} {:>14} {:>14}\n", w[i], growth_text(s.dense.log10_max[i]),
                         growth_text(s.diagonal.log10_max[i]), growth_text(s.dense_guess.log10_max[i]),
                         growth_text(s.diagonal_guess.log10_max[i]));
  }
  out += fmt::format(
      "    max error / max residual    at most {:.3g} near the solution (‖J⁻¹‖_∞), {:.3g} for random residuals\n",
      s.conditioning.worst, s.conditioning.random);
  out += fmt::format("    Jacobians stay in range     {} {:g} max |s| from the solution\n",
                     s.reach >= s.reach_tried ? "at least" : "up to", s.reach);
  out += fmt::format("    iterations if f were linear: quasi_deer {}\n", count_text(s.quasi_deer));
  const auto list = [&](const char* solver, const std::vector<LinearIteration>& all) {
    if (all.empty()) return;
    out += fmt::format("      {:<10}", solver);
    for (const LinearIteration& l : all) out += fmt::format("  σ² {}: {}", sigma_text(l.sigma2), count_text(l));
    out += "\n";
  };
  list("elk", s.elk);
  if (s.elk.empty()) out += "      elk         left out: D³ T is too large\n";
  list("quasi_elk", s.quasi_elk);
  return out;
}

}  // namespace

std::string text(const ProblemAnalysis& p) {
  std::string out = fmt::format("{}: D {}, T {}, B {}, float64, tolerance {:g}\n", p.name, p.state_dim, p.length,
                                p.batch, p.tolerance);
  for (const SequenceAnalysis& s : p.sequences) out += numbers(s, p);
  out += "  advice: " + p.advice.summary + "\n";
  for (const SolverAdvice& a : p.advice.solvers)
    out += fmt::format("    {:<10} {:<10} {}{}{}\n", a.solver, to_string(a.verdict),
                       std::isnan(a.sigma2) ? "" : fmt::format("σ² {:.0e}; ", a.sigma2),
                       a.iterations >= 0 ? fmt::format("about {} iterations; ", a.iterations) : "", a.reason);
  return out;
}

nlohmann::ordered_json json(const ProblemAnalysis& p) {
  Json out{{"problem", p.name},
           {"system", p.system},
           {"state_dim", p.state_dim},
           {"length", p.length},
           {"batch", p.batch},
           {"precision", "float64"},
           {"time_step", p.time_step > 0 ? Json(p.time_step) : Json()},
           {"tolerance", p.tolerance}};
  for (const SequenceAnalysis& s : p.sequences) {
    Json one;
    one["sequence"] = s.sequence;
    one["largest_state"] = s.largest_state;
    one["largest_residual"] = s.largest_residual;
    one["guess_residual"] = s.guess_residual;
    one["lyapunov_exponent"] = s.exponents.values.at(0);
    one["lyapunov_uncertainty"] = s.exponents.uncertainty.at(0);
    if (p.time_step > 0) one["lyapunov_exponent_per_time"] = s.exponents.values[0] / p.time_step;
    one["lyapunov_spectrum"] = s.exponents.values;
    one["lyapunov_spectrum_uncertainty"] = s.exponents.uncertainty;
    one["jacobian_norm"] = summary(s.norms);
    one["jacobian_diagonal"] = summary(s.diagonals);
    one["jacobian_diagonal"]["fraction_beyond_one"] = s.diagonal_beyond_one;
    one["growth"] = {{"dense", growth(s.dense)},
                     {"diagonal", growth(s.diagonal)},
                     {"dense_at_guess", growth(s.dense_guess)},
                     {"diagonal_at_guess", growth(s.diagonal_guess)}};
    one["residual_to_error"] = {{"worst", s.conditioning.worst}, {"random", s.conditioning.random}};
    one["reach"] = s.reach;
    one["reach_tried"] = s.reach_tried;
    one["linear_iterations"] = {
        {"quasi_deer", iteration(s.quasi_deer)}, {"elk", iterations(s.elk)}, {"quasi_elk", iterations(s.quasi_elk)}};
    out["sequences"].push_back(one);
  }
  out["advice"]["summary"] = p.advice.summary;
  out["advice"]["useful_tolerance"] = p.advice.useful_tolerance;
  for (const SolverAdvice& a : p.advice.solvers)
    out["advice"]["solvers"].push_back({{"solver", a.solver},
                                        {"verdict", to_string(a.verdict)},
                                        {"sigma2", a.sigma2},
                                        {"iterations", a.iterations < 0 ? Json() : Json(a.iterations)},
                                        {"reason", a.reason}});
  return out;
}

}  // namespace elkhorn::analysis
