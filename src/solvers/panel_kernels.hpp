/// What an iteration does to panels besides evaluating and scanning: filling, updating, guarding, comparing.
#pragma once

#include "deck/case.hpp"
#include "systems/system.hpp"

namespace elkhorn::solvers {

template <class Real>
using LaneNumbers = Kokkos::View<Real***, Kokkos::LayoutRight, Memory>;  ///< (group, block, lane)

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

/// A block of steps of a group as work item `index` of groups × blocks.
struct BlockItem {
  long group, block, begin, end;
  KOKKOS_INLINE_FUNCTION BlockItem(long index, const scan::LaneMap& map)
      : group(index / count(map)), block(index % count(map)), begin(block * systems::block_steps),
        end(begin + systems::block_steps < map.steps ? begin + systems::block_steps : map.steps) {}
  KOKKOS_INLINE_FUNCTION static long count(const scan::LaneMap& map) {
    return (map.steps + systems::block_steps - 1) / systems::block_steps;
  }
};

/// Drivers (T, B, n) into lanes; padding gets zeros.
template <class Real>
struct PackDrivers {
  scan::LaneMap map;
  Rows<Real> drivers;
  scan::Panel<Real> inputs;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const BlockItem item(index, map);
    for (int w = 0; w < lane_width; ++w) {
      const long lane = item.group * lane_width + w;
      const long steps = map.steps_of(lane), t0 = map.chunk_of(lane) * map.steps, b = map.sequence_of(lane);
      for (long k = item.begin; k < item.end; ++k)
        for (int i = 0; i < static_cast<int>(inputs.extent(2)); ++i)
          inputs(item.group, k, i, w) = k < steps ? drivers(t0 + k, b, i) : Real(0);
    }
  }
};

/// The guess into lanes, with each chunk's state before its first step.
template <class Real>
struct PackGuess {
  scan::LaneMap map;
  Guess<Real> guess;
  scan::Panel<Real> states;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const BlockItem item(index, map);
    for (int w = 0; w < lane_width; ++w) {
      const long lane = item.group * lane_width + w;
      const long steps = map.steps_of(lane), t0 = map.chunk_of(lane) * map.steps, b = map.sequence_of(lane);
      for (long row = item.begin == 0 ? 0 : item.begin + 1; row <= item.end; ++row)
        for (int i = 0; i < static_cast<int>(states.extent(2)); ++i)
          states(item.group, row, i, w) = row <= steps && steps > 0 ? guess.at(t0 + row, b, i) : Real(0);
    }
  }
};

/// States out of lanes into (T, B, D).
template <class Real>
struct Unpack {
  scan::LaneMap map;
  scan::Panel<Real> states;
  Rows<Real> rows;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const BlockItem item(index, map);
    for (int w = 0; w < lane_width; ++w) {
      const long lane = item.group * lane_width + w;
      const long steps = map.steps_of(lane), t0 = map.chunk_of(lane) * map.steps, b = map.sequence_of(lane);
      for (long k = item.begin; k < item.end && k < steps; ++k)
        for (int i = 0; i < static_cast<int>(states.extent(2)); ++i)
          rows(t0 + k, b, i) = states(item.group, k + 1, i, w);
    }
  }
};

/// A ← scale · A, its entries clipped to [−1, 1] before where asked: the scaled and clipped variants of every solver.
template <class Real>
struct ShapeJacobian {
  scan::LaneMap map;
  scan::Panel<Real> jacobian;
  Real scale;
  bool clip;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const BlockItem item(index, map);
    for (long k = item.begin; k < item.end; ++k)
      for (int i = 0; i < static_cast<int>(jacobian.extent(2)); ++i)
        for (int w = 0; w < lane_width; ++w) {
          Real a = jacobian(item.group, k, i, w);
          if (clip) a = a > Real(1) ? Real(1) : a < Real(-1) ? Real(-1) : a;
          jacobian(item.group, k, i, w) = scale * a;
        }
  }
};

/// s ← s + δ for active sequences, with the guard; the last state of a chunk also becomes the next chunk's first.
template <class Real>
struct Update {
  using P = LanePack<Real>;

