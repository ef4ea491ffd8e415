/// Lanes: how (time, sequence) pairs are laid out for the solvers.
///
/// Time is cut into `chunks` equal chunks of `steps` steps; a lane is one chunk of one sequence, and all lanes advance
/// through their steps together. `lane_width` lanes form a group whose numbers are interleaved, so that one vector
/// register holds the same component of the same step of all lanes of the group:
///
///     panel(group, step, component, lane in group),   t = chunk · steps + step,   lane = chunk · batch + sequence
///
/// The same layout serves every level of parallelism: groups over threads, lanes in vector registers (hosts) or
/// neighbouring threads (GPUs). With few sequences the lanes are filled with chunks of time, with many one chunk does.
#pragma once

#include <algorithm>

#include "core/kokkos.hpp"

namespace elkhorn::scan {

/// (group, step, component, lane). State panels have one more step: step 0 is the state before the chunk.
template <class Real>
using Panel = Kokkos::View<Real****, Kokkos::LayoutRight, Memory>;

struct LaneMap {
  long length = 0;       ///< T
  long batch = 0;        ///< B on this rank
  long chunks = 1;       ///< chunks of time
  long steps = 0;        ///< ceil(T / chunks); only trailing chunks hold fewer
  long groups = 0;       ///< ceil(chunks · batch / lane_width)
  Vector<long> lengths;  ///< steps that each sequence holds, at most `length`; empty: all of them hold `length`

  LaneMap() = default;
  LaneMap(long length_, long batch_, long chunks_)
      : length(length_), batch(batch_), chunks(std::max(1L, std::min(chunks_, std::max(1L, length_)))) {
    steps = (length + chunks - 1) / chunks;
    groups = (chunks * batch + lane_width - 1) / lane_width;
  }

  KOKKOS_INLINE_FUNCTION long lanes() const { return chunks * batch; }
  KOKKOS_INLINE_FUNCTION long chunk_of(long lane) const { return batch > 0 ? lane / batch : 0; }
  KOKKOS_INLINE_FUNCTION long sequence_of(long lane) const { return batch > 0 ? lane % batch : 0; }
  /// Steps that lane holds: `steps`, fewer in trailing chunks, 0 in padding.
  KOKKOS_INLINE_FUNCTION long steps_of(long lane) const {
    if (lane >= lanes()) return 0;
    const long held = lengths.extent(0) == 0 ? length : lengths(sequence_of(lane));
    const long rest = held - chunk_of(lane) * steps;
    return rest <= 0 ? 0 : (rest < steps ? rest : steps);
  }
};

/// Which steps of which sequences the panels hold: slots, each with consecutive steps of one sequence.
struct Frame {
  LaneMap map;            ///< its batch counts slots
  Vector<int> sequences;  ///< the sequence in each slot; empty: slot j holds sequence j
  Vector<long> begins;    ///< steps of it that lie before the window; empty: 0

  KOKKOS_INLINE_FUNCTION long sequence_of(long lane) const {
    const long slot = map.sequence_of(lane);
    return sequences.extent(0) == 0 ? slot : sequences(slot);
  }
  /// t of the state before the lane's first step.
  KOKKOS_INLINE_FUNCTION long time_of(long lane) const {
    const long begin = begins.extent(0) == 0 ? 0 : begins(map.sequence_of(lane));
    return begin + map.chunk_of(lane) * map.steps;
  }
};

/// Which sequences of this rank still iterate, and which of their steps: an empty view means all.
struct Active {
  Vector<int> sequences;
  /// Steps of each sequence, from its first, that no longer change: r_t = 0 and A_t = 0 there. Kernels may leave them out;
  /// a scan that starts with the last of them finds the same numbers as one that starts with the first.
  Vector<long> settled;

