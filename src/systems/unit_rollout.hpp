/// The rollout of gated cells on hosts with units in lanes: vector registers hold the same sum of neighbouring units.
///
/// Nothing is transposed, since the states and drivers of a sequence lie side by side in memory already. For a tile of
/// units, the sums of several sequences (or, of inputs, several steps) stay in registers, so that a weight which is read
/// serves all of them. Of few sequences, inputs are projected for a block of steps at once: what is left in the chain from
/// step to step is W_hh h and the gates, and W_ih is read once a block. Where a step is long, all threads share it and meet
/// after each.
///
/// Sums are taken in GateTiles' order: states are the same, bit by bit, whatever the batch, the threads or the kernel.
#pragma once

#include <atomic>
#include <thread>

#include "systems/gate_tiles.hpp"

namespace elkhorn::systems {

/// Where threads of a team wait for each other, thousands of times a second: they spin, and give way on busy machines.
class SpinBarrier {
 public:
  explicit SpinBarrier(int members) : members_(members) {}

  /// Returns when all members have called it `round` times (1, 2, …).
  void wait(long round) {
    if (members_ == 1) return;
    arrived_.fetch_add(1, std::memory_order_acq_rel);
    for (int spins = 0; arrived_.load(std::memory_order_acquire) < round * members_; ++spins)
      if (spins > 2000) std::this_thread::yield();
  }

 private:
  long members_;
  std::atomic<long> arrived_{0};
};

/// How a rollout is shared out: to `teams` that take a share of the sequences each, or to the `members` of one team that
/// take a share of the units each.
struct RolloutShares {
  int teams;
  int members;
};

/// One item a member of a team; all items must run at the same time. A cell gives
///
///   static constexpr int states_per_unit       a state holds that many numbers of each unit, the first being h
///   const Tiles& unit_tiles() const            its GateTiles
///   template <class P> static void advance(P (&sum)[sums], const P (&s)[states_per_unit], P (&next)[states_per_unit])
template <class Cell>
class UnitRollout {
 public:
  using Real = typename Cell::Real;
  using Tiles = typename Cell::Tiles;
  using V = Pack<Real, Tiles::tile>;
  static constexpr int tile = Tiles::tile, gates = Tiles::gates, sums = Tiles::sums;
  static constexpr int kinds = Cell::states_per_unit;
  /// Sequences or steps side by side: their sums, the weights of a number to the gates and that number of one of them (or
  /// the number of all of them and a weight) fill the registers.
  static constexpr int fitting(int rows) {
    return gates * rows + (gates < rows ? gates : rows) + 1 <= register_count ? rows : fitting(rows - 1);
  }
  static constexpr int rows_at_once = fitting(8);
  /// Of so many rows the gates are taken at a time: of more they would not fit.
  static constexpr int side_by_side(int rows) { return rows > 4 && rows % 2 == 0 ? rows / 2 : rows; }
  /// What is tried next for rows that are left.
  static constexpr int fewer(int rows) { return rows > 4 ? rows / 2 : rows - 1; }

  UnitRollout(const Cell& cell, const Rows<Real>& drivers, const Matrix<Real>& initial, const Rows<Real>& states,
              RolloutShares shares, SpinBarrier* barrier)
      : cell_(cell), drivers_(drivers), initial_(initial), states_(states), shares_(shares), barrier_(barrier) {
    const long most = (static_cast<long>(states.extent(1)) + shares.teams - 1) / shares.teams;
    block_ = most < rows_in_block ? rows_in_block / most : 1;
    workspace_ = make_view<Matrix<Real>>("rollout workspace", shares.teams,
                                         width() * (2L * kinds * most + sums * block_ * most));
  }

