// Exponents, growth, conditioning and predicted iterations on systems where they are known, and advice that fits them.
#include <gtest/gtest.h>

#include <cmath>

#include "../solvers/reference.hpp"
#include "analysis/analyze.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::analysis;
using namespace elkhorn::test;

/// T copies of one matrix; states are ones.
Trajectory constant(const std::vector<double>& matrix, long dim, long length) {
  Trajectory t;
  t.length = length;
  t.dim = dim;
  for (long k = 0; k < length; ++k) t.jacobians.insert(t.jacobians.end(), matrix.begin(), matrix.end());
  t.states.assign(static_cast<std::size_t>((length + 1) * dim), 1.0);
  return t;
}

/// radius · rotation by `angle` · diag(1, ratio) in a basis turned by `turn`: R(turn) A R(turn)ᵀ.
std::vector<double> turned(const std::vector<double>& a, double turn) {
  const double c = std::cos(turn), s = std::sin(turn);
  const double r[4] = {c, -s, s, c};
  std::vector<double> half(4), out(4);
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j)
      for (int k = 0; k < 2; ++k) half[std::size_t(2 * i + j)] += r[2 * i + k] * a[std::size_t(2 * k + j)];
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j)
      for (int k = 0; k < 2; ++k) out[std::size_t(2 * i + j)] += half[std::size_t(2 * i + k)] * r[2 * j + k];
  return out;
}

systems::Instance<double> instance_of(const std::string& system, long dim, long length,
                                      const std::map<std::string, double>& options, std::uint64_t seed = 1) {
  deck::Case c = basic_case(system);
  c.state_dim = dim;
  c.length = length;
  c.seed = seed;
  for (const auto& [key, value] : options) c.system_options[key] = value;
  return systems::make_instance<double>(c, {0, 1});
}

SolverAdvice advice_on(const std::string& solver, const SequenceAnalysis& s, long length, double tolerance) {
  for (const SolverAdvice& a : advise({s}, length, tolerance).solvers)
    if (a.solver == solver) return a;
  throw std::logic_error("no advice on " + solver);
}

TEST(Lyapunov, OfADiagonalMatrixAreTheLogarithmsOfItsEntries) {
  const Exponents e = lyapunov(constant({0.5, 0, 0, 0, 1.5, 0, 0, 0, -0.9}, 3, 1000), 3);
  ASSERT_EQ(e.values.size(), 3u);
  EXPECT_NEAR(e.values[0], std::log(1.5), 1e-12);
  EXPECT_NEAR(e.values[1], std::log(0.9), 1e-12);
  EXPECT_NEAR(e.values[2], std::log(0.5), 1e-12);
  for (const double u : e.uncertainty) EXPECT_LT(u, 1e-10);
}

TEST(Lyapunov, OfARotationTimesARadiusIsItsLogarithmWhateverTheBasis) {
  const double radius = 0.97, c = radius * std::cos(0.3), s = radius * std::sin(0.3);
  // A shear makes it non-normal: its norm is beyond 1, its exponents are the same.
  const std::vector<double> rotation{c, -s, s, c}, sheared{c + 2 * s, -5 * s, s, c - 2 * s};
  EXPECT_GT(norm2(sheared.data(), 2), 1.5);
  for (const auto& matrix : {rotation, turned(rotation, 0.7), sheared, turned(sheared, 0.7)})
    for (const double value : lyapunov(constant(matrix, 2, 20000), 2).values)
      EXPECT_NEAR(value, std::log(radius), 2e-4);
}

TEST(Lyapunov, AnnihilatedDirectionsAreMinusInfinity) {
  const Exponents e = lyapunov(constant({0.8, 0, 0, 0}, 2, 100), 2);
  EXPECT_NEAR(e.values[0], std::log(0.8), 1e-12);
  EXPECT_EQ(e.values[1], -std::numeric_limits<double>::infinity());
}

TEST(Lyapunov, Lorenz96HasOnePositiveOneZeroAndTheDivergenceAsTheirSum) {
  // D = 5, F = 8; the divergence of the flow is −D. 0.38 to 0.58 over 100 units of time by an independent program
  // (docs/analysis.md), 0.49 on average.
  const Trajectory t = along_solution(instance_of("lorenz96", 5, 20000, {}));
  const Exponents e = lyapunov(t, 5);
  EXPECT_NEAR(e.values[0] / 0.01, 0.49, 0.1);
  EXPECT_NEAR(e.values[1] / 0.01, 0.0, 0.05);
  double sum = 0;
  for (const double value : e.values) sum += value;
  EXPECT_NEAR(sum / 0.01, -5.0, 1e-3);
}

TEST(Lyapunov, RandomGrusContract) {
  const Exponents e = lyapunov(along_solution(instance_of("gru", 8, 2000, {{"gain", 1}})), 8);
  EXPECT_LT(e.values[0], -0.1);
  for (std::size_t i = 1; i < e.values.size(); ++i) EXPECT_LE(e.values[i], e.values[i - 1] + 1e-3);
}

TEST(Growth, OfPowersOfOneMatrix) {
  for (const long T : {1L, 2L, 7L, 100L}) {
    const Growth g = dense_growth(constant({2, 0, 0, 0.1}, 2, T)), d = diagonal_growth(constant({2, 5, 0, 0.1}, 2, T));
    ASSERT_EQ(g.window.back(), T);
    ASSERT_EQ(g.window, d.window);
    for (std::size_t i = 0; i < g.window.size(); ++i) {
      EXPECT_NEAR(g.log10_max[i], double(g.window[i]) * std::log10(2), 1e-9);
      EXPECT_NEAR(d.log10_max[i], double(g.window[i]) * std::log10(2), 1e-9);
    }
  }
}

