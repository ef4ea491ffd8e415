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
  bool streams = false;     ///< the next states are too many for caches to keep them

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
    const long rows_end = at.end < full ? at.end : full;
    // Rows of a panel lie one after the other: those that all lanes hold are a stretch of packs.
    const Stretch rows{&states.present(at.group)(at.group, at.begin + 1, 0, first),
                       &increment(at.buffer, at.begin - at.shift(), 0, first),
                       &states.next(at.group)(at.group, at.begin + 1, 0, first),
                       rows_end > at.begin ? (rows_end - at.begin) * static_cast<long>(increment.extent(2)) : 0,
                       all_move,
                       streams};
    const bool beside = states.side.extent(0) != 0;
    const auto fits = [&](const Largest<P>& seen) { return guard == deck::Guard::none || all_within(seen.next); };
    // Where the next states have a panel of their own they are written at once, and made again if the guard objects.
    bool fine = guard == deck::Guard::none || beside || fits(sweep<false>(rows, moves));
    Largest<P> seen;
    if (fine) {
      seen = sweep<true>(rows, moves);
      fine = fits(seen);
    }
    const P largest = fine ? magnitude(seen.moved) : P(Real(0));
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

  /// Packs of states, increments and next states, lane_width numbers apart.
  struct Stretch {
    const Real* s;
    const Real* by;
    Real* next;
    long count;
    bool all_move;  ///< no lane's increments are to be ignored
    bool streams;   ///< next is past what caches keep
  };
  /// The largest |δ| and |s + δ|; see larger_magnitude.
  template <class Q>
  struct Largest {
    Q moved = Q(Real(0)), next = Q(Real(0));
  };

  /// Looks at s + δ of a stretch, and writes it.
  template <bool write>
  KOKKOS_INLINE_FUNCTION Largest<P> sweep(const Stretch& of, P moves) const {
    Largest<P> all;
    long done = 0;
    if constexpr (lane_packs_pair<Real>) {
      Largest<LanePackPair<Real>> pairs;
      done = of.count / 2 * 2;
      sweep<write>(of, 0, done, join(moves, moves), pairs);
      all = {larger_magnitude(half<0>(pairs.moved), half<1>(pairs.moved)),
             larger_magnitude(half<0>(pairs.next), half<1>(pairs.next))};
    }
    sweep<write>(of, done, of.count, moves, all);
    return all;
  }

  template <bool write, class Q>
  ELKHORN_OWN_REGISTERS static void sweep(const Stretch& of, long begin, long end, Q moves, Largest<Q>& all) {
    constexpr int packs = width_of<Q> / width_of<P>;
    Largest<Q> seen = all;  // in registers
    for (long at = begin * lane_width; at < end * lane_width; at += packs * lane_width) {
      Q by = load<Q>(of.by + at);
      if (!of.all_move) by = select_less(Q(Real(0)), moves, by, Q(Real(0)));
      const Q next = load<Q>(of.s + at) + by;
      seen = {larger_magnitude(seen.moved, by), larger_magnitude(seen.next, next)};
      if constexpr (!write) continue;
      if (of.streams)
        store_past_caches<Q>(of.next + at, next);
      else
        store<Q>(of.next + at, next);
    }
    all = seen;
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
