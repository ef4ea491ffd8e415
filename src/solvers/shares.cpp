#include "solvers/shares.hpp"

#include <algorithm>

#include "parallel/transfer.hpp"

namespace elkhorn::solvers {

namespace {

template <class Real>
long numbers_of(const Rows<Real>& rows) {
  return static_cast<long>(rows.extent(2));
}

/// Runs a kernel over (piece, row).
template <class Kernel>
void over_rows(const char* name, std::size_t pieces, long longest, const Kernel& kernel) {
  Kokkos::parallel_for(name, Kokkos::RangePolicy<Exec>(0, static_cast<long>(pieces) * longest), kernel);
}

}  // namespace

/// Out of what is kept: of each state s_t its driver u_t, the oracle's state and the given guess go with it.
template <class Real>
struct Shares<Real>::Load {
  Pieces pieces;
  long longest, dim;
  Iterate<Real> iterate;
  Rows<Real> with[3];
  Vector<Real> parcel;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const Piece& piece = pieces(index / longest);
    const long row = index % longest, t = piece.kept + row;
    if (row >= piece.rows) return;
    long numbers = dim;
    for (const Rows<Real>& rows : with) numbers += static_cast<long>(rows.extent(2));
    Real* to = &parcel(piece.offset + row * numbers);
    for (int i = 0; i < dim; ++i) *to++ = iterate.at(t, piece.sequence, i);
    for (const Rows<Real>& rows : with)
      for (std::size_t i = 0; i < rows.extent(2); ++i) *to++ = rows(t - 1, piece.sequence, i);
  }
};

/// Into the share. Of the state before it only the state is of use.
template <class Real>
struct Shares<Real>::Place {
  Pieces pieces;
  long longest, dim;
  Matrix<Real> before;
  Rows<Real> states;
  Rows<Real> with[3];
  Vector<Real> parcel;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const Piece& piece = pieces(index / longest);
    const long row = index % longest, at = piece.worked + row;
    if (row >= piece.rows) return;
    long numbers = dim;
    for (const Rows<Real>& rows : with) numbers += static_cast<long>(rows.extent(2));
    const Real* from = &parcel(piece.offset + row * numbers);
    for (int i = 0; i < dim; ++i) (at == 0 ? before(piece.slot, i) : states(at - 1, piece.slot, i)) = *from++;
    if (at == 0) return;
    for (const Rows<Real>& rows : with)
      for (std::size_t i = 0; i < rows.extent(2); ++i) rows(at - 1, piece.slot, i) = *from++;
  }
};

template <class Real>
struct Shares<Real>::Collect {
  Pieces pieces;
  long longest;
  Rows<Real> states;
  Vector<Real> parcel;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const Piece& piece = pieces(index / longest);
    const long row = index % longest, dim = static_cast<long>(states.extent(2));
    if (row >= piece.rows) return;
    for (long i = 0; i < dim; ++i) parcel(piece.offset + row * dim + i) = states(piece.worked + row - 1, piece.slot, i);
  }
};

template <class Real>
struct Shares<Real>::Return {
  Pieces pieces;
  long longest;
  Rows<Real> answer;
  Vector<Real> parcel;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const Piece& piece = pieces(index / longest);
    const long row = index % longest, dim = static_cast<long>(answer.extent(2));
    if (row >= piece.rows) return;
    for (long i = 0; i < dim; ++i)
      answer(piece.kept + row - 1, piece.sequence, i) = parcel(piece.offset + row * dim + i);
  }
};

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

/// What this rank and each other have for each other: by ranks, for each in the order of slots, which both sides know.
/// @param with_first whether the state before a share goes with it, but for s_0, which every rank has
template <class Real>
typename Shares<Real>::Parcels Shares<Real>::parcels(const std::vector<Windows::Slot>& slots,
                                                     const std::vector<char>& which, bool kept_here, long numbers,
                                                     bool with_first) const {
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
      const long first = std::max(kept.begin + 1, before_share + (with_first ? 0 : 1));
      const long last = std::min(kept.end, slots[j].begin + worked.end);
      if (first > last) continue;
      const long rows = last - first + 1;
      out.pieces.push_back(
          {static_cast<long>(j), slots[j].sequence, first - kept.begin, first - before_share, rows, out.numbers});
      out.longest = std::max(out.longest, rows);
      out.numbers += rows * numbers;
    }
    out.bytes.push_back(static_cast<std::size_t>(out.numbers - before) * sizeof(Real));
  }
  return out;
}

template <class Real>
typename Shares<Real>::Pieces Shares<Real>::on_device(const Parcels& parcels) {
  const auto pieces = make_view<Pieces>("pieces", parcels.pieces.size());
  const auto host = Kokkos::create_mirror_view(pieces);
  std::copy(parcels.pieces.begin(), parcels.pieces.end(), host.data());
  Kokkos::deep_copy(Exec(), pieces, host);
  Exec().fence();
  return pieces;
}

template <class Real>
void Shares<Real>::make_room(const Parcels& sent, const Parcels& received) {
  if (long(sent_.extent(0)) < sent.numbers) sent_ = make_view<Vector<Real>>("parcels sent", sent.numbers);
  if (long(received_.extent(0)) < received.numbers)
    received_ = make_view<Vector<Real>>("parcels received", received.numbers);
}

template <class Real>
void Shares<Real>::exchange(const Parcels& sent, const Parcels& received) const {
  const parallel::Mailbox<Vector<Real>> out(sent_), in(received_);
  out.fill();
  keeps_.exchange_all(out.data(), sent.bytes, in.data(), received.bytes);
  in.empty();
}

template <class Real>
void Shares<Real>::fetch(const std::vector<Windows::Slot>& slots, const std::vector<char>& moving, const Kept& kept) {
  const long dim = numbers_of(states_);
  const Rows<Real>& given = kept.iterate.guess.given;
  const long numbers = dim + numbers_of(kept.drivers) + numbers_of(kept.oracle) + numbers_of(given);
  const Parcels sent = parcels(slots, moving, true, numbers, true),
                received = parcels(slots, moving, false, numbers, true);
  make_room(sent, received);
  over_rows("load parcels", sent.pieces.size(), sent.longest,
            Load{on_device(sent), sent.longest, dim, kept.iterate, {kept.drivers, kept.oracle, given}, sent_});
  exchange(sent, received);
  over_rows(
      "place parcels", received.pieces.size(), received.longest,
      Place{on_device(received), received.longest, dim, before_, states_, {drivers_, oracle_, guess_}, received_});
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
  const Parcels sent = parcels(slots, leaving, false, dim, false), received = parcels(slots, leaving, true, dim, false);
  make_room(sent, received);
  over_rows("collect states", sent.pieces.size(), sent.longest, Collect{on_device(sent), sent.longest, states_, sent_});
  exchange(sent, received);
  over_rows("return states", received.pieces.size(), received.longest,
            Return{on_device(received), received.longest, answer, received_});
  Exec().fence();
}

template class Shares<float>;
template class Shares<double>;

}  // namespace elkhorn::solvers