  scan::LaneMap map;
  scan::Active active;
  Guess<Real> guess;
  deck::Guard guard;
  Real bound;  ///< states beyond it in magnitude have overflowed
  scan::Panel<Real> states;
  scan::Panel<Real> increment;
  LaneNumbers<Real> worst;   ///< out: max |Δs| of the block
  LaneNumbers<int> resets;   ///< out: states replaced

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const int first = static_cast<int>(index % items_per_group);
    const BlockItem item(index / items_per_group, map);
    if (!active.group(map, item.group)) return;
    constexpr int width = width_of<P>;
    long full = map.steps;  // steps that all lanes of this item take part in
    bool boundary = false;
    for (int w = 0; w < width; ++w) {
      const long lane = item.group * lane_width + first + w;
      const long steps = map.steps_of(lane) > 0 && active.sequence(map.sequence_of(lane)) ? map.steps_of(lane) : 0;
      full = steps < full ? steps : full;
      boundary = boundary || map.chunk_of(lane) + 1 < map.chunks;
      worst(item.group, item.block, first + w) = Real(0);
      resets(item.group, item.block, first + w) = 0;
    }
    const int dim = static_cast<int>(states.extent(2));
    P largest(Real(0));
    for (long k = item.begin; k < item.end; ++k) {
      const auto s = scan::strip<P>(states, item.group, k + 1, first);
      const auto d = scan::strip<P>(increment, item.group, k, first);
      P beyond(Real(0));
      if (k < full)
        for (int i = 0; i < dim; ++i) beyond = larger(beyond, magnitude(s[i] + d[i]));
      if (k < full && (guard == deck::Guard::none || all_within(beyond))) {
        for (int i = 0; i < dim; ++i) {
          const P delta = d[i];
          largest = larger(largest, magnitude(delta));
          s.set(i, s[i] + delta);
        }
      } else {
        for (int w = 0; w < width; ++w) lane_step(item, k, first + w);
      }
      if (boundary && k + 1 == map.steps)
        for (int w = 0; w < width; ++w) pass_on(item.group, first + w);
    }
    Real each[width];
    store<P>(each, largest);
    for (int w = 0; w < width; ++w) {
      Real& kept = worst(item.group, item.block, first + w);
      if (each[w] > kept) kept = each[w];
    }
  }

  KOKKOS_INLINE_FUNCTION bool all_within(P value) const {
    Real each[width_of<P>];
    store<P>(each, value);
    for (int w = 0; w < width_of<P>; ++w)
      if (!(each[w] <= bound)) return false;
    return true;
  }

  /// One step of one lane, with all checks.
  KOKKOS_INLINE_FUNCTION void lane_step(const BlockItem& item, long k, int w) const {
    const long lane = item.group * lane_width + w, b = map.sequence_of(lane);
    if (k >= map.steps_of(lane)) {
      for (int i = 0; i < static_cast<int>(states.extent(2)); ++i) states(item.group, k + 1, i, w) = Real(0);
      return;
    }
    if (!active.sequence(b)) return;
    const long t = map.chunk_of(lane) * map.steps + k + 1;
    Real& kept = worst(item.group, item.block, w);
    for (int i = 0; i < static_cast<int>(states.extent(2)); ++i) {
      Real& s = states(item.group, k + 1, i, w);
      const Real before = s, delta = increment(item.group, k, i, w);
      Real next = before + delta, moved = magnitude(delta);  // as packs have it: fl(s + δ) − s is not δ
      if (guard != deck::Guard::none && !(magnitude(next) <= bound)) {
        ++resets(item.group, item.block, w);
        if (guard == deck::Guard::guess)
          next = guess.at(t, b, i);
        else  // as published: not a number to zero, the rest clipped
          next = next > bound ? bound : next < -bound ? -bound : Real(0);
        moved = magnitude(next - before);
      }
      s = next;
      if (moved > kept) kept = moved;
    }
  }

  KOKKOS_INLINE_FUNCTION void pass_on(long group, int w) const {
    const long lane = group * lane_width + w;
    if (map.chunk_of(lane) + 1 >= map.chunks || !active.sequence(map.sequence_of(lane))) return;
    const long next = lane + map.batch;
    for (int i = 0; i < static_cast<int>(states.extent(2)); ++i)
      states(next / lane_width, 0, i, next % lane_width) = states(group, map.steps, i, w);
  }
};

/// Σ |s − oracle| over a block and the measured coordinates, and max |s − oracle| over all, one number a lane.
template <class Real>
struct Compare {
  scan::LaneMap map;
  scan::Panel<Real> states;
  Rows<Real> oracle;
  int first, count;
  LaneNumbers<double> sum;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const BlockItem item(index, map);
    for (int w = 0; w < lane_width; ++w) {
      const long lane = item.group * lane_width + w;
      const long steps = map.steps_of(lane), t0 = map.chunk_of(lane) * map.steps, b = map.sequence_of(lane);
      double total = 0;
      for (long k = item.begin; k < item.end && k < steps; ++k)
        for (int i = first; i < first + count; ++i)
          total += absolute(static_cast<double>(states(item.group, k + 1, i, w)) -
                            static_cast<double>(oracle(t0 + k, b, i)));
      sum(item.group, item.block, w) = total;
    }
  }
};

}  // namespace elkhorn::solvers