TEST(Growth, NeitherOverflowsNorLosesTheOrderOfFactors) {
  EXPECT_NEAR(dense_growth(constant({1e10}, 1, 1000)).largest(), 1e4, 1e-6);
  // A_2 A_1 with A_1 = [[0, 1], [0, 0]], A_2 = [[0, 0], [0, 1]] is zero, the other order is not.
  Trajectory t = constant({0, 1, 0, 0}, 2, 2);
  t.jacobians = {0, 1, 0, 0, 0, 0, 0, 1};
  EXPECT_EQ(dense_growth(t).log10_max.back(), -std::numeric_limits<double>::infinity());
  t.jacobians = {0, 0, 0, 1, 0, 1, 0, 0};
  EXPECT_NEAR(dense_growth(t).log10_max.back(), 0, 1e-12);
  // Three factors: the one left over at the end of a level comes last.
  t = constant({0, 0, 0, 1}, 2, 3);
  t.jacobians = {0, 0, 0, 1, 0, 0, 0, 1, 0, 3, 0, 0};
  EXPECT_NEAR(dense_growth(t).log10_max.back(), std::log10(3), 1e-12);
}

TEST(Conditioning, OfConstantScalarsIsTheGeometricSeries) {
  for (const double a : {0.5, 0.99, 1.02}) {
    double sum = 0;
    for (int t = 0; t < 200; ++t) sum += std::pow(a, t);
    EXPECT_NEAR(conditioning(constant({a}, 1, 200)).worst, sum, 1e-9 * sum);
    EXPECT_NEAR(conditioning(constant({-a}, 1, 200)).worst, sum, 1e-9 * sum);
  }
}

TEST(Conditioning, PredictsWhatSolversDoOnALinearSystem) {
  const auto instance = instance_of("linear", 6, 400, {{"radius", 0.6}});
  const Trajectory solution = along_solution(instance);
  struct Choice {
    const char* kind;
    bool diagonal;
    double sigma2;
  };
  for (const Choice& c : {Choice{"deer", false, 0}, Choice{"quasi_deer", true, 0}, Choice{"elk", false, 30},
                          Choice{"quasi_elk", true, 30}}) {
    deck::SolverConfig config = solver(c.kind, c.sigma2);
    config.tolerance = 1e-8;
    config.guard = deck::Guard::none;
    const auto s = make(instance, config);
    const long counted = s->solve().iterations.at(0);
    const LinearIteration l = linear_iterations(
        solution, c.diagonal, c.sigma2 > 0 ? std::optional<double>(c.sigma2) : std::nullopt, 1e-8, 1000, 1e8);
    ASSERT_GE(l.iterations, 0) << c.kind;
    EXPECT_NEAR(double(l.iterations), double(counted), 1.0) << c.kind;
  }
}

TEST(Advice, AContractingGruSuitsEverySolver) {
  const SequenceAnalysis s = analyze_sequence(instance_of("gru", 8, 1000, {{"gain", 1}}), 0, 1e-6);
  const Advice advice = advise({s}, 1000, 1e-6);
  EXPECT_NE(advice.summary.find("predictable"), std::string::npos);
  for (const SolverAdvice& a : advice.solvers) EXPECT_EQ(a.verdict, Verdict::good) << a.solver << ": " << a.reason;
  // and the predicted count of quasi-DEER is the real one, within what the nonlinearity adds
  const auto instance = instance_of("gru", 8, 1000, {{"gain", 1}});
  deck::SolverConfig config = solver("quasi_deer");
  config.tolerance = 1e-6;
  EXPECT_NEAR(double(make(instance, config)->solve().iterations.at(0)), double(s.quasi_deer.iterations), 3.0);
}

TEST(Advice, AnExplodingSystemOverflowsDeer) {
  const SequenceAnalysis s = analyze_sequence(instance_of("linear", 4, 1000, {{"radius", 1.05}}), 0, 1e-6);
  EXPECT_NEAR(s.exponents.values[0], std::log(1.05), 1e-10);
  EXPECT_EQ(advice_on("deer", s, 1000, 1e-6).verdict, Verdict::poor);
  EXPECT_EQ(advice_on("quasi_deer", s, 1000, 1e-6).verdict, Verdict::poor);
  EXPECT_EQ(advise({s}, 1000, 1e-6).summary.find("unpredictable"), 0u);
}

TEST(Advice, AChaoticSystemNeedsDampingAndASmallResidual) {
  const SequenceAnalysis s = analyze_sequence(instance_of("lorenz96", 5, 999, {}), 0, 1e-4);
  const Advice advice = advise({s}, 999, 1e-4);
  EXPECT_EQ(advice.summary.find("unpredictable"), 0u);
  EXPECT_LT(advice.useful_tolerance, 1e-6);
  EXPECT_NE(advice_on("deer", s, 999, 1e-4).verdict, Verdict::good);
  const double sigma2 = advice_on("elk", s, 999, 1e-4).sigma2;
  EXPECT_GE(sigma2, 30);   // 30 and 300 are published to converge,
  EXPECT_LE(sigma2, 1e3);  // more to overflow
}

TEST(Advice, TheWorstSequenceDecides) {
  const SequenceAnalysis tame = analyze_sequence(instance_of("linear", 4, 500, {{"radius", 0.5}}), 0, 1e-6);
  const SequenceAnalysis wild = analyze_sequence(instance_of("linear", 4, 500, {{"radius", 1.1}}), 1, 1e-6);
  for (const auto& both : {std::vector<SequenceAnalysis>{tame, wild}, std::vector<SequenceAnalysis>{wild, tame}})
    EXPECT_EQ(advise(both, 500, 1e-6).solvers.at(0).verdict, Verdict::poor);
}

}  // namespace
