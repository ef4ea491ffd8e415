/// Windows along a time line: ranks keep segments of whole sequences and work on shares of windows.
///
/// A rank keeps the drivers, the answer and the oracle of its segment of time, always. A window is cut into as many shares as
/// there are ranks, in time order, so that all of them work on it wherever it is; when it moves, what the ranks have made of
/// its steps goes to those that keep them, and what they are to work on next comes from there. A step's driver travels about
/// once for each time that its window moves past it, so windows move seldom and by much.
#pragma once

#include <vector>

#include "parallel/time_line.hpp"
#include "solvers/frame.hpp"
#include "solvers/windows.hpp"

namespace elkhorn::solvers {

/// States of a slot, and what goes with them, on their way from a row and column to another.
struct SharePiece {
  long from, from_column, to,
      to_column;  ///< rows are states: 0 is the one before the first that is kept or worked on
  long rows, offset;
};

template <class Real>
class Shares {
 public:
  /// @param keeps  whole sequences, of which this rank keeps its segment
  explicit Shares(const parallel::TimeLine& keeps) : keeps_(keeps), works_(keeps) {}

  /// What is kept, and fetched from there; rows of this rank's segment (t, B, numbers). Empty ones are not fetched.
  struct Kept {
    Iterate<Real> iterate;
    Rows<Real> drivers, oracle;
  };

  /// Room for shares of windows that `works` cuts, of so many slots.
  void lay_out(const parallel::TimeLine& works, long slots, const Kept& kept);

  /// The part of a window that is worked on here: steps from its first.
  parallel::Range share(const Windows::Slot& slot) const { return share(slot, works_.rank()); }

  /// Collective: brings the shares of the slots that `moving` names.
  void fetch(const std::vector<Windows::Slot>& slots, const std::vector<char>& moving, const Kept& kept);
  /// Collective: brings the states in `states()` of the slots that `leaving` names to the answer of those who keep them.
  void deliver(const std::vector<Windows::Slot>& slots, const std::vector<char>& leaving, const Rows<Real>& answer);

  // Row k, slot j: of the step k of this rank's share of the window in slot j.
  const Rows<Real>& drivers() const { return drivers_; }
  const Rows<Real>& oracle() const { return oracle_; }
  const Rows<Real>& guess() const { return guess_; }  ///< where a guess is given
  const Rows<Real>& states() const { return states_; }
  /// The states as an iterate of that frame, each slot's state before its share included.
  Iterate<Real> iterate() const;

 private:
  using Pieces = Kokkos::View<SharePiece*, Memory>;
  struct Parcels {
    std::vector<SharePiece> pieces;
    std::vector<std::size_t> bytes;  ///< by rank
    long longest = 1, numbers = 0;
  };

  parallel::Range share(const Windows::Slot& slot, int rank) const;
  Parcels parcels(const std::vector<Windows::Slot>& slots, const std::vector<char>& which, bool fetching,
                  bool kept_here, long numbers) const;
  static Pieces on_device(const Parcels& parcels);
  template <class From, class To>
  void exchange(const Parcels& sent, const From& from, const Parcels& received, const To& to);

  parallel::TimeLine keeps_, works_;
  Rows<Real> drivers_, oracle_, guess_, states_;
  Matrix<Real> before_;  ///< (slot, D)
  Vector<Real> sent_, received_;
};

extern template class Shares<float>;
extern template class Shares<double>;

}  // namespace elkhorn::solvers
