// Elements × engines: one scan over (T, B, D), with the bytes it must move and what it computes.
//
//   build/benchmarks/scan --benchmark_filter='KalmanDense.*chunked' --benchmark_format=json
#include <benchmark/benchmark.h>

#include "scan/clamped.hpp"

namespace {

using namespace elkhorn;
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

template <class Element>
void scan_of(benchmark::State& state, const std::string& name) {
  using Real = typename Element::Real;
  const long T = state.range(0), D = state.range(1), B = state.range(2);
  const Choice choice = choose(name, T, B, Exec().concurrency(), is_dense<Element>);
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
  for (auto _ : state) {
    scan.run(element, Active{});
    Exec().fence();
    benchmark::ClobberMemory();
  }
  const double rows = double(T) * double(B), passes = choice.engine == Engine::serial || map.chunks == 1 ? 1 : 2;
  const double written = double(std::is_same_v<Element, KalmanVariance<Real>> ? components + D : D);
  const double bytes = sizeof(Real) * rows * (passes * double(components + D) + written);
  using benchmark::Counter;
  state.counters["T"] = double(T);
  state.counters["D"] = double(D);
  state.counters["B"] = double(B);
  state.counters["chunks"] = double(map.chunks);
  state.counters["threads"] = double(Exec().concurrency());
  state.counters["bytes"] = Counter(bytes, Counter::kIsIterationInvariantRate, Counter::kIs1024);
  state.counters["steps"] = Counter(rows, Counter::kIsIterationInvariantRate);
}

template <class Element>
void add(const std::string& element) {
  for (const char* engine : {"serial", "flat", "chunked"})
    benchmark::RegisterBenchmark((element + "/" + engine).c_str(),
                                 [engine](benchmark::State& state) { scan_of<Element>(state, engine); })
        ->ArgNames({"T", "D", "B"})
        ->Args({10000, 4, 1})
        ->Args({10000, 8, 16})
        ->Args({2000, 32, 16})
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) {
  const Kokkos::ScopeGuard kokkos(argc, argv);
  add<AffineDiagonal<float>>("AffineDiagonal<float>");
  add<AffineDiagonal<double>>("AffineDiagonal<double>");
  add<AffineDiagonalClamped<float>>("AffineDiagonalClamped<float>");
  add<AffineDiagonalClamped<double>>("AffineDiagonalClamped<double>");
  add<AffineDense<float>>("AffineDense<float>");
  add<AffineDense<double>>("AffineDense<double>");
  add<KalmanDiagonal<float>>("KalmanDiagonal<float>");
  add<KalmanDiagonal<double>>("KalmanDiagonal<double>");
  add<KalmanVariance<float>>("KalmanVariance<float>");
  add<KalmanVariance<double>>("KalmanVariance<double>");
  add<KalmanDense<float>>("KalmanDense<float>");
  add<KalmanDense<double>>("KalmanDense<double>");
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
