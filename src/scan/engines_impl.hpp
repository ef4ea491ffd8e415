/// Definitions of Scan<Element>; included only by the files that instantiate it.
#pragma once

#include <stdexcept>

#include "parallel/transfer.hpp"
#include "scan/engines.hpp"

namespace elkhorn::scan {

namespace detail {

using Token = Kokkos::Experimental::UniqueToken<Exec>;

/// Rows of reals, each starting on a cache line.
inline long padded(long reals, long bytes_each) {
  const long line = 64 / bytes_each;
  return (reals + line - 1) / line * line;
}

/// A strip of a work item's own memory.
template <class P>
KOKKOS_INLINE_FUNCTION WorkStrip<P> work_strip(const Matrix<real_of<P>>& workspace, int id, long offset) {
  return {&workspace(id, offset * width_of<P>)};
}

template <class S>
KOKKOS_INLINE_FUNCTION void clear(const S& s, int n) {
  for (int i = 0; i < n; ++i) s.set(i, typename S::Number(real_of<typename S::Number>(0)));
}
/// One lane of a strip of packs.
template <class P, int Stride>
KOKKOS_INLINE_FUNCTION Strip<real_of<P>, Stride> one_lane(const Strip<P, Stride>& s, int lane) {
  return {s.p + lane};
}
template <class A, class B>
KOKKOS_INLINE_FUNCTION void copy(const A& to, const B& from, int n) {
  for (int i = 0; i < n; ++i) to.set(i, from[i]);
}

template <class Element, class = void>
inline constexpr bool advances_steps = false;
template <class Element>
inline constexpr bool advances_steps<Element, std::void_t<typename Element::AdvancesSteps>> =
    std::is_same_v<typename Element::AdvancesSteps, Element>;
/// An element's state through consecutive steps of a slot, from `at` on.
template <class Element, class X, class W>
KOKKOS_INLINE_FUNCTION void advance_steps(const Element& e, const X& x, Site at, long steps, int slot, const W& work,
                                          bool emit) {
  if constexpr (advances_steps<Element>)
    e.advance_steps(x, at, steps, slot, work, emit);
  else
    for (; steps > 0; --steps, ++at.step) e.advance(x, at, slot, work, emit);
}

/// Groups that lie wholly in the first chunk of all need no summary: phase 1 finishes them.
KOKKOS_INLINE_FUNCTION bool wholly_first(const LaneMap& map, long group) {
  return (group + 1) * lane_width <= map.batch;
}
/// Groups that lie wholly in the last chunk (or padding): nothing needs their summary.
KOKKOS_INLINE_FUNCTION bool wholly_last(const LaneMap& map, long group) {
  return map.chunk_of(group * lane_width) >= map.chunks - 1;
}

/// One item a group and slot (hosts), or a lane and slot (GPUs).
template <class Element>
struct LaneItems {
  using Real = typename Element::Real;
  using P = LanePack<Real>;

  Element element;
  LaneMap map;
  Active active;
  Matrix<Real> workspace, states, summaries;
  Matrix<Real> incoming, outgoing;  ///< (sequence, slot·state); empty where no rank holds earlier, later steps
  Token token;

  KOKKOS_INLINE_FUNCTION bool is_first() const { return incoming.extent(0) == 0; }
  KOKKOS_INLINE_FUNCTION bool is_last() const { return outgoing.extent(0) == 0; }
  /// The state of one sequence between two ranks.
  KOKKOS_INLINE_FUNCTION Strip<Real, 1> between(const Matrix<Real>& where, long sequence, int slot) const {
    return {&where(sequence, slot * element.state_size())};
  }

  long items() const { return map.groups * element.slots() * items_per_group; }

