// What an iteration evaluates, what a sequential step costs, and the functions inside, each against the machine's roofs.
//
//   build/benchmarks/evaluate --benchmark_filter='evaluate/gru' --benchmark_counters_tabular=true
//
// Fields are explained in report.hpp. Roofs come first, as benchmarks of their own.
#include "core/math.hpp"
#include "report.hpp"
#include "systems/gate_tiles.hpp"
#include "systems/registry.hpp"
#include "systems/system.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::benchmarks;
using systems::Linearization;

const char* name_of(Linearization l) {
  return l == Linearization::dense ? "dense" : l == Linearization::diagonal ? "diagonal" : "zero";
}

/// σ and tanh of one step.
double functions_of(const std::string& system, double dim) {
  return system == "gru" ? 3 * dim : system == "lstm" ? 2.5 * dim : dim;
}

template <class Real>
systems::Instance<Real> make(const std::string& system, long length, long dim, long batch) {
  deck::Case c;
  c.system = system;
  c.system_options = {{"input_dim", 0}, {"gain", 1}};
  c.precision = sizeof(Real) == 8 ? deck::Precision::float64 : deck::Precision::float32;
  c.state_dim = dim;
  c.length = length;
  c.batch = batch;
  return systems::make_instance<Real>(c, {0, batch});
}

/// Numbers between −1 and 1, in no pattern that matters.
template <class Real>
scan::Panel<Real> filled(long groups, long rows, long components) {
  const auto panel = make_view<scan::Panel<Real>>("panel", groups, rows, components, lane_width);
  Kokkos::parallel_for(
      "fill", Kokkos::RangePolicy<Exec>(0, static_cast<long>(panel.size())),
      KOKKOS_LAMBDA(long i) { panel.data()[i] = Real((i * 2654435761L) % 2001 - 1000) / Real(1000); });
  return panel;
}

template <class Real>
void evaluate(benchmark::State& state, const std::string& name, Linearization linearization, bool projected) {
  const long T = state.range(0), D = state.range(1), B = state.range(2);
  const auto instance = make<Real>(name, 1, D, B);
  const systems::System<Real>& system = *instance.system;
  const long n = projected ? system.projected_dim() : system.input_dim();
  const double flops = system.flops(linearization) - (projected ? system.projected_flops() : 0);
  const long J = linearization == Linearization::dense ? D * D : linearization == Linearization::diagonal ? D : 0;
  const scan::LaneMap map(T, B, B < lane_width ? lane_width / B : 1);
  systems::Evaluation<Real> args{map,
                                 {},
                                 filled<Real>(map.groups, map.steps + 1, D),
                                 filled<Real>(map.groups, map.steps, n),
                                 filled<Real>(map.groups, map.steps, D),
                                 filled<Real>(map.groups, map.steps, J),
                                 {}};
  args.projected = projected;
  args.worst =
      Kokkos::View<Real***, Kokkos::LayoutRight, Memory>("worst", map.groups, systems::blocks(map.steps), lane_width);
  const double rows = double(T) * double(B);
  show_sizes(state, T, D, B);
  judge<Real>(state, sizeof(Real) * rows * double(2 * D + n + J), rows * flops, rows * functions_of(name, double(D)),
              [&] { system.evaluate(linearization, args); });
}

template <class Real>
void sequential(benchmark::State& state, const std::string& name) {
  const long T = state.range(0), D = state.range(1), B = state.range(2);
  const auto instance = make<Real>(name, T, D, B);
  const auto states = make_view<Rows<Real>>("states", T, B, D);
  const double rows = double(T) * double(B);
  show_sizes(state, T, D, B);
  judge<Real>(state, sizeof(Real) * rows * double(D + instance.system->input_dim()),
              rows * instance.system->flops(Linearization::zero), rows * functions_of(name, double(D)),
              [&] { instance.system->rollout(instance.drivers, instance.initial, states); });
}

constexpr int numbers = 2048, rounds = 50;

/// f of all numbers, of packs four at a time, as kernels take them.
template <class Real, class P, class F>
struct Apply {
  static constexpr int side = is_pack<P> ? 4 : 1;
  Matrix<Real> in, out;
  F f;
  KOKKOS_INLINE_FUNCTION void operator()(long item) const {
    for (int round = 0; round < rounds; ++round)
      for (int i = 0; i < numbers; i += side * width_of<P>) {
        if constexpr (side == 1) {
          store<P>(&out(item, i), f(load<P>(&in(item, i))));
        } else {
          Several<P, side> x;
          unrolled<side>([&](auto k) { x.part[k] = load<P>(&in(item, i + k * width_of<P>)); });
          const Several<P, side> y = f(x);
          unrolled<side>([&](auto k) { store<P>(&out(item, i + k * width_of<P>), y.part[k]); });
        }
      }
  }
};