  KOKKOS_INLINE_FUNCTION bool sequence(long b) const { return sequences.extent(0) == 0 || sequences(b) != 0; }
  KOKKOS_INLINE_FUNCTION bool group(const LaneMap& map, long g) const {
    if (sequences.extent(0) == 0) return true;
    for (long lane = g * lane_width; lane < (g + 1) * lane_width && lane < map.lanes(); ++lane)
      if (sequences(map.sequence_of(lane)) != 0) return true;
    return false;
  }
  /// Steps, from the first, that are settled in all lanes of a group that iterate.
  KOKKOS_INLINE_FUNCTION long settled_steps(const LaneMap& map, long g) const {
    if (settled.extent(0) == 0) return 0;
    long fewest = map.steps;
    for (long lane = g * lane_width; lane < (g + 1) * lane_width && lane < map.lanes(); ++lane) {
      const long b = map.sequence_of(lane), here = settled(b) - map.chunk_of(lane) * map.steps;
      if (sequence(b) && here < fewest && here < map.steps_of(lane)) fewest = here > 0 ? here : 0;
    }
    return fewest;
  }
};

/// Consecutive steps of a group, and where a work item keeps what it makes of them while it is in cache: in the rows
/// (buffer, step − begin + skipped) of panels that hold a block of steps for every work item.
struct StepBlock {
  long group, begin, end, buffer;
  long skipped = 0;
  KOKKOS_INLINE_FUNCTION long steps() const { return end - begin; }
  /// The step whose numbers are in row 0.
  KOKKOS_INLINE_FUNCTION long shift() const { return begin - skipped; }
};

/// A strip of numbers: component i of P (all lanes of a group, or one of them) is at p[i · Stride].
template <class P, int Stride>
struct Strip {
  using Number = P;
  static constexpr int stride = Stride / width_of<P>;  ///< in units of P
  real_of<P>* p;

  KOKKOS_INLINE_FUNCTION P operator[](long i) const { return load<P>(p + i * Stride); }
  KOKKOS_INLINE_FUNCTION void set(long i, P value) const { store<P>(p + i * Stride, value); }
  KOKKOS_INLINE_FUNCTION Strip from(long i) const { return {p + i * Stride}; }
};

/// Strips within panels, and within dense work memory.
template <class P>
using PanelStrip = Strip<P, lane_width>;
template <class P>
using WorkStrip = Strip<P, width_of<P>>;

/// Components of step k of a group, or of lane `lane` of it where P is a single number.
template <class P, class PanelType>
KOKKOS_INLINE_FUNCTION PanelStrip<P> strip(const PanelType& panel, long group, long k, int lane = 0) {
  return {const_cast<real_of<P>*>(&panel(group, k, 0, lane))};
}

/// Strips of consecutive steps, counted from some step on: where loops take them, kernels should not find each anew.
template <class P>
struct PanelRows {
  real_of<P>* first = nullptr;
  long stride = 0;
  KOKKOS_INLINE_FUNCTION PanelStrip<P> operator[](long k) const { return {first + k * stride}; }
};
/// Steps k, k + 1, … as rows 0, 1, …; none of an empty panel.
template <class P, class PanelType>
KOKKOS_INLINE_FUNCTION PanelRows<P> rows_from(const PanelType& panel, long group, long k, int lane = 0) {
  if (panel.extent(0) == 0 || panel.extent(2) == 0) return {};
  return {strip<P>(panel, group, k, lane).p, static_cast<long>(panel.extent(2)) * lane_width};
}

/// The largest magnitudes, lane by lane, of `count` numbers that lie one after the other in a panel from p on; see
/// larger_magnitude. Components of a step do, and so do steps of a group.
template <class P>
KOKKOS_INLINE_FUNCTION P largest_magnitudes(const real_of<P>* p, long count) {
  using Real = real_of<P>;
  P largest(Real(0));
  long done = 0;
  if constexpr (is_pack<P> && lane_packs_pair<Real>) {
    LanePackPair<Real> pair(Real(0));
    for (; done + 1 < count; done += 2) pair = larger_magnitude(pair, load<LanePackPair<Real>>(p + done * lane_width));
    largest = larger_magnitude(half<0>(pair), half<1>(pair));
  }
  for (; done < count; ++done) largest = larger_magnitude(largest, load<P>(p + done * lane_width));
  return largest;
}

}  // namespace elkhorn::scan