  struct Item {
    long group;
    int slot, lane;
  };
  KOKKOS_INLINE_FUNCTION Item item(long index) const {
    const long group_slot = index / items_per_group;
    return {group_slot / element.slots(), static_cast<int>(group_slot % element.slots()),
            static_cast<int>(index % items_per_group)};
  }
  /// The last settled step of a group starts the recurrence as the first one would (see Active).
  KOKKOS_INLINE_FUNCTION long first_step(const Item& it) const {
    const long settled = active.settled_steps(map, it.group);
    return settled > 0 ? settled - 1 : 0;
  }
  template <class Q>
  KOKKOS_INLINE_FUNCTION PanelStrip<Q> stored(const Matrix<Real>& where, long group, int slot, int lane) const {
    return {&where(group * element.slots() + slot, lane)};
  }
};

/// Phase 3, or the whole of a serial scan of a single chunk: from the incoming state to the increments.
template <class Element, bool whole>
struct Finish : LaneItems<Element> {
  using Base = LaneItems<Element>;
  using P = typename Base::P;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const auto it = this->item(index);
    const Element& e = this->element;
    if (!this->active.group(this->map, it.group)) return;
    if (!whole && this->is_first() && wholly_first(this->map, it.group)) return;
    const int id = this->token.acquire();
    const auto x = work_strip<P>(this->workspace, id, 0);
    const auto scratch = work_strip<P>(this->workspace, id, e.state_size() + e.summary_size());
    if (whole) {
      clear(x, e.state_size());
      if (!this->is_first())
        each_sequence(it, [&](long sequence, int w) {
          copy(one_lane(x, w), this->between(this->incoming, sequence, it.slot), e.state_size());
        });
    } else {
      copy(x, this->template stored<P>(this->states, it.group, it.slot, it.lane), e.state_size());
    }
    const long first = this->first_step(it);
    advance_steps(e, x, Site{it.group, first, it.lane}, this->map.steps - first, it.slot, scratch, true);
    if (whole && !this->is_last())
      each_sequence(it, [&](long sequence, int w) {
        copy(this->between(this->outgoing, sequence, it.slot), one_lane(x, w), e.state_size());
      });
    this->token.release(id);
  }

  /// f(sequence, lane in the pack) for the lanes of an item, of a single chunk.
  template <class F>
  KOKKOS_INLINE_FUNCTION void each_sequence(const typename Base::Item& it, const F& f) const {
    for (int w = 0; w < width_of<P>; ++w) {
      const long lane = it.group * lane_width + it.lane + w;
      if (lane < this->map.lanes()) f(lane, w);
    }
  }
};

/// Phase 1: the summary of every chunk that another one follows, on this rank or the next. The first chunk of all starts
/// from a known state: it is finished at once where it fills groups.
template <class Element>
struct Summarise : LaneItems<Element> {
  using Base = LaneItems<Element>;
  using P = typename Base::P;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const auto it = this->item(index);
    const Element& e = this->element;
    if (!this->active.group(this->map, it.group) || (this->is_last() && wholly_last(this->map, it.group))) return;
    const int id = this->token.acquire();
    const auto x = work_strip<P>(this->workspace, id, 0);
    const auto sum = x.from(e.state_size());
    const auto scratch = sum.from(e.summary_size());
    // The state after chunk 0 always comes from advancing, also where its lanes share a group with other chunks: then
    // the answer does not depend on how many sequences this rank has.
    const bool whole = this->is_first() && wholly_first(this->map, it.group);
    if (this->is_first() && it.group * lane_width < this->map.batch) {
      clear(x, e.state_size());
      const long first = this->first_step(it);
      advance_steps(e, x, Site{it.group, first, it.lane}, this->map.steps - first, it.slot, scratch, whole);
      copy(this->template stored<P>(this->states, it.group, it.slot, it.lane), x, e.state_size());
    }
    if (!whole) {
      const auto out = this->template stored<P>(this->summaries, it.group, it.slot, it.lane);
      // Where this rank's last chunk is a shorter one and its summary counts, its lanes are taken out half-way.
      const long cut = this->is_last() ? 0 : this->map.length % this->map.steps;
      e.identity(sum, it.slot);
      const long first = this->first_step(it);
      for (long k = cut > 0 && cut < first ? cut : first; k < this->map.steps; ++k) {
        if (cut > 0 && k == cut) copy(out, sum, e.summary_size());
        e.append(sum, Site{it.group, k, it.lane}, it.slot, scratch);
      }
      if (cut == 0) copy(out, sum, e.summary_size());
      for (int w = 0; cut > 0 && w < width_of<P>; ++w)
        if (this->map.steps_of(it.group * lane_width + it.lane + w) == this->map.steps)
          copy(one_lane(out, w), one_lane(sum, w), e.summary_size());
    }
    this->token.release(id);
  }
};

/// Phase 2: along the chunks of one sequence, the state before each, and the one after them for the next rank.
///
/// Summaries are applied to the state one by one rather than composed first: that costs a matrix-vector product a chunk
/// instead of a matrix product, and never forms the product of all Jacobians of a segment, which may overflow where
/// states are moderate.
template <class Element>
struct ScanSummaries : LaneItems<Element> {
  using Real = typename Element::Real;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const Element& e = this->element;
    const long sequence = index / e.slots();
    const int slot = static_cast<int>(index % e.slots());
    if (!this->active.sequence(sequence)) return;
    const int id = this->token.acquire();
    const auto x = work_strip<Real>(this->workspace, id, 0);
    const auto scratch = x.from(e.state_size() + e.summary_size());
    if (this->is_first())
      clear(x, e.state_size());
    else
      copy(x, this->between(this->incoming, sequence, slot), e.state_size());
    for (long c = 0; c < this->map.chunks; ++c) {
      const long lane = c * this->map.batch + sequence;
      const long group = lane / lane_width;
      const int within = static_cast<int>(lane % lane_width);
      const auto state = this->template stored<Real>(this->states, group, slot, within);
      if (c == 0 && this->is_first()) {  // phase 1 left there the state after chunk 0; before it the state is 0
        copy(x, state, e.state_size());
        clear(state, e.state_size());
        continue;
      }
      copy(state, x, e.state_size());
      if ((c + 1 < this->map.chunks || !this->is_last()) && this->map.steps_of(lane) > 0)
        e.apply(this->template stored<Real>(this->summaries, group, slot, within), x, Site{group, 0, within}, slot,
                scratch);
    }
    if (!this->is_last()) copy(this->between(this->outgoing, sequence, slot), x, e.state_size());
    this->token.release(id);
  }
};

