/// Frames: which steps of which sequences the panels hold, and how numbers get into them and out.
///
/// A frame has slots; a slot holds a window of consecutive steps of one sequence, laid out over the lanes as LaneMap says.
/// A full-length solve is the frame whose slots are all sequences with all their steps. Windows slide by taking a slot's
/// states out into the (T, B, D) answer and packing its next steps.
#pragma once

#include "systems/system.hpp"

namespace elkhorn::solvers {

/// Numbers of blocks of steps (systems::block_steps): (group, block, lane)
template <class Real>
using LaneNumbers = Kokkos::View<Real***, Kokkos::LayoutRight, Memory>;

/// Where iterates start, and where the guard resets states to: zero, s_0 at all times, or given states.
template <class Real>
struct Guess {
  enum class Kind { zero, initial_state, given };
  Kind kind = Kind::zero;
  Matrix<Real> initial;  ///< (B, D): s_0
  Rows<Real> given;      ///< (T, B, D)

  /// Component i of the guess of s_t, t = 0..T (s_0 is known).
  KOKKOS_INLINE_FUNCTION Real at(long t, long sequence, int i) const {
    if (t == 0 || kind == Kind::initial_state) return initial(sequence, i);
    return kind == Kind::given ? given(t - 1, sequence, i) : Real(0);
  }
};

/// The iterate outside of panels: the answer as far as it was ever worked on, the guess from there on.
template <class Real>
struct Iterate {
  Guess<Real> guess;
  Rows<Real> answer;     ///< (T, B, D)
  Vector<long> touched;  ///< (B): states s_1..s_touched are in `answer`; empty: none

  KOKKOS_INLINE_FUNCTION Real at(long t, long sequence, int i) const {
    if (t > 0 && touched.extent(0) > 0 && t <= touched(sequence)) return answer(t - 1, sequence, i);
    return guess.at(t, sequence, i);
  }
};

using scan::Frame;

/// The states of an iterate: in one panel, or in either of two, group by group, where a pass writes the next states beside
/// the present ones.
template <class Real>
struct StatePanels {
  scan::Panel<Real> sides[2];  ///< the same panel twice where there is only one
  Vector<int> side;            ///< (group): where the present states are; empty: 0

