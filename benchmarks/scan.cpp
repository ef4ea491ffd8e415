// Elements × engines: one scan over (T, B, D), with the bytes it must move and what it computes (fields: report.hpp).
//
//   build/benchmarks/scan --benchmark_filter='KalmanDense.*chunked' --benchmark_format=json
#include "report.hpp"
#include "scan/clamped.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::benchmarks;
using namespace elkhorn::scan;

template <class Real>
Panel<Real> filled(const LaneMap& map, long components, Real value) {
  const auto panel = make_view<Panel<Real>>("panel", map.groups, map.steps, components, lane_width);
  Kokkos::deep_copy(panel, value);
  return panel;
}

template <class Element>
constexpr bool is_dense = std::is_same_v<Element, AffineDense<typename Element::Real>> ||
                          std::is_same_v<Element, KalmanDense<typename Element::Real>>;
template <class Element>
constexpr bool is_damped = std::is_same_v<Element, KalmanDiagonal<typename Element::Real>> ||
                           std::is_same_v<Element, KalmanDense<typename Element::Real>>;

/// Operations of a step in the last pass, and of a step in the pass that summarises a chunk for those after it (divisions,
/// clamps and the parts of a Cholesky solve: 1 each).
template <class Element>
double flops_of(double D, bool summary) {
  using Real = typename Element::Real;
  if (std::is_same_v<Element, AffineDense<Real>>) return 2 * D * D + (summary ? 2 * D * D * D : 0);
  if (std::is_same_v<Element, KalmanDense<Real>>)
    return (summary ? 8 + 2.0 / 3 + 4 : 4 + 2.0 / 3 + 2) * D * D * D + 2 * D * D;
  if (std::is_same_v<Element, KalmanDiagonal<Real>>) return (summary ? 16 : 10) * D;
  if (std::is_same_v<Element, KalmanVariance<Real>>) return (summary ? 13 : 8) * D;
  if (std::is_same_v<Element, AffineDiagonalClamped<Real>>) return (summary ? 9 : 4) * D;
  return (summary ? 3 : 2) * D;
}

template <class Element>
void scan_of(benchmark::State& state, const std::string& name) {
  using Real = typename Element::Real;
  const long T = state.range(0), D = state.range(1), B = state.range(2);
  const Choice choice = choose(name, Job{T, B, Exec().concurrency(), is_dense<Element>});
  const LaneMap map(T, B, choice.chunks);
  const long components = is_dense<Element> ? D * D : D;
  // Rows of the Jacobian sum to 0.9: a stable recurrence, whose increments stay at the size of the residuals.
  const auto jacobian = filled<Real>(map, components, Real(is_dense<Element> ? 0.9 / double(D) : 0.9));
  const auto residual = filled<Real>(map, D, Real(1e-3));
  Element element = [&] {
    if constexpr (is_damped<Element>) {
      TrustRegion<Real> region;
      region.value = Real(1e4);
      return Element{jacobian, residual, int(D), region, {}};
    } else if constexpr (std::is_same_v<Element, KalmanVariance<Real>>) {
      TrustRegion<Real> region;
      region.value = Real(1e16);  // gains of 1: the panels, which it multiplies by them, stay as they are
      return Element{jacobian, residual, int(D), region};
    } else if constexpr (std::is_same_v<Element, AffineDiagonalClamped<Real>>) {
      return Element{{jacobian, residual, int(D)}, StepBound<Real>{Real(1e-3), {}}};
    } else {
      return Element{jacobian, residual, int(D)};
    }
  }();
  const Scan<Element> scan(choice.engine, map, element);
  const bool twice = choice.engine == Engine::flat || (choice.engine == Engine::chunked && map.chunks > 1);
  const double rows = double(T) * double(B), passes = twice ? 2 : 1;
  const double written = double(std::is_same_v<Element, KalmanVariance<Real>> ? components + D : D);
  const double flops = flops_of<Element>(double(D), false) + (twice ? flops_of<Element>(double(D), true) : 0);
  show_sizes(state, T, D, B);
  state.counters["chunks"] = double(map.chunks);
  judge<Real>(state, sizeof(Real) * rows * (passes * double(components + D) + written), rows * flops, 0,
              [&] { scan.run(element, Active{}); });
}

template <class Element>
void add(const std::string& element) {
  for (const char* engine : {"serial", "flat", "chunked"})
    benchmark::RegisterBenchmark((element + "/" + engine).c_str(),
                                 [engine](benchmark::State& state) { scan_of<Element>(state, engine); })
        ->ArgNames({"T", "D", "B"})
        ->Args({10000, 4, 1})
        ->Args({2000, 8, 16})
        ->Args({200, 32, 16})
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
}

template <class Real>
void add_all(const std::string& precision) {
  add_roofs<Real>(precision);
  add<AffineDiagonal<Real>>("AffineDiagonal/" + precision);
  add<AffineDiagonalClamped<Real>>("AffineDiagonalClamped/" + precision);
  add<AffineDense<Real>>("AffineDense/" + precision);
  add<KalmanDiagonal<Real>>("KalmanDiagonal/" + precision);
  add<KalmanVariance<Real>>("KalmanVariance/" + precision);
  add<KalmanDense<Real>>("KalmanDense/" + precision);
}

}  // namespace

int main(int argc, char** argv) {
  return run_benchmarks(argc, argv, [] {
    add_all<float>("float32");
    add_all<double>("float64");
  });
}
