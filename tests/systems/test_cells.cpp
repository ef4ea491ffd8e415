// Every system: f, its Jacobians and the rollout agree; gru, lstm and rnn are PyTorch's; lorenz96's starts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../solvers/reference.hpp"
#include "probe.hpp"
#include "systems/files.hpp"
#include "systems/lorenz96_starts.hpp"

namespace {

using namespace elkhorn;
using namespace elkhorn::test;

deck::Case small_case(const std::string& system, long dim) {
  deck::Case c = basic_case(system);
  c.precision = deck::Precision::float64;
  c.state_dim = dim;
  c.length = 2;
  c.batch = 11;  // more than a group of lanes, and not a multiple of them
  c.initial_state = "random";
  if (system == "ar_gru") c.weights = reference_file("argru_weights.h5") + ":/";
  return c;
}

class EverySystem : public testing::TestWithParam<std::string> {};

TEST_P(EverySystem, StepsAndJacobiansAgree) {
  const systems::SystemInfo& info = *systems::find_info(GetParam());
  std::vector<long> dims{info.fixed_state_dim};
  if (info.fixed_state_dim == 0) dims = {4, 6, 14, 22};
  // where whole rings give way to the offsets that count, for the diagonal and for the dense Jacobian
  if (info.kind == "lorenz96") dims = {4, 5, 11, 12, 13, 14, 21, 22, 23, 40};
  for (const long dim : dims) {
    deck::Case c = small_case(info.kind, dim);
    if (c.system_options.count("step") > 0) c.system_options["step"] = 0.2;  // so that high orders count
    const Consistency found = consistency(systems::make_instance<double>(c, {0, c.batch}));
    EXPECT_LE(found.rollout, 1e-14) << dim;
    EXPECT_LE(found.differences, 1e-8) << dim;
    EXPECT_LE(found.diagonal, 1e-14) << dim;
  }
}

TEST_P(EverySystem, DataDependOnNeitherRanksNorPrecision) {
  const systems::SystemInfo& info = *systems::find_info(GetParam());
  deck::Case c = small_case(info.kind, info.fixed_state_dim > 0 ? info.fixed_state_dim : 6);
  const auto all = systems::make_instance<double>(c, {0, c.batch});
  const auto some = systems::make_instance<float>(c, {4, 9});
  ASSERT_EQ(all.length(), c.length);
  ASSERT_EQ(some.batch(), 5);
  const auto a = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), all.initial);
  const auto b = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), some.initial);
  for (long k = 0; k < 5; ++k)
    for (std::size_t i = 0; i < a.extent(1); ++i) EXPECT_EQ(static_cast<float>(a(4 + k, i)), b(k, i)) << k << " " << i;
}

// A rollout takes sequences in groups of lanes or in pairs of groups, or units in lanes, in one team or in teams of threads.
template <class Real>
void expect_states_do_not_depend_on_the_batch(const std::string& system, long dim) {
  deck::Case c = small_case(system, dim);
  c.precision = precision_of<Real>();
  c.length = 50;
  c.batch = 40;
  const auto states = [&](parallel::Range batch) {
    const auto instance = systems::make_instance<Real>(c, batch);
    const auto out = make_view<Rows<Real>>("states", instance.length(), batch.size(), instance.system->state_dim());
    instance.system->rollout(instance.drivers, instance.initial, out);
    return Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), out);
  };
  const auto all = states({0, 40});
  for (const parallel::Range part : {parallel::Range{2, 3}, {4, 6}, {3, 9}, {9, 20}, {20, 40}}) {
    const auto some = states(part);
    long different = 0;
    for (std::size_t t = 0; t < all.extent(0); ++t)
      for (long b = part.begin; b < part.end; ++b)
        for (std::size_t i = 0; i < all.extent(2); ++i) different += all(t, b, i) != some(t, b - part.begin, i);
    EXPECT_EQ(different, 0) << system << " " << dim << " sequences " << part.begin << " to " << part.end;
  }
}

TEST_P(EverySystem, RolloutsDependOnNoOtherSequence) {
  const systems::SystemInfo& info = *systems::find_info(GetParam());
  for (const long dim :
       info.fixed_state_dim > 0 ? std::vector<long>{info.fixed_state_dim} : std::vector<long>{4, 6, 22, 40, 200}) {
    expect_states_do_not_depend_on_the_batch<float>(info.kind, dim);
    expect_states_do_not_depend_on_the_batch<double>(info.kind, dim);
  }
}

