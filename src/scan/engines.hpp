/// The engines that run an element over time. A scan has three phases: summarise a chunk, scan the summaries, finish
/// the chunk from its incoming state; `serial` is the third alone, `flat` leaves all three to Kokkos::parallel_scan.
///
/// Where ranks share sequences, time segments are chunks of chunks: between the first phase and the third the state after
/// the segment of one rank goes to the rank that holds the next one (docs/parallel.md). With `serial` the ranks of a time
/// line work one after the other; `flat` runs on one rank only.
#pragma once

#include <string>

#include "parallel/time_line.hpp"
#include "scan/elements.hpp"
#include "scan/panel.hpp"

namespace elkhorn::scan {

enum class Engine { serial, flat, chunked };

/// An engine and the number of chunks in time that the lanes are laid out for.
struct Choice {
  Engine engine = Engine::serial;
  long chunks = 1;

  /// "serial", "flat", "chunked:16": what results files record.
  std::string text() const {
    return engine == Engine::serial ? "serial" : engine == Engine::flat ? "flat" : "chunked:" + std::to_string(chunks);
  }
};

/// What engines are chosen by: sizes that all ranks know, never measurements, so that a job gives the same numbers again.
struct Job {
  long length = 0;     ///< T, or the longest segment of a rank where ranks share sequences
  long batch = 0;      ///< sequences of the rank that has most, or of all of them
  int threads = 1;     ///< of the rank that has fewest
  bool dense = false;  ///< whether chunk summaries cost matrix products
  bool shared =
      false;  ///< whether ranks share sequences: an engine that goes through time in order would let all but one wait
  // Where only time matters in the choice between engines for dense elements, what the model of their times asks:
  long dim = 0;  ///< D; 0: chunks fill lanes, whatever they cost
  bool damped = false;
  int real_bytes = 4;     ///< of a number
  bool factored = false;  ///< whether fused passes through one chunk need no Jacobians (System::factors)
};

/// Resolves a deck's `scan` for a job.
///
/// @param name   auto | serial | flat | chunked | chunked:N
/// @param fused  whether evaluation and scan go through the steps together (blockwise.hpp): then only chunked ones can
Choice choose(const std::string& name, Job job, bool fused = false);

/// What an iteration with dense elements takes by the model that `choose` minimises, of a job with a dim. Nanoseconds of
/// the machine it was fitted on: good for comparisons alone.
double modelled_ns(const Job& job, const Choice& choice, bool fused);

/// Runs elements of one type over panels laid out by `map`. Work memory is allocated once, here.
template <class Element>
class Scan {
 public:
  using Real = typename Element::Real;

  /// `sample` gives the sizes (its panels may be empty).
  /// `map` is of this rank's segment of `line`, which all ranks of the line are to give the same sequences.
  Scan(Engine engine, const LaneMap& map, const Element& sample, const parallel::TimeLine& line = parallel::TimeLine());

  /// Replaces r_t by δ_t in `element.increment` for all sequences that are active. Collective over the time line.
  void run(const Element& element, const Active& active) const;

 private:
  void serial(const Element& element, const Active& active) const;
  void flat(const Element& element, const Active& active) const;
  void chunked(const Element& element, const Active& active) const;
  /// A single chunk is summarised only where that lets the next rank start before this one has finished.
  bool summarises() const {
    return engine_ == Engine::chunked && (map_.chunks > 1 || (line_.has_previous() && line_.has_next()));
  }

  Engine engine_;
  LaneMap map_;
  parallel::TimeLine line_;
  Matrix<Real> workspace_;            ///< (concurrent work items, state + summary + scratch)
  Matrix<Real> states_;               ///< chunked: (group·slots, state) the state before each chunk
  Matrix<Real> summaries_;            ///< chunked: (group·slots, summary)
  Matrix<Real> incoming_, outgoing_;  ///< (sequence, slots·state): from the previous rank, to the next
};

extern template class Scan<AffineDiagonal<float>>;
extern template class Scan<AffineDiagonal<double>>;
extern template class Scan<AffineDense<float>>;
extern template class Scan<AffineDense<double>>;
extern template class Scan<KalmanDiagonal<float>>;
extern template class Scan<KalmanDiagonal<double>>;
extern template class Scan<KalmanDense<float>>;
extern template class Scan<KalmanDense<double>>;

}  // namespace elkhorn::scan