  KOKKOS_INLINE_FUNCTION int side_of(long group) const { return side.extent(0) == 0 ? 0 : side(group); }
  KOKKOS_INLINE_FUNCTION const scan::Panel<Real>& present(long group) const { return sides[side_of(group)]; }
  KOKKOS_INLINE_FUNCTION const scan::Panel<Real>& next(long group) const { return sides[1 - side_of(group)]; }
};

/// A block of steps of a group as work item `index` of groups × blocks.
struct BlockItem {
  long group, block, begin, end;
  KOKKOS_INLINE_FUNCTION BlockItem(long index, const scan::LaneMap& map)
      : group(index / count(map)),
        block(index % count(map)),
        begin(block * systems::block_steps),
        end(begin + systems::block_steps < map.steps ? begin + systems::block_steps : map.steps) {}
  KOKKOS_INLINE_FUNCTION static long count(const scan::LaneMap& map) {
    return (map.steps + systems::block_steps - 1) / systems::block_steps;
  }
};

/// Runs a kernel over all blocks of steps of all groups, `items_each` work items a block.
template <class Space = Exec, class Kernel>
void over_blocks(const char* name, const scan::LaneMap& map, long items_each, const Kernel& kernel) {
  Kokkos::parallel_for(name, Kokkos::RangePolicy<Space>(0, map.groups * systems::blocks(map.steps) * items_each),
                       kernel);
}

/// Drivers (T, B, n) and the iterate into the lanes of the slots that `moving` names; padding gets zeros.
template <class Real>
struct Pack {
  Frame frame;
  scan::Active moving;  ///< slots
  Rows<Real> drivers;
  Iterate<Real> iterate;
  scan::Panel<Real> inputs;  ///< out
  StatePanels<Real> sides;   ///< out: the present states, with each lane's state before its first step

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const BlockItem item(index, frame.map);
    const scan::Panel<Real>& states = sides.present(item.group);
    const int n = static_cast<int>(inputs.extent(2)), dim = static_cast<int>(states.extent(2));
    // Where all lanes move and hold the block's steps, rows are filled as they lie in memory.
    const Real* from[lane_width];
    bool whole = n > 0 || dim > 0, blank = iterate.guess.kind == Guess<Real>::Kind::zero;
    for (int w = 0; w < lane_width && whole; ++w) {
      const long lane = item.group * lane_width + w;
      whole = frame.map.steps_of(lane) >= item.end && moving.sequence(frame.map.sequence_of(lane));
      if (!whole) break;
      const long t0 = frame.time_of(lane), b = frame.sequence_of(lane);
      from[w] = drivers.data() + (t0 * static_cast<long>(drivers.extent(1)) + b) * n;
      blank = blank && (iterate.touched.extent(0) == 0 || iterate.touched(b) <= t0 + item.begin);
    }
    const long stride = static_cast<long>(drivers.extent(1)) * n;
    if (whole) {
      for (long k = item.begin; k < item.end; ++k) {
        for (int i = 0; i < n; ++i)
          for (int w = 0; w < lane_width; ++w) inputs(item.group, k, i, w) = from[w][k * stride + i];
        if (blank)
          for (int i = 0; i < dim; ++i)
            for (int w = 0; w < lane_width; ++w) states(item.group, k + 1, i, w) = Real(0);
      }
    }
    for (int w = 0; w < lane_width; ++w) {
      const long lane = item.group * lane_width + w, steps = frame.map.steps_of(lane);
      if (lane < frame.map.lanes() && !moving.sequence(frame.map.sequence_of(lane))) continue;
      const long t0 = steps > 0 ? frame.time_of(lane) : 0, b = steps > 0 ? frame.sequence_of(lane) : 0;
      const Real* const driver = drivers.data() + (t0 * static_cast<long>(drivers.extent(1)) + b) * n;
      for (long k = item.begin; k < item.end && !whole; ++k)
        for (int i = 0; i < n; ++i) inputs(item.group, k, i, w) = k < steps ? driver[k * stride + i] : Real(0);
      // Rows that nothing was ever worked on start from zero.
      const bool untouched = iterate.touched.extent(0) == 0 || iterate.touched(b) <= t0 + item.begin;
      const bool zero = steps <= item.begin || (iterate.guess.kind == Guess<Real>::Kind::zero && untouched);
      for (long row = item.begin == 0 ? 0 : item.begin + 1; row <= (whole && blank ? 0 : item.end); ++row)
        for (int i = 0; i < dim; ++i)
          states(item.group, row, i, w) =
              (zero && row > item.begin) || row > steps || steps == 0 ? Real(0) : iterate.at(t0 + row, b, i);
    }
  }
};

/// States out of the lanes of the slots that `moving` names into (T, B, D).
template <class Real>
struct Unpack {
  Frame frame;
  scan::Active moving;
  StatePanels<Real> sides;
  Rows<Real> rows;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const BlockItem item(index, frame.map);
    const scan::Panel<Real>& states = sides.present(item.group);
    const int dim = static_cast<int>(states.extent(2));
    Real* to[lane_width];  // of the step before the first one
    long held[lane_width];
    for (int w = 0; w < lane_width; ++w) {
      const long lane = item.group * lane_width + w;
      held[w] = frame.map.steps_of(lane);
      if (held[w] > 0 && !moving.sequence(frame.map.sequence_of(lane))) held[w] = 0;
      to[w] =
          held[w] > 0
              ? rows.data() + (frame.time_of(lane) * static_cast<long>(rows.extent(1)) + frame.sequence_of(lane)) * dim
              : nullptr;
    }
    const long stride = static_cast<long>(rows.extent(1)) * dim;
    for (long k = item.begin; k < item.end; ++k)
      for (int w = 0; w < lane_width; ++w)
        for (int i = 0; i < dim && k < held[w]; ++i) to[w][k * stride + i] = states(item.group, k + 1, i, w);
  }
};

/// The state after each slot's last step in the frame.
template <class Real>
struct TakeLastState {
  Frame frame;
  scan::Panel<Real> states;
  Matrix<Real> last;  ///< out (slot, D)

