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
    rows(item.group, item.begin, item.end);
  }
  KOKKOS_INLINE_FUNCTION void rows(long group, long begin, long end) const {
    for (long k = begin; k < end; ++k)
      for (int i = 0; i < static_cast<int>(jacobian.extent(2)); ++i)
        for (int w = 0; w < lane_width; ++w) {
          Real a = jacobian(group, k, i, w);
          if (clip) a = a > Real(1) ? Real(1) : a < Real(-1) ? Real(-1) : a;
          jacobian(group, k, i, w) = scale * a;
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
  StatePanels<Real> states;
  scan::Panel<Real> increment;
  LaneNumbers<Real> worst;  ///< out: max |Δs| of the block
  LaneNumbers<int> resets;  ///< out: states replaced

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const int first = static_cast<int>(index % items_per_group);
    const BlockItem item(index / items_per_group, frame.map);
    if (!active.group(frame.map, item.group)) return;
    if (active.settled_steps(frame.map, item.group) >= item.end)
      forget(item.group, item.block, first);
    else
      steps({item.group, item.begin, item.end, item.group, item.begin}, first);
  }

  /// The steps of a block, whose increments are in its buffer. The lanes from `first` on of an item.
  KOKKOS_INLINE_FUNCTION void steps(const scan::StepBlock& at, int first) const {
    constexpr int width = width_of<P>;
    const scan::LaneMap& map = frame.map;
    const long block = at.begin / systems::block_steps;
    if (at.begin % systems::block_steps == 0) forget(at.group, block, first);
    long full = map.steps;  // steps of all lanes but padding
    bool boundary = false;
    Real on[width];  // 1 where a lane's sequence is active
    for (int w = 0; w < width; ++w) {
      const long lane = at.group * lane_width + first + w, steps = map.steps_of(lane);
      on[w] = lane < map.lanes() && active.sequence(map.sequence_of(lane)) ? Real(1) : Real(0);
      if (lane < map.lanes() && steps < full) full = steps;
      boundary = boundary || map.chunk_of(lane) + 1 < map.chunks;
    }
    const P moves = load<P>(on);
    bool all_move = true;
    for (int w = 0; w < width; ++w) all_move = all_move && on[w] != Real(0);
    const int dim = static_cast<int>(increment.extent(2));
    const long rows_end = at.end < full ? at.end : full;
    P largest(Real(0));
    P beyond(Real(0));  // the largest |s + δ|, not a number where one is not
    // use(to, i, s_i + δ_i, δ_i) for the rows that all lanes hold.
    const auto each = [&](const auto& use) {
      for (long k = at.begin; k < rows_end; ++k) {
        const auto s = scan::strip<P>(states.present(at.group), at.group, k + 1, first);
        const auto to = scan::strip<P>(states.next(at.group), at.group, k + 1, first);
        const auto d = scan::strip<P>(increment, at.buffer, k - at.shift(), first);
        for (int i = 0; i < dim; ++i) {
          const P by = all_move ? d[i] : select_less(P(Real(0)), moves, d[i], P(Real(0)));
          use(to, i, s[i] + by, by);
        }
      }
    };
    P broken(Real(0));  // 0 or not a number
    const auto look = [&](P next) {
      beyond = larger(beyond, absolute(next));
      broken = multiply_add(next, P(Real(0)), broken);
    };
    // Where the next states have a panel of their own they are written first and made again if the guard objects.
    const bool guarded = guard != deck::Guard::none, beside = states.side.extent(0) != 0;
    if (guarded && !beside) each([&](const auto&, int, P next, P) { look(next); });
    bool fine = !guarded || beside || all_within(beyond + broken);
    if (fine && guarded && beside) {
      each([&](const auto& to, int i, P next, P by) {
        look(next);
        largest = larger(largest, absolute(by));
        to.set(i, next);
      });
      fine = all_within(beyond + broken);
    } else if (fine) {
      each([&](const auto& to, int i, P next, P by) {
        largest = larger(largest, magnitude(by));
        to.set(i, next);
      });
    }
    if (!fine) largest = P(Real(0));
    for (long k = fine && rows_end > at.begin ? rows_end : at.begin; k < at.end; ++k)
      for (int w = 0; w < width; ++w) lane_step(at, k, first + w);
    if (boundary && at.end == map.steps)
      for (int w = 0; w < width; ++w) pass_on(at.group, first + w);
    Real kept[width];
    store<P>(kept, largest);
    for (int w = 0; w < width; ++w) {
      Real& most = worst(at.group, block, first + w);
      if (kept[w] > most) most = kept[w];
    }
  }

  KOKKOS_INLINE_FUNCTION void forget(long group, long block, int first) const {
    for (int w = 0; w < width_of<P>; ++w) {
      worst(group, block, first + w) = Real(0);
      resets(group, block, first + w) = 0;
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
  KOKKOS_INLINE_FUNCTION void lane_step(const scan::StepBlock& at, long k, int w) const {
    const long lane = at.group * lane_width + w, block = at.begin / systems::block_steps;
    const scan::Panel<Real>& from = states.present(at.group);
    const scan::Panel<Real>& to = states.next(at.group);
    const bool held = k < frame.map.steps_of(lane);
    const bool moves = held && active.sequence(frame.map.sequence_of(lane));
    const long t = held ? frame.time_of(lane) + k + 1 : 0, b = held ? frame.sequence_of(lane) : 0;
    Real& kept = worst(at.group, block, w);
    for (int i = 0; i < static_cast<int>(increment.extent(2)); ++i) {
      const Real before = from(at.group, k + 1, i, w);
      Real& s = to(at.group, k + 1, i, w);
      if (!moves) {
        s = held ? before : Real(0);
        continue;
      }
      const Real delta = increment(at.buffer, k - at.shift(), i, w);
      Real next = before + delta, moved = magnitude(delta);  // as packs have it: fl(s + δ) − s is not δ
      if (guard != deck::Guard::none && !(magnitude(next) <= bound)) {
        ++resets(at.group, block, w);
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
    const long next = lane + map.batch, to = next / lane_width;
    for (int i = 0; i < static_cast<int>(increment.extent(2)); ++i)
      states.next(to)(to, 0, i, next % lane_width) = states.next(group)(group, map.steps, i, w);
  }
};

}  // namespace elkhorn::solvers
