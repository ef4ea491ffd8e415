/// Scans that take their steps block by block while they are in a processor's cache (hosts).
///
/// A full-length scan of arrays streams residuals, Jacobians and increments of all steps through memory several times an
/// iteration. Here a work item goes through the steps of one group of lanes in blocks that fit in its cache: a stream
/// fills a block with r_t and A_t, the element advances through it, and the stream takes the increments away. Nothing as
/// long as the sequence is stored, so dense solvers need no T·D² memory.
///
/// With several chunks a pass has two such sweeps, both of which fill all blocks: one that summarises the chunks, one that
/// makes the increments (phases 1 and 3 of engines.hpp). With one chunk the second is all there is.
#pragma once

#include "scan/engines.hpp"

namespace elkhorn::scan {

/// What fills blocks and takes them. Called concurrently by threads that work on different groups.
class BlockStream {
 public:
  virtual ~BlockStream() = default;
  /// Steps of a group that are settled in all of its lanes and so left out: r = 0, and A = 0 as Active has it.
  virtual long settled(long group) const = 0;
  /// Writes r_t and A_t of a block to its buffer.
  virtual void fill(const StepBlock& block) const = 0;
  /// Looks at the residuals of a block whose maps nobody needs.
  virtual void look(const StepBlock& block) const = 0;
  /// δ_t of the block lies where r_t was.
  virtual void take(const StepBlock& block) const = 0;
};

namespace detail {

using Groups = Kokkos::RangePolicy<HostExec, Kokkos::Schedule<Kokkos::Dynamic>>;

/// Calls use(block) for the blocks of a group's steps that are not settled; they do not straddle those of the evaluation.
template <class Use>
void for_each_block(const LaneMap& map, const BlockStream& stream, long group, long block_length, long buffer,
                    const Use& use) {
  for (long begin = stream.settled(group); begin < map.steps;) {
    const long edge = (begin / block_length + 1) * block_length;
    const StepBlock block{group, begin, edge < map.steps ? edge : map.steps, buffer};
    use(block);
    begin = block.end;
  }
}

}  // namespace detail

/// Calls use(group, buffer) for all groups with sequences that iterate; threads take them as they come.
template <class Use>
void for_each_group(const char* name, const LaneMap& map, const Active& active, const Use& use) {
  const Kokkos::Experimental::UniqueToken<HostExec> token;
  Kokkos::parallel_for(name, detail::Groups(0, map.groups), [&](long group) {
    if (!active.group(map, group)) return;
    const auto buffer = token.acquire();
    use(group, static_cast<long>(buffer));
    token.release(buffer);
  });
}

/// One chunk whose stream makes the increments itself: it fills a block with δ_t, then takes it, block by block.
void sweep(const LaneMap& map, const Active& active, const BlockStream& stream, long block_length);

template <class Element>
class BlockwiseScan {
 public:
  using Real = typename Element::Real;

  /// @param element  over buffers: panels (work item, block_length, …)   @param block_length  steps of a block
  BlockwiseScan(const LaneMap& map, const Element& element, long block_length);

  /// Whether a pass needs `summarise` before `finish`.
  bool summarises() const { return map_.chunks > 1; }
  void summarise(const Active& active, const BlockStream& stream) const;
  void finish(const Active& active, const BlockStream& stream) const;
  /// δ_t of a block whose r_t and A_t are in its buffer, with nothing before it; on the calling thread.
  void through(const StepBlock& block) const;

 private:
  LaneMap map_;
  Element element_;
  long block_length_;
  Matrix<Real> workspace_;  ///< (work item, slots · (state + summary) + scratch)
  Matrix<Real> states_;     ///< (group·slots, state): before each chunk
  Matrix<Real> summaries_;  ///< (group·slots, summary)
};

/// Rows of the buffers that blockwise scans work in: one a thread.
inline long buffers() { return Kokkos::Experimental::UniqueToken<HostExec>().size(); }

extern template class BlockwiseScan<AffineDiagonal<float>>;
extern template class BlockwiseScan<AffineDiagonal<double>>;
extern template class BlockwiseScan<AffineDense<float>>;
extern template class BlockwiseScan<AffineDense<double>>;
extern template class BlockwiseScan<KalmanDiagonal<float>>;
extern template class BlockwiseScan<KalmanDiagonal<double>>;
extern template class BlockwiseScan<KalmanDense<float>>;
extern template class BlockwiseScan<KalmanDense<double>>;

}  // namespace elkhorn::scan