  void operator()(long item) const {
    const long team = item / shares_.members, member = item % shares_.members, batch = states_.extent(1);
    const long first = batch * team / shares_.teams, count = batch * (team + 1) / shares_.teams - first;
    const int tiles = cell_.unit_tiles().tiles();
    const int begin = static_cast<int>(tiles * member / shares_.members);
    const int end = static_cast<int>(tiles * (member + 1) / shares_.members);
    Share share{cell_.unit_tiles(), &workspace_(team, 0), nullptr, nullptr, block_ * count, width(), 0, nullptr};
    share.now = share.sum + tiles * sums * tile * share.rows;
    share.next = share.now + count * kinds * width();
    long round = 0;
    if (member == 0) start(first, count, share.now);
    barrier_->wait(++round);
    const long length = static_cast<long>(states_.extent(0)), hidden = cell_.unit_tiles().hidden;
    for (long t = 0; t < length; ++t) {
      const long step = t % block_;
      share.row = step * count;
      share.input = input(t, first);
      if (step == 0 && !projects_in_step(count)) {
        const long rows = (length - t < block_ ? length - t : block_) * count;
        for (int i = begin; i < end; ++i) project_all(share, i, t, first, count, rows);
      }
      for (int i = begin; i < end; ++i) {
        if (projects_in_step(count))
          step_all<true>(share, i, count);
        else
          step_all<false>(share, i, count);
        const long unit = static_cast<long>(i) * tile;
        for (long r = 0; r < count; ++r)
          for (int kind = 0; kind < kinds; ++kind)
            copy(share.next + r * kinds * width() + kind * width() + unit, &states_(t, first + r, kind * hidden + unit),
                 hidden - unit);
      }
      barrier_->wait(++round);
      Real* const swap = share.now;
      share.now = share.next;
      share.next = swap;
    }
  }

 private:
  /// Rows whose projected inputs are kept: enough to fill the registers, few enough for the caches.
  static constexpr long rows_in_block = 32;

  struct Share {
    const Tiles& tiles;
    Real* sum;  ///< (tile, sum, row of the block, unit)
    Real* now;  ///< (sequence, kind, padded unit)
    Real* next;
    long rows;  ///< a block's
    long width;
    long row;           ///< of this step's first sequence
    const Real* input;  ///< of this step's first sequence

    Real* sum_of(int index, int s, long r) const { return sum + ((index * sums + s) * rows + r) * tile; }
  };

  const Real* input(long t, long b) const {
    return drivers_.data() + (t * static_cast<long>(drivers_.extent(1)) + b) * static_cast<long>(drivers_.extent(2));
  }

  /// Sequences enough to fill the registers: nothing is gained by projecting the inputs of several steps at once.
  static bool projects_in_step(long count) { return count >= rows_at_once; }

  long width() const { return static_cast<long>(cell_.unit_tiles().tiles()) * tile; }

  void start(long first, long count, Real* now) const {
    const int hidden = cell_.unit_tiles().hidden;
    for (long i = 0; i < 2 * count * kinds * width(); ++i) now[i] = Real(0);
    for (long r = 0; r < count; ++r)
      for (int kind = 0; kind < kinds; ++kind)
        for (int j = 0; j < hidden; ++j) now[(r * kinds + kind) * width() + j] = initial_(first + r, kind * hidden + j);
  }

  static void copy(const Real* from, Real* to, long numbers) {
    if (numbers >= tile)
      store<V>(to, load<V>(from));
    else
      for (long j = 0; j < numbers; ++j) to[j] = from[j];
  }

  /// s[g R + r] += weights · row r, `count` numbers of it.
  template <int R>
  KOKKOS_FORCEINLINE_FUNCTION static void add_products(const Real* w, long count, const Real* const (&row)[R],
                                                       V (&s)[gates * R]) {
    for (long k = 0; k < count; ++k, w += gates * tile) {
      // Whichever are fewer stay in registers, the weights or the rows' numbers (`fitting`).
      V held[gates < R ? gates : R];
      if constexpr (gates < R) {
        unrolled<gates>([&](auto g) ELKHORN_INLINE_LAMBDA {
          held[g] = load<V>(w + g * tile);
          hold(held[g]);
        });
        unrolled<R>([&](auto r) ELKHORN_INLINE_LAMBDA {
          const V x(row[r][k]);
          unrolled<gates>([&](auto g) ELKHORN_INLINE_LAMBDA { s[g * R + r] = multiply_add(held[g], x, s[g * R + r]); });
        });
      } else {
        unrolled<R>([&](auto r) ELKHORN_INLINE_LAMBDA { held[r] = V(row[r][k]); });
        unrolled<gates>([&](auto g) ELKHORN_INLINE_LAMBDA {
          V weight = load<V>(w + g * tile);
          if constexpr (R > 1) hold(weight);
          unrolled<R>([&](auto r)
                          ELKHORN_INLINE_LAMBDA { s[g * R + r] = multiply_add(weight, held[r], s[g * R + r]); });
        });
      }
    }
  }