/// Residuals, Jacobians and largest residuals of slots that lie anywhere in their sequences, from drivers or projections.
template <class Real>
std::vector<std::vector<Real>> evaluate_windows(const systems::Instance<Real>& instance, bool project,
                                                systems::Linearization linearization) {
  const long slots = 9, width = 75, chunks = 2;  // the last chunks are a step shorter
  const systems::System<Real>& system = *instance.system;
  const long dim = system.state_dim(), n = system.input_dim();
  scan::Frame frame;
  frame.map = scan::LaneMap(width, slots, chunks);
  frame.sequences = Vector<int>("sequences", slots);
  frame.begins = Vector<long>("begins", slots);
  frame.map.lengths = Vector<long>("lengths", slots);
  const scan::Active moving{Vector<int>("moving", slots), {}};
  for (long j = 0; j < slots; ++j) {
    frame.sequences(j) = static_cast<int>((j + 4) % instance.batch());
    frame.begins(j) = 3 * j;
    frame.map.lengths(j) = j == 5 ? 20 : width;  // at the end of its sequence: its second chunk is empty
    moving.sequences(j) = j != 2;
  }
  const scan::LaneMap& map = frame.map;
  const auto panel = [&](long rows, long components) {
    return scan::Panel<Real>("panel", map.groups, rows, components, lane_width);
  };
  const long held = project ? system.projected_dim() : n;
  systems::Evaluation<Real> args{map,
                                 {},
                                 panel(map.steps + 1, dim),
                                 panel(map.steps, held),
                                 panel(map.steps, dim),
                                 panel(map.steps, systems::jacobian_components(linearization, dim)),
                                 {},
                                 project};
  args.worst =
      Kokkos::View<Real***, Kokkos::LayoutRight, Memory>("worst", map.groups, systems::blocks(map.steps), lane_width);
  for (std::size_t i = 0; i < args.states.size(); ++i)
    args.states.data()[i] = static_cast<Real>(systems::random_normal(5, systems::Stream::initial_state, i));
  if (project) {
    system.project({frame, moving, instance.drivers, args.inputs});
  } else {
    for (long lane = 0; lane < map.lanes(); ++lane)
      for (long k = 0; k < map.steps_of(lane) && moving.sequence(map.sequence_of(lane)); ++k)
        for (long i = 0; i < n; ++i)
          args.inputs(lane / lane_width, k, i, lane % lane_width) =
              instance.drivers(frame.time_of(lane) + k, frame.sequence_of(lane), i);
  }
  Kokkos::fence();
  if (project)  // nothing but the slots that move and the steps they hold was written
    for (long lane = 0; lane < map.groups * lane_width; ++lane) {
      const bool moves = lane < map.lanes() && moving.sequence(map.sequence_of(lane));
      for (long k = moves ? map.steps_of(lane) : 0; k < map.steps; ++k)
        for (long i = 0; i < held; ++i)
          EXPECT_EQ(args.inputs(lane / lane_width, k, i, lane % lane_width), Real(0)) << lane << " " << k;
    }
  system.evaluate(linearization, args);
  std::vector<std::vector<Real>> out;
  for (long lane = 0; lane < map.lanes(); ++lane)
    for (long k = 0; k < map.steps_of(lane) && moving.sequence(map.sequence_of(lane)); ++k) {
      out.emplace_back();
      for (long i = 0; i < dim; ++i) out.back().push_back(args.residual(lane / lane_width, k, i, lane % lane_width));
      for (long i = 0; i < systems::jacobian_components(linearization, dim); ++i)
        out.back().push_back(args.jacobian(lane / lane_width, k, i, lane % lane_width));
      out.back().push_back(args.worst(lane / lane_width, k / systems::block_steps, lane % lane_width));
    }
  return out;
}

template <class Real>
void expect_projections_change_nothing(const std::string& system, long dim, long inputs) {
  deck::Case c = small_case(system, dim);
  c.system_options["input_dim"] = double(inputs);
  c.precision = precision_of<Real>();
  c.length = 110;
  const auto instance = systems::make_instance<Real>(c, {0, c.batch});
  ASSERT_GE(instance.system->projected_dim(), dim / 2) << system;
  EXPECT_GE(instance.system->projected_dim(), systems::inspect(c).projected_dim);
  const auto linearization = dim > 100 ? systems::Linearization::diagonal : systems::Linearization::dense;
  EXPECT_EQ(evaluate_windows(instance, true, linearization), evaluate_windows(instance, false, linearization))
      << system << " " << dim << " " << inputs;
}

