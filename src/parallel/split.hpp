/// How batch and time are cut over ranks (or chunks, or threads): contiguous, balanced, empty parts allowed.
#pragma once

#include <vector>

#include "core/error.hpp"

namespace elkhorn::parallel {

/// The items begin ≤ i < end.
struct Range {
  long begin = 0;
  long end = 0;

  long size() const { return end - begin; }
  bool empty() const { return begin == end; }
};

inline bool operator==(const Range& a, const Range& b) { return a.begin == b.begin && a.end == b.end; }
inline bool operator!=(const Range& a, const Range& b) { return !(a == b); }

/// Part `index` of `n` items cut into `parts` contiguous ranges, in order. Sizes differ by at most one, the
/// longer ones come first, and with more parts than items the last ones are empty.
/// Throws std::invalid_argument unless n ≥ 0, parts ≥ 1 and 0 ≤ index < parts.
Range split(long n, long parts, long index);

/// The same with parts in proportion to their weights, to the nearest whole items: equal weights give the parts above.
/// Throws std::invalid_argument unless all weights are positive.
Range split(long n, const std::vector<long>& weights, long index);

/// The part of `split(n, parts, ·)` that holds `item`. Throws std::invalid_argument unless 0 ≤ item < n.
long part_of(long n, long parts, long item);

/// Ranks as a grid of batch_ranks × time_ranks. Time runs fastest, so that the ranks that share a sequence,
/// and talk to each other in every scan, are neighbours and usually on one node.
struct RankGrid {
  int batch_ranks = 1;
  int time_ranks = 1;
  int batch_index = 0;  ///< rank / time_ranks: which part of the batch this rank has
  int time_index = 0;   ///< rank % time_ranks: which part of the time axis this rank has
};

/// The grid of `size` ranks, seen from `rank`. Throws InputError, naming `where` (the origin of
/// `parallel.time_ranks`), where time_ranks is not a positive divisor of `size`.
RankGrid rank_grid(int size, int rank, long time_ranks, const Origin& where = {"", "parallel.time_ranks", 0});

}  // namespace elkhorn::parallel