  /// Biases and input projections of R rows, from row `first` of the block.
  template <int R>
  __attribute__((noinline)) static void project(const Share& share, int index, long first, const Real* const* inputs) {
    const Real* const bias = share.tiles.biases(index);
    const Real* row[R];
    V s[gates * R];
    unrolled<R>([&](auto r) ELKHORN_INLINE_LAMBDA { row[r] = inputs[r]; });
    unrolled<gates * R>([&](auto i) ELKHORN_INLINE_LAMBDA { s[i] = load<V>(bias + i / R * tile); });
    add_products<R>(share.tiles.weights(index, 0), share.tiles.inputs, row, s);
    unrolled<gates * R>([&](auto i)
                            ELKHORN_INLINE_LAMBDA { store<V>(share.sum_of(index, i / R, first + i % R), s[i]); });
  }

  /// The next states of R sequences from `first`, with their inputs' projections or from them.
  template <bool Project, int R>
  __attribute__((noinline)) static void step(const Share& share, int index, long first) {
    constexpr int side = side_by_side(R);
    Several<V, side> sum[R / side][sums], own[kinds], next[kinds];
    const Real* row[R];
    V s[gates * R];
    const Real* const bias = share.tiles.biases(index);
    unrolled<gates * R>([&](auto i) ELKHORN_INLINE_LAMBDA {
      constexpr int g = i / R, r = i % R;
      s[i] = load<V>(Project ? bias + g * tile : share.sum_of(index, g, share.row + first + r));
    });
    if constexpr (Project) {
      unrolled<R>([&](auto r) ELKHORN_INLINE_LAMBDA { row[r] = share.input + (first + r) * share.tiles.inputs; });
      add_products<R>(share.tiles.weights(index, 0), share.tiles.inputs, row, s);
    }
    if constexpr (sums > gates)  // the last gate's input part stays apart
      unrolled<R>([&](auto r) ELKHORN_INLINE_LAMBDA {
        sum[r / side][gates - 1].part[r % side] = s[(gates - 1) * R + r];
        s[(gates - 1) * R + r] = load<V>(bias + gates * tile);
      });
    unrolled<R>([&](auto r) ELKHORN_INLINE_LAMBDA { row[r] = share.now + (first + r) * kinds * share.width; });
    add_products<R>(share.tiles.weights(index, share.tiles.inputs), share.tiles.hidden, row, s);
    unrolled<gates * R>([&](auto i) ELKHORN_INLINE_LAMBDA {
      constexpr int r = i % R;
      sum[r / side][Tiles::state_sum(i / R)].part[r % side] = s[i];
    });
    unrolled<R / side>([&](auto group) ELKHORN_INLINE_LAMBDA {
      const auto place = [&](int i) {
        return (first + group * side + i % side) * kinds * share.width + i / side * share.width + index * tile;
      };
      unrolled<kinds * side>(
          [&](auto i) ELKHORN_INLINE_LAMBDA { own[i / side].part[i % side] = load<V>(share.now + place(i)); });
      Cell::advance(sum[group], own, next);
      unrolled<kinds * side>(
          [&](auto i) ELKHORN_INLINE_LAMBDA { store<V>(share.next + place(i), next[i / side].part[i % side]); });
    });
  }

  /// Rows in groups of R, what is left in smaller groups.
  template <int R = rows_at_once>
  void project_all(const Share& share, int index, long t, long first, long count, long rows, long done = 0) const {
    for (; done + R <= rows; done += R) {
      const Real* inputs[R];
      for (int r = 0; r < R; ++r) inputs[r] = input(t + (done + r) / count, first + (done + r) % count);
      project<R>(share, index, done, inputs);
    }
    if constexpr (R > 1) project_all<fewer(R)>(share, index, t, first, count, rows, done);
  }
  template <bool Project, int R = rows_at_once>
  void step_all(const Share& share, int index, long count, long done = 0) const {
    for (; done + R <= count; done += R) step<Project, R>(share, index, done);
    if constexpr (R > 1) step_all<Project, fewer(R)>(share, index, count, done);
  }

  Cell cell_;
  Rows<Real> drivers_;
  Matrix<Real> initial_;
  Rows<Real> states_;
  RolloutShares shares_;
  SpinBarrier* barrier_;
  long block_;  ///< steps whose inputs are projected at once
  Matrix<Real> workspace_;
};

}  // namespace elkhorn::systems