/// The recurrence of increments through steps of nine sequences: by Jacobians, and block by block by their factors.
template <class Real>
void expect_factors_do_what_jacobians_do(const std::string& name, long dim) {
  SCOPED_TRACE(name + " " + std::to_string(dim));
  const long steps = 11, batch = 9, block = 4;
  deck::Case c = small_case(name, dim);
  c.precision = precision_of<Real>();
  const systems::Instance<Real> instance = systems::make_instance<Real>(c, {0, 1});
  const systems::System<Real>& system = *instance.system;
  ASSERT_GT(system.factors(), 0);
  EXPECT_LT(system.factors(), 7 * dim);
  EXPECT_EQ(system.factors(), systems::inspect(c).factors);
  const scan::LaneMap map(steps, batch, 1);
  unsigned long drawn = 0;
  const auto panel = [&](long groups, long rows, long components) {
    return scan::Panel<Real>("panel", groups, rows, components, lane_width);
  };
  const auto fill = [&](const scan::Panel<Real>& numbers) {
    for (std::size_t i = 0; i < numbers.size(); ++i)
      numbers.data()[i] = static_cast<Real>(systems::random_normal(5, systems::Stream::initial_state, drawn++));
  };
  systems::Evaluation<Real> args{map,
                                 {},
                                 panel(map.groups, steps + 1, dim),
                                 panel(map.groups, steps, system.input_dim()),
                                 panel(map.groups, steps, dim),
                                 panel(map.groups, steps, dim * dim),
                                 {}};
  args.worst =
      Kokkos::View<Real***, Kokkos::LayoutRight, Memory>("worst", map.groups, systems::blocks(steps), lane_width);
  fill(args.states);
  fill(args.inputs);
  system.evaluate(systems::Linearization::dense, args);
  Kokkos::fence();
  systems::Evaluation<Real> blockwise = args;
  blockwise.residual = panel(2, block, dim);
  blockwise.jacobian = panel(2, block, system.factors());
  const auto evaluate = system.evaluate_blocks(systems::Linearization::factored, blockwise);
  const auto recur = system.recur_blocks(blockwise);

  const long buffer = 1;
  std::vector<Real> before(static_cast<std::size_t>(dim * lane_width));
  for (long group = 0; group < map.groups; ++group) {
    // Increments do not start at nothing: a block goes on where the one before it ended.
    for (Real& x : before) x = static_cast<Real>(systems::random_normal(6, systems::Stream::initial_state, drawn++));
    std::vector<double> expected(before.begin(), before.end());
    for (long begin = 0; begin < steps; begin += block) {
      const scan::StepBlock at{group, begin, std::min(begin + block, steps), buffer};
      evaluate(at);
      for (long k = begin; k < at.end; ++k)
        for (long i = 0; i < dim; ++i)
          for (int w = 0; w < lane_width; ++w)
            ASSERT_EQ(blockwise.residual(buffer, k - begin, i, w), args.residual(group, k, i, w));
      recur(at, before.data());
      for (long k = begin; k < at.end; ++k) {
        std::vector<double> next(expected.size());
        double largest = 1;
        for (long i = 0; i < dim; ++i)
          for (int w = 0; w < lane_width; ++w) {
            double sum = -double(args.residual(group, k, i, w));
            for (long j = 0; j < dim; ++j)
              sum += double(args.jacobian(group, k, i * dim + j, w)) *
                     expected[static_cast<std::size_t>(j * lane_width + w)];
            next[static_cast<std::size_t>(i * lane_width + w)] = sum;
            largest = std::max(largest, std::fabs(sum));
          }
        expected = next;
        const double rounding = 100 * double(dim) * double(std::numeric_limits<Real>::epsilon()) * largest;
        for (long i = 0; i < dim; ++i)
          for (int w = 0; w < lane_width; ++w)
            ASSERT_NEAR(blockwise.residual(buffer, k - begin, i, w),
                        expected[static_cast<std::size_t>(i * lane_width + w)], rounding)
                << "step " << k << " component " << i << " lane " << w;
      }
      for (long i = 0; i < dim * lane_width; ++i)
        ASSERT_EQ(before[static_cast<std::size_t>(i)],
                  blockwise.residual(buffer, at.steps() - 1, i / lane_width, i % lane_width));
    }
  }
}

