#include "solvers/shares.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "parallel/transfer.hpp"

namespace elkhorn::solvers {

namespace {

template <class Real>
long numbers_of(const Rows<Real>& rows) {
  return static_cast<long>(rows.extent(2));
}

/// Numbers of a row of a parcel.
template <class Side>
long numbers_of_row(const Side& side) {
  long numbers = side.dim;
  for (const auto& rows : side.with) numbers += numbers_of(rows);
  return numbers;
}

/// Out of an iterate: of each state s_t its driver u_t, the oracle's state and the given guess go with it.
template <class Real>
struct Source {
  long dim;
  Iterate<Real> iterate;
  Rows<Real> with[3];

  KOKKOS_INLINE_FUNCTION void move(const SharePiece& piece, long row, Real* parcel) const {
    const long t = piece.from + row;
    for (int i = 0; i < dim; ++i) *parcel++ = iterate.at(t, piece.from_column, i);
    for (const Rows<Real>& rows : with)
      for (std::size_t i = 0; i < rows.extent(2); ++i) *parcel++ = rows(t - 1, piece.from_column, i);
  }
};

/// Into states and what goes with them. Of the state before them only the state is of use.
template <class Real>
struct Target {
  long dim;
  Matrix<Real> before;
  Rows<Real> states;
  Rows<Real> with[3];

  KOKKOS_INLINE_FUNCTION void move(const SharePiece& piece, long row, const Real* parcel) const {
    const long t = piece.to + row, column = piece.to_column;
    for (int i = 0; i < dim; ++i) (t == 0 ? before(column, i) : states(t - 1, column, i)) = *parcel++;
    if (t == 0) return;
    for (const Rows<Real>& rows : with)
      for (std::size_t i = 0; i < rows.extent(2); ++i) rows(t - 1, column, i) = *parcel++;
  }
};

/// Moves the rows of all pieces between parcels and one side of the way, item (piece, row).
template <class Real, class Side>
struct MoveRows {
  Kokkos::View<SharePiece*, Memory> pieces;
  long longest, numbers;
  Vector<Real> parcels;
  Side side;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const SharePiece& piece = pieces(index / longest);
    const long row = index % longest;
    if (row < piece.rows) side.move(piece, row, &parcels(piece.offset + row * numbers));
  }
};

}  // namespace

template <class Real>
void Shares<Real>::lay_out(const parallel::TimeLine& works, long slots, const Kept& kept) {
  works_ = works;
  const long steps = works.steps().size(), dim = static_cast<long>(kept.iterate.guess.initial.extent(1));
  if (long(states_.extent(0)) == steps && long(states_.extent(1)) == slots &&
      numbers_of(oracle_) == numbers_of(kept.oracle))
    return;
  states_ = make_view<Rows<Real>>("states of shares", steps, slots, dim);
  before_ = make_view<Matrix<Real>>("states before shares", slots, dim);
  drivers_ = make_view<Rows<Real>>("drivers of shares", steps, slots, numbers_of(kept.drivers));
  oracle_ = make_view<Rows<Real>>("oracle of shares", steps, slots, numbers_of(kept.oracle));
  guess_ = make_view<Rows<Real>>("guess of shares", steps, slots, numbers_of(kept.iterate.guess.given));
}

template <class Real>
Iterate<Real> Shares<Real>::iterate() const {
  Iterate<Real> iterate;
  iterate.guess.kind = Guess<Real>::Kind::given;
  iterate.guess.initial = before_;
  iterate.guess.given = states_;
  return iterate;
}

template <class Real>
parallel::Range Shares<Real>::share(const Windows::Slot& slot, int rank) const {
  const parallel::Range steps = works_.steps_of(rank);
  return {std::min(steps.begin, slot.length), std::min(steps.end, slot.length)};
}

