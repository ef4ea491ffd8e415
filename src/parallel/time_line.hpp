/// A row of ranks that share sequences, each with a segment of consecutive time steps (docs/parallel.md).
#pragma once

#include <vector>

#include "parallel/comm.hpp"
#include "parallel/split.hpp"

namespace elkhorn::parallel {

/// This rank's place in its row. States travel along the row, from each rank to the one that holds the next steps; verdicts
/// are reductions over all of it. Segments differ by one step at most; where there are fewer steps than ranks the last
/// ranks hold none and take part in the reductions only.
///
/// The time line of a rank that holds all steps has no row: it communicates nothing.
class TimeLine {
 public:
  /// All steps are here.
  explicit TimeLine(long length = 0) : length_(length), steps_{0, length} {}
  /// @param row  the ranks that share sequences, in time order; it must outlive the time line
  TimeLine(const Comm& row, long length)
      : row_(row.size() > 1 ? &row : nullptr), length_(length), steps_(split(length, row.size(), row.rank())) {}

  bool whole() const { return row_ == nullptr; }
  long length() const { return length_; }  ///< T, of all ranks together
  Range steps() const { return steps_; }   ///< of this rank
  long longest() const {
    return row_ ? split(length_, row_->size(), 0).size() : length_;
  }  ///< steps of a rank, at most
  bool is_first() const { return !row_ || row_->rank() == 0; }
  /// Whether another rank holds the step before this rank's first one, or the one after its last.
  bool has_previous() const { return row_ && row_->rank() > 0 && !steps_.empty(); }
  bool has_next() const { return row_ && !steps_.empty() && steps_.end < length_; }

  /// Sends `data` to the next rank and receives as much from the previous one, where there are such ranks.
  void shift(const void* data, void* incoming, std::size_t bytes) const {
    if (bytes > 0) exchange(data, incoming, bytes, has_next(), has_previous());
  }
  void send_next(const void* data, std::size_t bytes) const {
    if (bytes > 0) exchange(data, nullptr, bytes, has_next(), false);
  }
  void receive_previous(void* incoming, std::size_t bytes) const {
    if (bytes > 0) exchange(nullptr, incoming, bytes, false, has_previous());
  }

  /// Element by element over the row, to all its ranks; the same number of values on each.
  std::vector<double> max(const std::vector<double>& values) const {
    return row_ && !values.empty() ? row_->max(values) : values;
  }
  std::vector<double> sum(const std::vector<double>& values) const {
    return row_ && !values.empty() ? row_->sum(values) : values;
  }

  /// Of this rank, so far.
  Traffic traffic() const { return row_ ? row_->traffic() : Traffic{}; }

 private:
  void exchange(const void* data, void* incoming, std::size_t bytes, bool send, bool receive) const {
    if (send || receive)
      row_->exchange_bytes(data, bytes, send ? row_->rank() + 1 : -1, incoming, bytes, receive ? row_->rank() - 1 : -1);
  }

  const Comm* row_ = nullptr;
  long length_ = 0;
  Range steps_;
};

}  // namespace elkhorn::parallel