TEST(GatedCells, FactorsDoWhatJacobiansDo) {
  if constexpr (!exec_is_host) GTEST_SKIP() << "blocks of steps are of hosts";
  for (const std::string name : {"gru", "lstm", "rnn"})
    for (const long dim : {2, 6, 8, 14, 30, 40, 70}) {
      expect_factors_do_what_jacobians_do<float>(name, dim);
      expect_factors_do_what_jacobians_do<double>(name, dim);
    }
  // Others form their Jacobians.
  const deck::Case c = small_case("lorenz96", 5);
  const systems::Instance<double> other = systems::make_instance<double>(c, {0, 1});
  EXPECT_EQ(other.system->factors(), 0);
  EXPECT_THROW(other.system->recur_blocks({}), std::logic_error);
  EXPECT_THROW(other.system->evaluate_blocks(systems::Linearization::factored, {}), std::logic_error);
}

// Inputs as far as they go without states are the same numbers, made once or in every evaluation; large cells take tiles of
// units one after the other, and their products some at a time.
TEST(GatedCells, ProjectedInputsGiveTheSameNumbers) {
  if constexpr (!exec_is_host) GTEST_SKIP() << "reads arrays in place";
  for (const std::string system : {"gru", "lstm", "rnn"})
    for (const auto& [dim, inputs] : {std::pair<long, long>{6, 16}, {8, 17}, {22, 40}, {200, 70}, {610, 140}}) {
      expect_projections_change_nothing<float>(system, dim, inputs);
      expect_projections_change_nothing<double>(system, dim, inputs);
    }
}

// Products in parts are those of the rollout, which takes them in one go, bit by bit; and so they are from zero states.
template <class Real>
void expect_steps_of_the_rollout(const std::string& system, long dim, long inputs) {
  deck::Case c = small_case(system, dim);
  c.system_options["input_dim"] = double(inputs);
  c.precision = precision_of<Real>();
  c.length = systems::block_steps + 3;
  const auto instance = systems::make_instance<Real>(c, {0, c.batch});
  const Probe<Real> probe(instance);
  const std::vector<double> zero(std::size_t(c.batch * dim), 0.0);
  for (const std::vector<double>& states : {probe.random_states(3), zero})
    EXPECT_EQ(probe.at(states, systems::Linearization::diagonal).f, probe.rollout(states)) << system << " " << dim;
  // Steps of a block take turns tile by tile where weights are many; one step alone does not. A residual may be what its
  // value was rounded by: compilers contract the last sum of an LSTM with the difference.
  for (const auto linearization : {systems::Linearization::zero, systems::Linearization::diagonal})
    EXPECT_LE(probe.worst_of_rollout(linearization), double(std::numeric_limits<Real>::epsilon()))
        << system << " " << dim;
}

TEST(GatedCells, LargeOnesTakeTheirProductsInParts) {
  for (const std::string system : {"gru", "lstm", "rnn"})
    for (const auto& [dim, inputs] : {std::pair<long, long>{22, 5}, {610, 140}, {1030, 300}}) {
      expect_steps_of_the_rollout<float>(system, dim, inputs);
      expect_steps_of_the_rollout<double>(system, dim, inputs);
    }
}

std::vector<std::string> all_systems() {
  std::vector<std::string> out;
  for (const systems::SystemInfo& info : systems::infos()) out.push_back(info.kind);
  return out;
}
INSTANTIATE_TEST_SUITE_P(Systems, EverySystem, testing::ValuesIn(all_systems()),
                         [](const auto& one) { return one.param; });

// ------------------------------------------------------------------------------------------------- PyTorch

const char* const cells = "pytorch_cells.h5";

template <class Real>
systems::Instance<Real> pytorch_cell(const std::string& group, long length) {
  deck::Case c = basic_case(group.substr(0, group.find('_')));
  const std::string file = reference_file(cells) + ":/" + group;
  c.precision = precision_of<Real>();
  c.weights = file + "/weights";
  c.drivers = file + "/drivers";
  c.initial_state = file + "/initial_state";
  c.length = length;
  c.batch = 3;
  const systems::Shape shape = systems::inspect(c);
  EXPECT_EQ(shape.state_dim, stored(cells, "/" + group + "/states").shape[2]);
  return systems::make_instance<Real>(c, {0, 3});
}

TEST(PyTorchCells, StatesOfAllSteps) {
  ASSERT_EQ(groups(cells).size(), 9u);
  for (const std::string& group : groups(cells)) {
    const auto s = make(pytorch_cell<double>(group, 40), solver("sequential"));
    s->solve();
    EXPECT_LE(largest_difference(host_values(s->states()), stored(cells, "/" + group + "/states").values), 1e-11)
        << group;
  }
}

