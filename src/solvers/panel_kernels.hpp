/// What an iteration does to panels besides evaluating and scanning: shaping Jacobians, updating, guarding.
#pragma once

#include "deck/case.hpp"
#include "solvers/frame.hpp"

namespace elkhorn::solvers {

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

  Frame frame;
  scan::Active active;  ///< slots
  Guess<Real> guess;
  deck::Guard guard;
  Real bound;  ///< states beyond it in magnitude have overflowed
  scan::Panel<Real> states;
  scan::Panel<Real> increment;
  LaneNumbers<Real> worst;  ///< out: max |Δs| of the block
  LaneNumbers<int> resets;  ///< out: states replaced

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const int first = static_cast<int>(index % items_per_group);
    const scan::LaneMap& map = frame.map;
    const BlockItem item(index / items_per_group, map);
    if (!active.group(map, item.group)) return;
    constexpr int width = width_of<P>;
    if (active.settled_steps(map, item.group) >= item.end) {
      for (int w = 0; w < width; ++w) {
        worst(item.group, item.block, first + w) = Real(0);
        resets(item.group, item.block, first + w) = 0;
      }
      return;
    }
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
    const long lane = item.group * lane_width + w;
    if (k >= frame.map.steps_of(lane)) {
      for (int i = 0; i < static_cast<int>(states.extent(2)); ++i) states(item.group, k + 1, i, w) = Real(0);
      return;
    }
    if (!active.sequence(frame.map.sequence_of(lane))) return;
    const long t = frame.time_of(lane) + k + 1, b = frame.sequence_of(lane);
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
    const scan::LaneMap& map = frame.map;
    const long lane = group * lane_width + w;
    if (map.chunk_of(lane) + 1 >= map.chunks || !active.sequence(map.sequence_of(lane))) return;
    const long next = lane + map.batch;
    for (int i = 0; i < static_cast<int>(states.extent(2)); ++i)
      states(next / lane_width, 0, i, next % lane_width) = states(group, map.steps, i, w);
  }
};

}  // namespace elkhorn::solvers