/// What goes between this rank and each other one: by ranks, for each in the order of slots, which both sides know. Columns
/// are slots where steps are worked on, sequences where they are kept; rows count states from the one before either's first.
/// @param fetching  from those who keep to those who work, with the state before each share (but s_0, which every rank has)
/// @param kept_here  whether this rank is the one that keeps
template <class Real>
typename Shares<Real>::Parcels Shares<Real>::parcels(const std::vector<Windows::Slot>& slots,
                                                     const std::vector<char>& which, bool fetching, bool kept_here,
                                                     long numbers) const {
  Parcels out;
  for (int other = 0; other < keeps_.ranks(); ++other) {
    const long before = out.numbers;
    const parallel::Range kept = keeps_.steps_of(kept_here ? keeps_.rank() : other);
    for (std::size_t j = 0; j < slots.size(); ++j) {
      if (!which[j]) continue;
      const parallel::Range worked = share(slots[j], kept_here ? other : works_.rank());
      if (worked.empty()) continue;
      // states s_first .. s_last
      const long before_share = slots[j].begin + worked.begin;
      const long first = std::max(kept.begin + 1, before_share + (fetching ? 0 : 1));
      const long last = std::min(kept.end, slots[j].begin + worked.end);
      if (first > last) continue;
      SharePiece piece{first - kept.begin,   slots[j].sequence, first - before_share,
                       static_cast<long>(j), last - first + 1,  out.numbers};
      if (!fetching) {
        std::swap(piece.from, piece.to);
        std::swap(piece.from_column, piece.to_column);
      }
      out.pieces.push_back(piece);
      out.longest = std::max(out.longest, piece.rows);
      out.numbers += piece.rows * numbers;
    }
    out.bytes.push_back(static_cast<std::size_t>(out.numbers - before) * sizeof(Real));
  }
  return out;
}

template <class Real>
typename Shares<Real>::Pieces Shares<Real>::on_device(const Parcels& parcels) {
  auto pieces = make_view<Pieces>("pieces", parcels.pieces.size());
  const auto host = Kokkos::create_mirror_view(pieces);
  std::copy(parcels.pieces.begin(), parcels.pieces.end(), host.data());
  Kokkos::deep_copy(Exec(), pieces, host);
  Exec().fence();
  return pieces;
}

/// Collective: from what this rank has of it to what others get of it.
template <class Real>
template <class From, class To>
void Shares<Real>::exchange(const Parcels& sent, const From& from, const Parcels& received, const To& to) {
  const auto move = [&](const char* name, const Parcels& parcels, const Vector<Real>& buffer, const auto& side) {
    using Side = std::decay_t<decltype(side)>;
    Kokkos::parallel_for(name, Kokkos::RangePolicy<Exec>(0, static_cast<long>(parcels.pieces.size()) * parcels.longest),
                         MoveRows<Real, Side>{on_device(parcels), parcels.longest, numbers_of_row(side), buffer, side});
  };
  if (long(sent_.extent(0)) < sent.numbers) sent_ = make_view<Vector<Real>>("parcels sent", sent.numbers);
  if (long(received_.extent(0)) < received.numbers)
    received_ = make_view<Vector<Real>>("parcels received", received.numbers);
  move("pack parcels", sent, sent_, from);
  const parallel::Mailbox<Vector<Real>> out(sent_), in(received_);
  out.fill();
  keeps_.exchange_all(out.data(), sent.bytes, in.data(), received.bytes);
  in.empty();
  move("unpack parcels", received, received_, to);
}

template <class Real>
void Shares<Real>::fetch(const std::vector<Windows::Slot>& slots, const std::vector<char>& moving, const Kept& kept) {
  const long dim = numbers_of(states_);
  const Source<Real> from{dim, kept.iterate, {kept.drivers, kept.oracle, kept.iterate.guess.given}};
  const Target<Real> to{dim, before_, states_, {drivers_, oracle_, guess_}};
  const long numbers = numbers_of_row(from);
  exchange(parcels(slots, moving, true, true, numbers), from, parcels(slots, moving, true, false, numbers), to);
  for (std::size_t j = 0; j < slots.size(); ++j)
    if (moving[j] && slots[j].begin + share(slots[j]).begin == 0)
      Kokkos::deep_copy(Exec(), Kokkos::subview(before_, j, Kokkos::ALL),
                        Kokkos::subview(kept.iterate.guess.initial, slots[j].sequence, Kokkos::ALL));
  Exec().fence();
}

template <class Real>
void Shares<Real>::deliver(const std::vector<Windows::Slot>& slots, const std::vector<char>& leaving,
                           const Rows<Real>& answer) {
  const long dim = numbers_of(states_);
  exchange(parcels(slots, leaving, false, false, dim), Source<Real>{dim, iterate(), {}},
           parcels(slots, leaving, false, true, dim), Target<Real>{dim, {}, answer, {}});
  Exec().fence();
}

template class Shares<float>;
template class Shares<double>;

}  // namespace elkhorn::solvers
