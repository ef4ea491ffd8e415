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

  /// The same ranks and steps with time running backward: the state after a rank's steps comes from its `previous` rank.
  TimeLine reversed() const {
    TimeLine line = *this;
    line.backward_ = !backward_;
    return line;
  }

  /// The same ranks with `length` steps.
  TimeLine resized(long length) const { return row_ ? TimeLine(*row_, length) : TimeLine(length); }

  bool whole() const { return row_ == nullptr; }
  int ranks() const { return row_ ? row_->size() : 1; }
  int rank() const { return row_ ? row_->rank() : 0; }
  long length() const { return length_; }  ///< T, of all ranks together
  Range steps() const { return steps_; }   ///< of this rank
  Range steps_of(int rank) const { return split(length_, ranks(), rank); }
  /// Steps of a rank, at most.
  long longest() const { return steps_of(0).size(); }
  bool is_first() const { return !row_ || row_->rank() == 0; }  ///< in time, which runs forward
  /// Whether another rank holds the step before this rank's first one, or the one after its last.
  bool has_previous() const { return backward_ ? later_rank() : earlier_rank(); }
  bool has_next() const { return backward_ ? earlier_rank() : later_rank(); }

  /// Starts to send to the next rank, to receive from the previous one, where there are such ranks.
  Pending start_sending(const void* data, std::size_t bytes) const {
    return has_next() && bytes > 0 ? row_->start_sending(data, bytes, row_->rank() + ahead()) : Pending();
  }
  Pending start_receiving(void* incoming, std::size_t bytes) const {
    return has_previous() && bytes > 0 ? row_->start_receiving(incoming, bytes, row_->rank() - ahead()) : Pending();
  }

  /// See Comm::exchange_all. Not on a time line without a row.
  void exchange_all(const void* data, const std::vector<std::size_t>& bytes, void* incoming,
                    const std::vector<std::size_t>& incoming_bytes) const {
    row_->exchange_all(data, bytes, incoming, incoming_bytes);
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
  /// See Comm::record and Comm::replay.
  void record() const {
    if (row_) row_->record();
  }
  double replay() const { return row_ ? row_->replay() : 0; }

 private:
  int ahead() const { return backward_ ? -1 : 1; }
  bool earlier_rank() const { return row_ && row_->rank() > 0 && !steps_.empty(); }
  bool later_rank() const { return row_ && !steps_.empty() && steps_.end < length_; }

  const Comm* row_ = nullptr;
  long length_ = 0;
  Range steps_;
  bool backward_ = false;
};

}  // namespace elkhorn::parallel
