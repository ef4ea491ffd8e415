/// Definitions of BlockwiseScan<Element>; included only by the files that instantiate it.
#pragma once

#include "scan/blockwise.hpp"
#include "scan/engines_impl.hpp"

namespace elkhorn::scan {

namespace detail {

/// The steps of one group, block by block, on the calling thread.
template <class Element>
struct GroupSweep {
  using Real = typename Element::Real;
  using P = LanePack<Real>;

  const Element& element;
  const LaneMap& map;
  const BlockStream& stream;
  const Matrix<Real>& workspace;
  long group, block_length;
  int buffer;

  int slots() const { return element.slots(); }
  WorkStrip<P> state(int slot) const { return work_strip<P>(workspace, buffer, long(slot) * element.state_size()); }
  WorkStrip<P> summary(int slot) const { return state(slots()).from(long(slot) * element.summary_size()); }
  WorkStrip<P> scratch() const { return summary(slots()); }

  /// take(site, steps, slot) for the settled step that the recurrence starts with, if there is one, and then for all that are
  /// not settled, as many as a block holds at a time; done(block) after each block.
  template <class Take, class Done>
  void run(const Take& take, const Done& done) const {
    const auto through = [&](long steps) {
      for (int slot = 0; slot < slots(); ++slot) take(Site{buffer, 0, 0}, steps, slot);
    };
    const long settled = stream.settled(group);
    if (settled > 0 && settled < map.steps) {
      const auto clear_row = [&](const Panel<Real>& panel) {
        if (panel.extent(0) > 0) clear(strip<P>(panel, buffer, 0), static_cast<int>(panel.extent(2)));
      };
      clear_row(element.increment);
      clear_row(element.jacobian);
      through(1);
    }
    for_each_block([&](const StepBlock& block) {
      stream.fill(block);
      through(block.steps());
      done(block);
    });
  }

  template <class Use>
  void for_each_block(const Use& use) const {
    detail::for_each_block(map, stream, group, block_length, buffer, use);
  }
};

}  // namespace detail

template <class Element>
BlockwiseScan<Element>::BlockwiseScan(const LaneMap& map, const Element& element, long block_length)
    : map_(map), element_(element), block_length_(block_length) {
  const long each = sizeof(Real), slots = element.slots();
  const long reals = slots * (element.state_size() + element.summary_size()) + element.scratch_size();
  workspace_ =
      make_view<Matrix<Real>>("blockwise workspace", buffers(), detail::padded(reals * width_of<LanePack<Real>>, each));
  if (!summarises()) return;
  states_ = make_view<Matrix<Real>>("chunk states", map.groups * slots,
                                    detail::padded(long(element.state_size()) * lane_width, each));
  summaries_ = make_view<Matrix<Real>>("chunk summaries", map.groups * slots,
                                       detail::padded(long(element.summary_size()) * lane_width, each));
}

template <class Element>
void BlockwiseScan<Element>::summarise(const Active& active, const BlockStream& stream) const {
  if constexpr (exec_is_host) {
    for_each_group("summarise blocks", map_, active, [&](long group, long buffer) {
      const int id = static_cast<int>(buffer);
      const detail::GroupSweep<Element> sweep{element_, map_, stream, workspace_, group, block_length_, id};
      if (detail::wholly_last(map_, group)) {
        sweep.for_each_block([&](const StepBlock& block) { stream.look(block); });
      } else {
        // The state after chunk 0 comes from advancing, wherever its lanes are: see Summarise.
        const bool first = group * lane_width < map_.batch, whole = detail::wholly_first(map_, group);
        for (int slot = 0; slot < sweep.slots(); ++slot) {
          detail::clear(sweep.state(slot), element_.state_size());
          element_.identity(sweep.summary(slot), slot);
        }
        sweep.run(
            [&](Site at, long steps, int slot) {
              if (first) detail::advance_steps(element_, sweep.state(slot), at, steps, slot, sweep.scratch(), false);
              for (; !whole && steps > 0; --steps, ++at.step)
                element_.append(sweep.summary(slot), at, slot, sweep.scratch());
            },
            [](const StepBlock&) {});
        using P = LanePack<Real>;
        for (int slot = 0; slot < sweep.slots(); ++slot) {
          const long row = group * sweep.slots() + slot;
          detail::copy(PanelStrip<P>{&states_(row, 0)}, sweep.state(slot), element_.state_size());
          detail::copy(PanelStrip<P>{&summaries_(row, 0)}, sweep.summary(slot), element_.summary_size());
        }
      }
    });
  }
}

template <class Element>
void BlockwiseScan<Element>::finish(const Active& active, const BlockStream& stream) const {
  if constexpr (exec_is_host) {
    if (summarises()) {
      const detail::LaneItems<Element> base{element_, map_, active, workspace_, states_, summaries_, {}, {}, {}};
      for_items("scan summaries", map_.batch * element_.slots(), map_.chunks * element_.summary_size(),
                detail::ScanSummaries<Element>{base});
    }
    for_each_group("finish blocks", map_, active, [&](long group, long buffer) {
      using P = LanePack<Real>;
      const int id = static_cast<int>(buffer);
      const detail::GroupSweep<Element> sweep{element_, map_, stream, workspace_, group, block_length_, id};
      for (int slot = 0; slot < sweep.slots(); ++slot) {
        if (summarises())
          detail::copy(sweep.state(slot), PanelStrip<P>{&states_(group * sweep.slots() + slot, 0)},
                       element_.state_size());
        else
          detail::clear(sweep.state(slot), element_.state_size());
      }
      sweep.run(
          [&](Site at, long steps, int slot) {
            detail::advance_steps(element_, sweep.state(slot), at, steps, slot, sweep.scratch(), true);
          },
          [&](const StepBlock& block) { stream.take(block); });
    });
  }
}

template <class Element>
void BlockwiseScan<Element>::through(const StepBlock& block) const {
  if constexpr (exec_is_host) {
    using P = LanePack<Real>;
    const long slots = element_.slots(), state_size = element_.state_size();
    const auto scratch = detail::work_strip<P>(workspace_, static_cast<int>(block.buffer),
                                               slots * (state_size + element_.summary_size()));
    for (int slot = 0; slot < slots; ++slot) {
      const auto state = detail::work_strip<P>(workspace_, static_cast<int>(block.buffer), slot * state_size);
      detail::clear(state, static_cast<int>(state_size));
      detail::advance_steps(element_, state, Site{block.buffer, block.skipped, 0}, block.steps(), slot, scratch, true);
    }
  }
}

}  // namespace elkhorn::scan