  KOKKOS_INLINE_FUNCTION void operator()(long slot) const {
    const long chunk = (frame.map.length - 1) / frame.map.steps, lane = chunk * frame.map.batch + slot;
    for (int i = 0; i < static_cast<int>(states.extent(2)); ++i)
      last(slot, i) = states(lane / lane_width, frame.map.steps_of(lane), i, lane % lane_width);
  }
};

/// The state before each slot's first step.
template <class Real>
struct PutFirstState {
  Matrix<Real> first;  ///< (slot, D)
  scan::Panel<Real> states;

  KOKKOS_INLINE_FUNCTION void operator()(long slot) const {
    for (int i = 0; i < static_cast<int>(states.extent(2)); ++i)
      states(slot / lane_width, 0, i, slot % lane_width) = first(slot, i);
  }
};

/// The largest number of each lane over its blocks.
template <class Real>
struct LargestOfLane {
  LaneNumbers<Real> numbers;
  Vector<Real> lanes;

  KOKKOS_INLINE_FUNCTION void operator()(long lane) const {
    Real largest(0);
    for (std::size_t block = 0; block < numbers.extent(1); ++block) {
      const Real x = numbers(lane / lane_width, block, lane % lane_width);
      if (x > largest) largest = x;
    }
    lanes(lane) = largest;
  }
};

/// How many steps of a slot's window, from its first, have residuals within a tolerance, and the largest of these
/// residuals. A residual that is not a number is not within.
template <class Real>
struct PassedSteps {
  long steps = 0;
  Real largest = 0;

  PassedSteps() = default;
  KOKKOS_INLINE_FUNCTION PassedSteps(long passed, Real worst_of_them) : steps(passed), largest(worst_of_them) {}
  /// @param residual (group, step, D, lane)   @param worst the largest |r| of each block
  /// @param states  that the tolerance is relative to (the largest coordinate before and after the step); empty: absolute
  KOKKOS_INLINE_FUNCTION PassedSteps(const scan::LaneMap& map, const scan::Panel<Real>& residual,
                                     const LaneNumbers<Real>& worst, long slot, Real tolerance,
                                     const scan::Panel<Real>& states = {}) {
    const int dim = static_cast<int>(states.extent(2));
    const Real of_blocks = dim == 0 ? tolerance : Real(0);
    for (long chunk = 0; chunk < map.chunks; ++chunk) {
      const long lane = chunk * map.batch + slot, group = lane / lane_width, held = map.steps_of(lane);
      const int w = static_cast<int>(lane % lane_width);
      for (long begin = 0; begin < held; begin += systems::block_steps) {
        const Real of_block = worst(group, begin / systems::block_steps, w);
        const long end = begin + systems::block_steps < held ? begin + systems::block_steps : held;
        if (of_block <= of_blocks) {
          steps += end - begin;
          largest = larger(largest, of_block);
          continue;
        }
        for (long k = begin; k < end; ++k) {
          Real here(0), unit(dim == 0 ? 1 : 0);
          for (int i = 0; i < static_cast<int>(residual.extent(2)); ++i)
            here = larger(here, magnitude(residual(group, k, i, w)));
          for (int i = 0; i < dim; ++i)
            unit = larger(unit, larger(magnitude(states(group, k, i, w)), magnitude(states(group, k + 1, i, w))));
          if (!(here <= tolerance * unit)) return;
          ++steps;
          largest = larger(largest, here);
        }
      }
    }
  }
};

/// What has passed of each slot's window by two tolerances: the solver's, and far within it.
template <class Real>
struct FindPassed {
  Frame frame;
  scan::Active active;
  scan::Panel<Real> residual;
  LaneNumbers<Real> worst;  ///< of the residual
  Real tolerances[2];
  Vector<PassedSteps<Real>> passed;  ///< out (2 · slots)

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const long slot = index / 2;
    if (active.sequence(slot))
      passed(index) = PassedSteps<Real>(frame.map, residual, worst, slot, tolerances[index % 2]);
  }
};

/// How far sequences of a frame that holds all of their steps are settled: their residuals are exactly zero, or what the
/// trust region takes for zero, so that leaving these steps out changes no bit of any iterate.
template <class Real>
struct FindExactFront {
  Frame frame;
  scan::Active active;
  scan::Panel<Real> residual, states;
  LaneNumbers<Real> worst;  ///< of the residual
  Real zero;                ///< residuals up to this multiple of the states count as zero
  Vector<long> front;       ///< out: settled steps
  Vector<Real> settled;     ///< in and out: a bound on the residuals among them

