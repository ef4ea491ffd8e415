#include "parallel/split.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "core/counted.hpp"

namespace elkhorn::parallel {

Range split(long n, long parts, long index) {
  if (n < 0 || parts < 1 || index < 0 || index >= parts)
    throw std::invalid_argument("split: no part " + std::to_string(index) + " of " + std::to_string(n) + " items in " +
                                std::to_string(parts) + " parts");
  const long base = n / parts;
  const long longer = n % parts;  // the first `longer` parts have one item more
  const long begin = index * base + std::min(index, longer);
  return {begin, begin + base + (index < longer ? 1 : 0)};
}

Range split(long n, const std::vector<long>& weights, long index) {
  const long parts = static_cast<long>(weights.size());
  if (n < 0 || index < 0 || index >= parts || *std::min_element(weights.begin(), weights.end()) < 1)
    throw std::invalid_argument("split: no part " + std::to_string(index) + " of " + std::to_string(n) +
                                " items in parts with " + std::to_string(parts) + " positive weights");
  const long all = std::accumulate(weights.begin(), weights.end(), 0L);
  // Whole items first, then one more each to those that miss the most, to the first of equals.
  std::vector<long> sizes, order(weights.size());
  for (const long weight : weights) sizes.push_back(n / all * weight + n % all * weight / all);
  std::iota(order.begin(), order.end(), 0L);
  const auto missed = [&](long part) { return n % all * weights[static_cast<std::size_t>(part)] % all; };
  std::stable_sort(order.begin(), order.end(), [&](long a, long b) { return missed(a) > missed(b); });
  const long left = n - std::accumulate(sizes.begin(), sizes.end(), 0L);
  for (long i = 0; i < left; ++i) ++sizes[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])];
  const long begin = std::accumulate(sizes.begin(), sizes.begin() + index, 0L);
  return {begin, begin + sizes[static_cast<std::size_t>(index)]};
}

long part_of(long n, long parts, long item) {
  if (parts < 1 || item < 0 || item >= n)
    throw std::invalid_argument("part_of: no item " + std::to_string(item) + " among " + std::to_string(n) +
                                " items in " + std::to_string(parts) + " parts");
  const long base = n / parts;
  const long longer = n % parts;
  const long in_longer = longer * (base + 1);
  return item < in_longer ? item / (base + 1) : longer + (item - in_longer) / base;
}

RankGrid rank_grid(int size, int rank, long time_ranks, const Origin& where) {
  if (time_ranks < 1 || size % time_ranks != 0)
    throw InputError(where, "time_ranks = " + std::to_string(time_ranks) + " must be a positive divisor of the " +
                                counted(size, "MPI rank") + " (batch_ranks × time_ranks = number of ranks)");
  RankGrid grid;
  grid.time_ranks = static_cast<int>(time_ranks);
  grid.batch_ranks = size / grid.time_ranks;
  grid.batch_index = rank / grid.time_ranks;
  grid.time_index = rank % grid.time_ranks;
  return grid;
}

}  // namespace elkhorn::parallel