/// In time order through all chunks of one sequence and slot, one lane at a time.
template <class Element>
struct Walk : LaneItems<Element> {
  using Real = typename Element::Real;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const Element& e = this->element;
    const long sequence = index / e.slots();
    const int slot = static_cast<int>(index % e.slots());
    if (!this->active.sequence(sequence)) return;
    const int id = this->token.acquire();
    const auto x = work_strip<Real>(this->workspace, id, 0);
    const auto scratch = x.from(e.state_size() + e.summary_size());
    if (this->is_first())
      clear(x, e.state_size());
    else
      copy(x, this->between(this->incoming, sequence, slot), e.state_size());
    for (long c = 0; c < this->map.chunks; ++c) {
      const long lane = c * this->map.batch + sequence;
      for (long k = 0; k < this->map.steps_of(lane); ++k)
        e.advance(x, Site{lane / lane_width, k, static_cast<int>(lane % lane_width)}, slot, scratch, true);
    }
    if (!this->is_last()) copy(this->between(this->outgoing, sequence, slot), x, e.state_size());
    this->token.release(id);
  }
};

/// Kokkos::parallel_scan over time for one sequence (P = Real) or one group of sequences (P = Pack).
///
/// The value is [kind | body | scratch]: kind 0 is the identity, 1 a summary, 2 a state, which a summary becomes as soon
/// as it includes the first step; from there on a step costs `advance` instead of `append`.
template <class Element, class P>
struct FlatScan {
  using Real = typename Element::Real;
  using value_type = Real[];
  using size_type = long;

  Element element;
  LaneMap map;
  long first_lane;  ///< of the sequence or group, in chunk 0
  int slot;
  unsigned value_count;

  FlatScan(const Element& e, const LaneMap& m, long lane, int s)
      : element(e), map(m), first_lane(lane), slot(s), value_count(count(e)) {}

  static unsigned count(const Element& e) {
    const int body = e.state_size() > e.summary_size() ? e.state_size() : e.summary_size();
    return static_cast<unsigned>((1 + body + e.scratch_size()) * width_of<P>);
  }
  KOKKOS_INLINE_FUNCTION WorkStrip<P> body(Real* v) const { return {v + width_of<P>}; }
  KOKKOS_INLINE_FUNCTION int body_size() const {
    return element.state_size() > element.summary_size() ? element.state_size() : element.summary_size();
  }
  KOKKOS_INLINE_FUNCTION WorkStrip<P> scratch(Real* v) const { return body(v).from(body_size()); }

  KOKKOS_INLINE_FUNCTION void init(Real* v) const {
    for (unsigned i = 0; i < value_count; ++i) v[i] = Real(0);
  }

  KOKKOS_INLINE_FUNCTION void join(ELKHORN_JOIN_QUALIFIER Real* to, const ELKHORN_JOIN_QUALIFIER Real* from) const {
    Real* const first = const_cast<Real*>(to);
    Real* const second = const_cast<Real*>(from);
    if (second[0] == Real(0)) return;
    if (first[0] == Real(0) || second[0] == Real(2)) {
      for (unsigned i = 0; i < value_count; ++i) first[i] = second[i];
    } else if (first[0] == Real(1)) {
      element.compose(body(first), body(second), slot, scratch(first));
    } else {
      const Site sequence{first_lane / lane_width, 0, static_cast<int>(first_lane % lane_width)};
      element.apply(body(second), body(first), sequence, slot, scratch(first));
    }
  }

  KOKKOS_INLINE_FUNCTION void operator()(const long t, Real* v, const bool final) const {
    const long lane = t / map.steps * map.batch + first_lane;
    const Site at{lane / lane_width, t % map.steps, static_cast<int>(lane % lane_width)};
    if (t == 0) {
      clear(body(v), element.state_size());
      v[0] = Real(2);
    } else if (v[0] == Real(0)) {
      element.identity(body(v), slot);
      v[0] = Real(1);
    }
    if (v[0] == Real(2))
      element.advance(body(v), at, slot, scratch(v), final);
    else
      element.append(body(v), at, slot, scratch(v));
  }
};

}  // namespace detail