  KOKKOS_INLINE_FUNCTION void operator()(long slot) const {
    if (!active.sequence(slot)) return;
    const PassedSteps<Real> passed(frame.map, residual, worst, slot, zero, states);
    front(slot) = passed.steps;
    settled(slot) = larger(settled(slot), passed.largest);
  }
};

/// Nothing is settled in the slots that `moving` names, nor are residuals known of steps that they do not hold.
template <class Real>
struct Unsettle {
  scan::LaneMap map;
  scan::Active moving;
  Vector<long> front;
  Vector<Real> settled;
  LaneNumbers<Real> worst;

  KOKKOS_INLINE_FUNCTION void operator()(long slot) const {
    if (!moving.sequence(slot)) return;
    front(slot) = 0;
    settled(slot) = Real(0);
    for (long lane = slot; lane < map.lanes(); lane += map.batch)
      for (std::size_t block = 0; block < worst.extent(1); ++block)
        worst(lane / lane_width, block, lane % lane_width) = Real(0);
  }
};

/// Settled states move no more: with r = 0 and A = 0 before the front the recurrence δ_t = A_t δ_{t−1} − r_t starts there.
template <class Real>
struct Settle {
  Frame frame;
  scan::Active active;  ///< with the fronts of before
  Vector<long> front;
  scan::Panel<Real> residual, jacobian;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const BlockItem item(index, frame.map);
    if (active.settled_steps(frame.map, item.group) >= item.end) return;  // done before
    for (int w = 0; w < lane_width; ++w) {
      const long lane = item.group * lane_width + w;
      if (lane >= frame.map.lanes()) return;
      if (!active.sequence(frame.map.sequence_of(lane))) continue;
      const long settled = front(frame.map.sequence_of(lane)) - frame.map.chunk_of(lane) * frame.map.steps;
      for (long k = item.begin; k < item.end && k < settled; ++k) {
        for (int i = 0; i < static_cast<int>(residual.extent(2)); ++i) residual(item.group, k, i, w) = Real(0);
        for (int i = 0; i < static_cast<int>(jacobian.extent(2)); ++i) jacobian(item.group, k, i, w) = Real(0);
      }
    }
  }
};

/// Σ |s − oracle| over a block and the measured coordinates, one number a lane.
template <class Real>
struct Compare {
  Frame frame;
  StatePanels<Real> states;
  Rows<Real> oracle;
  int first, count;
  LaneNumbers<double> sum;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const BlockItem item(index, frame.map);
    for (int w = 0; w < lane_width; ++w) {
      const long lane = item.group * lane_width + w, steps = frame.map.steps_of(lane);
      double total = 0;
      if (steps > 0) {
        const long t0 = frame.time_of(lane), b = frame.sequence_of(lane);
        for (long k = item.begin; k < item.end && k < steps; ++k)
          for (int i = first; i < first + count; ++i)
            total += magnitude(static_cast<double>(states.present(item.group)(item.group, k + 1, i, w)) -
                               static_cast<double>(oracle(t0 + k, b, i)));
      }
      sum(item.group, item.block, w) = total;
    }
  }
};

/// Makes the answer the iterate where no window ever was, item t B + b.
template <class Real>
struct FillWithGuess {
  Iterate<Real> iterate;
  long batch;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const long t = index / batch, b = index % batch;
    if (t < iterate.touched(b)) return;
    for (int i = 0; i < static_cast<int>(iterate.answer.extent(2)); ++i)
      iterate.answer(t, b, i) = iterate.guess.at(t + 1, b, i);
  }
};

/// Σ |s_t − oracle_t| over the measured coordinates of one sequence, of the iterate outside of panels.
template <class Real>
struct CompareOutside {
  Iterate<Real> iterate;
  Rows<Real> oracle;
  long sequence;
  int first, count;

  KOKKOS_INLINE_FUNCTION void operator()(long t, double& sum) const {  // t = 0 is s_1
    for (int i = first; i < first + count; ++i)
      sum +=
          magnitude(static_cast<double>(iterate.at(t + 1, sequence, i)) - static_cast<double>(oracle(t, sequence, i)));
  }
};

}  // namespace elkhorn::solvers