TEST(PyTorchCells, OneStepInFloat32) {
  for (const std::string& group : groups(cells)) {
    const auto s = make(pytorch_cell<float>(group, 1), solver("sequential"));
    s->solve();
    const std::vector<double> states = host_values(s->states());
    std::vector<double> truth = stored(cells, "/" + group + "/states").values;
    truth.resize(states.size());
    EXPECT_LE(largest_difference(states, truth), 1e-6) << group;
  }
}

TEST(PyTorchCells, AModelsSafetensorsFile) {
  // the file has the weights in float32, float16 and bfloat16, each rounded once
  const std::string file = reference_file("pytorch_lstm.safetensors");
  const Origin origin{"test", "system.weights", 1};
  const std::vector<double> exact = stored(cells, "/lstm_n3_h5/weights/weight_hh_l0").values;
  const auto error = [&](const std::string& prefix) {
    const auto name = systems::member(file + ":" + prefix, "weight_hh_l0", origin);
    const systems::Array a = systems::read_reference(name, origin);
    EXPECT_THAT(a.shape, testing::ElementsAre(20, 5));
    return largest_difference(a.values, exact);
  };
  const auto within = [](double high) { return testing::AllOf(testing::Gt(high / 16), testing::Le(high)); };
  EXPECT_THAT(error("net.rnn"), within(0x1p-25));
  EXPECT_THAT(error("half"), within(0x1p-12));
  EXPECT_THAT(error("bfloat"), within(0x1p-9));

  deck::Case c = basic_case("lstm");
  c.weights = file + ":net.rnn";
  c.length = 3;
  EXPECT_EQ(systems::inspect(c).state_dim, 10);
  EXPECT_EQ(systems::inspect(c).input_dim, 3);
}

TEST(PyTorchCells, AnLstmNeedsAnEvenNumberOfStates) {
  deck::Case c = basic_case("lstm");
  c.state_dim = 7;
  c.length = 3;
  try {
    systems::inspect(c);
    FAIL();
  } catch (const InputError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("D must be even"));
  }
}

TEST(PyTorchCells, WeightsOfAnotherCell) {
  deck::Case c = basic_case("gru");
  c.weights = reference_file(cells) + ":/lstm_n3_h5/weights";
  c.length = 3;
  try {
    systems::inspect(c);
    FAIL();
  } catch (const InputError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("gru needs [3 H, H]"));
  }
}

// ------------------------------------------------------------------------------------------------- lorenz96

TEST(Lorenz96, StartsAreStatesOfItsOwnRollout) {
  // start 3 continues to start 4 by 1000 steps; chaos turns the other order of operations into 1e-10 on the way
  deck::Case c = small_case("lorenz96", 5);
  c.initial_state = "zero";
  c.system_options["start"] = 3;
  c.length = 1000;
  c.batch = 12;
  const auto instance = systems::make_instance<double>(c, {0, 12});
  const auto s = make(instance, solver("sequential"));
  s->solve();
  const auto states = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), s->states());
  const auto initial = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), instance.initial);
  for (long b : {0, 1, 5})  // starts 3, 4 and 8 run into 4, 5 and 9
    for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(states(999, b, i), initial(b + 1, i), 1e-8) << b << " " << i;
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(initial(0, i), initial(10, i));                  // ten starts, then again from the first
    EXPECT_GT(std::abs(initial(6, i) - initial(7, i)), 1e-3);  // start 9, then 0
  }
}

TEST(Lorenz96, StartsAreTheSameNumbersEverywhere) {
  // from NumPy, which fuses nothing, with the same order of operations
  EXPECT_THAT(systems::lorenz96_start(5, 8, 0.01, 0),
              testing::ElementsAre(0x1.206f01e597976p+1, 0x1.04e30622d1ddfp+3, -0x1.2e187e5a21f62p+0,
                                   0x1.f8d8e59f83fe7p+0, 0x1.2ec20cb8e24a1p+0));
  EXPECT_THAT(systems::lorenz96_start(5, 8, 0.01, 9),
              testing::ElementsAre(0x1.7cee81bd26ff4p+2, -0x1.c12e50c05300ap+1, 0x1.27d4686581fafp+1,
                                   0x1.d51bd295d4851p+0, 0x1.925a08d87b0d2p+1));
}

TEST(Lorenz96, AStepThatOverflowsIsAnInputError) {
  deck::Case c = small_case("lorenz96", 5);
  c.initial_state = "zero";
  c.system_options["step"] = 1;
  try {
    systems::inspect(c);
    FAIL();
  } catch (const InputError& e) {
    EXPECT_THAT(e.what(), testing::AllOf(testing::HasSubstr("system.step"), testing::HasSubstr("overflows")));
  }
}

}  // namespace