template <class Element>
Scan<Element>::Scan(Engine engine, const LaneMap& map, const Element& sample, const parallel::TimeLine& line)
    : engine_(engine), map_(map), line_(line) {
  using detail::padded;
  const long each = sizeof(Real);
  const long between = long(sample.slots()) * sample.state_size();
  if (engine == Engine::flat && !line.whole())
    throw std::invalid_argument("scan = \"flat\" runs on one rank in time only");
  if (engine != Engine::flat) {
    const long reals =
        long(sample.state_size() + sample.summary_size() + sample.scratch_size()) * width_of<LanePack<Real>>;
    workspace_ = make_view<Matrix<Real>>("scan workspace", detail::Token().size(), padded(reals, each));
  }
  if (summarises()) {
    const long rows = map.groups * sample.slots();
    states_ = make_view<Matrix<Real>>("scan states", rows, padded(long(sample.state_size()) * lane_width, each));
    summaries_ =
        make_view<Matrix<Real>>("scan summaries", rows, padded(long(sample.summary_size()) * lane_width, each));
  }
  // zeros: states of sequences that no longer iterate are sent as well
  if (line.has_previous()) incoming_ = Matrix<Real>("scan incoming", std::size_t(map.batch), std::size_t(between));
  if (line.has_next()) outgoing_ = Matrix<Real>("scan outgoing", std::size_t(map.batch), std::size_t(between));
}

template <class Element>
void Scan<Element>::run(const Element& element, const Active& active) const {
  if (map_.length == 0 || map_.batch == 0) return;
  switch (engine_) {
    case Engine::serial: return serial(element, active);
    case Engine::flat: return flat(element, active);
    case Engine::chunked: return summarises() ? chunked(element, active) : serial(element, active);
  }
}

template <class Element>
void Scan<Element>::serial(const Element& element, const Active& active) const {
  const detail::LaneItems<Element> base{element,    map_,      active,    workspace_, states_,
                                        summaries_, incoming_, outgoing_, {}};
  parallel::Arrival<Matrix<Real>>(line_, incoming_).wait();
  if (map_.chunks == 1) {
    Kokkos::parallel_for("scan serial", Kokkos::RangePolicy<Exec>(0, base.items()),
                         detail::Finish<Element, true>{base});
  } else {
    Kokkos::parallel_for("scan serial", Kokkos::RangePolicy<Exec>(0, map_.batch * element.slots()),
                         detail::Walk<Element>{base});
  }
  parallel::Departure<Matrix<Real>>(line_, outgoing_).wait();
}

template <class Element>
void Scan<Element>::flat(const Element& element, const Active& active) const {
  const auto flags = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), active.sequences);
  const auto still = [&](long b) { return flags.extent(0) == 0 || flags(b) != 0; };
  const auto scan = [&](auto number, long lane) {
    for (int slot = 0; slot < element.slots(); ++slot)
      Kokkos::parallel_scan("scan flat", Kokkos::RangePolicy<Exec>(0, map_.length),
                            detail::FlatScan<Element, decltype(number)>(element, map_, lane, slot));
  };
  if (exec_is_host && map_.chunks == 1) {
    for (long lane = 0; lane < map_.batch; lane += lane_width) {
      bool any = false;
      for (long b = lane; b < lane + lane_width && b < map_.batch; ++b) any = any || still(b);
      if (any) scan(LanePack<Real>(Real(0)), lane);
    }
  } else {
    for (long b = 0; b < map_.batch; ++b)
      if (still(b)) scan(Real(0), b);
  }
}

template <class Element>
void Scan<Element>::chunked(const Element& element, const Active& active) const {
  const detail::LaneItems<Element> base{element,    map_,      active,    workspace_, states_,
                                        summaries_, incoming_, outgoing_, {}};
  const Kokkos::RangePolicy<Exec> lanes(0, base.items());
  // The state before this rank travels while chunks are summarised. The one after it has left before they are finished: a
  // message too long for MPI to keep a copy of moves only while its sender is in MPI, and the next rank waits for it.
  parallel::Arrival<Matrix<Real>> arrival(line_, incoming_);
  Kokkos::parallel_for("scan summarise", lanes, detail::Summarise<Element>{base});
  arrival.wait();
  for_items("scan summaries", map_.batch * element.slots(), map_.chunks * element.summary_size(),
            detail::ScanSummaries<Element>{base});
  parallel::Departure<Matrix<Real>>(line_, outgoing_).wait();
  Kokkos::parallel_for("scan finish", lanes, detail::Finish<Element, false>{base});
}

}  // namespace elkhorn::scan