// Inlined by order: called, they would be timed with their calls.
struct Exp {
  template <class P>
  KOKKOS_FORCEINLINE_FUNCTION P operator()(P x) const {
    return exponential(x);
  }
};
struct Tanh {
  template <class P>
  KOKKOS_FORCEINLINE_FUNCTION P operator()(P x) const {
    return hyperbolic_tangent(x);
  }
};
struct Sigmoid {
  template <class P>
  KOKKOS_FORCEINLINE_FUNCTION P operator()(P x) const {
    return sigmoid(x);
  }
};
struct Softplus {
  template <class P>
  KOKKOS_FORCEINLINE_FUNCTION P operator()(P x) const {
    return softplus(x);
  }
};

/// `f` of numbers in the first-level cache: one work item a thread. P: a vector, or one number for the libm.
template <class Real, class P, class F>
void function(benchmark::State& state, const F& f) {
  const long items = Exec().concurrency();
  const Matrix<Real> in("in", items, numbers), out("out", items, numbers);
  for (long i = 0; i < items * numbers; ++i) in.data()[i] = Real((i * 7919) % 4001 - 2000) / Real(250);  // −8 … 8
  judge<Real>(state, 0, 0, double(rounds) * double(items) * numbers, [&] {
    Kokkos::parallel_for("function", Kokkos::RangePolicy<Exec>(0, items), Apply<Real, P, F>{in, out, f});
  });
}

template <class Real>
void add(const std::string& precision) {
  const auto finish = [](benchmark::internal::Benchmark* b) { return b->UseRealTime()->Unit(benchmark::kMicrosecond); };
  add_roofs<Real>(precision);
  // An iteration should be short enough to be left alone on a busy machine; D 8's is beyond the caches.
  const std::vector<std::vector<long>> sizes = {{20000, 8, 16}, {1000, 32, 16}, {300, 64, 16}, {20, 256, 16}};
  for (const char* system : {"gru", "lstm", "rnn"}) {
    for (const Linearization l : {Linearization::zero, Linearization::diagonal, Linearization::dense})
      for (std::vector<long> size : sizes) {
        if (l == Linearization::dense) size[0] /= size[1];  // T·D² numbers
        if (l == Linearization::dense && size[0] < 10) continue;
        for (const bool projected : {false, true}) {
          if (projected && (l == Linearization::dense || size[1] < 2 * systems::fewest_projected_inputs)) continue;
          finish(benchmark::RegisterBenchmark(
                     (std::string("evaluate/") + system + "/" + name_of(l) + "/" + (projected ? "projected/" : "") +
                      precision)
                         .c_str(),
                     [=](benchmark::State& state) { evaluate<Real>(state, system, l, projected); }))
              ->ArgNames({"T", "D", "B"})
              ->Args({size[0], size[1], size[2]});
        }
      }
    auto* const b = benchmark::RegisterBenchmark((std::string("sequential/") + system + "/" + precision).c_str(),
                                                 [=](benchmark::State& state) { sequential<Real>(state, system); });
    finish(b)->ArgNames({"T", "D", "B"})->Args({10000, 4, 1})->Args({10000, 8, 1})->Args({1000, 64, 1});
    for (const std::vector<long>& size : sizes) b->Args({std::min(size[0], 10000L), size[1], size[2]});
  }
  using P = measure::Widest<Real>;
  const auto add_function = [&](const std::string& name, auto ours, auto libm) {
    finish(benchmark::RegisterBenchmark(("function/" + name + "/" + precision).c_str(),
                                        [=](benchmark::State& state) { function<Real, P>(state, ours); }));
    finish(benchmark::RegisterBenchmark(("function/" + name + "/libm/" + precision).c_str(),
                                        [=](benchmark::State& state) { function<Real, Real>(state, libm); }));
  };
  add_function("exp", Exp(), [](Real x) { return std::exp(x); });
  add_function("tanh", Tanh(), [](Real x) { return std::tanh(x); });
  add_function("sigmoid", Sigmoid(), [](Real x) { return 1 / (1 + std::exp(-x)); });
  add_function("softplus", Softplus(), [](Real x) { return std::log1p(std::exp(x)); });
}

}  // namespace

int main(int argc, char** argv) {
  return run_benchmarks(argc, argv, [] {
    add<float>("float32");
    add<double>("float64");
  });
}
