/// From a cell — the formulas of one step for one number type — to a System: the kernels every system shares.
///
/// A cell is a small struct copied into kernels, with views of its parameters and
///
///   int state_dim() const, input_dim() const
///   double flops(Linearization) const
///   template <Linearization L, class S, class U, class Out>
///   KOKKOS_FUNCTION void evaluate(const S& s, const U& u, Out& out) const
///
/// which reads s[i], u[i] and calls out.value(i, f_i) for every i, out.diagonal(i, ∂f_i/∂s_i) if L is diagonal and
/// out.dense(i, j, ∂f_i/∂s_j) if it is dense. Numbers are of type S::Number: a Pack of lanes or one lane's real.
/// A value may be given before s is read for the last time: what out takes does not overwrite s.
///
/// Two things make a cell faster on hosts. `static constexpr bool step_pairs = true` says that evaluate keeps to operator[]
/// of s and u and to out, so that it can take two steps of a group at once. A gated cell with the members that UnitRollout
/// names is rolled out with its units in lanes; advance must give the same numbers as evaluate, bit by bit. Such a cell's
/// inputs are projected where they are used often, and u of evaluate is a StepInput then.
///
/// A cell whose Jacobian is made of its weights has `static constexpr int factors_per_unit`. With L = factored it calls
/// out.factor(i, …) in place of out.dense, and
///
///   template <class A, class X, class Out>
///   KOKKOS_FUNCTION void multiply(const A& factors, const X& x, const Out& out) const
///
/// calls out(i, (A x)_i) for every i.
///
/// A cell that cannot hold its intermediate results in registers has one more member, `int scratch_size() const`, and
/// evaluate a fourth argument `const W& work`: a strip of that many numbers (work[i], work.set(i, x), work.from(i)),
/// uninitialised, its own while evaluate runs.
#pragma once

#include <stdexcept>
#include <type_traits>
#include <utility>

#include "systems/system.hpp"
#include "systems/unit_rollout.hpp"

namespace elkhorn::systems {

namespace detail {

template <class Cell, class = void>
inline constexpr bool needs_scratch = false;
template <class Cell>
inline constexpr bool needs_scratch<Cell, std::void_t<decltype(std::declval<const Cell&>().scratch_size())>> = true;

/// Whether steps are evaluated two at a time: cells that say so, where that fills registers. In two of 32 bytes the sums of
/// half as many units share the weights that are read.
template <class Cell, class = void>
inline constexpr bool takes_pairs = false;
template <class Cell>
inline constexpr bool takes_pairs<Cell, std::enable_if_t<Cell::step_pairs>> = lane_packs_pair<typename Cell::Real>;

/// Whether a cell is made of GateTiles. On hosts it can be rolled out with its units in lanes (UnitRollout).
template <class Cell, class = void>
inline constexpr bool has_tiles = false;
template <class Cell>
inline constexpr bool has_tiles<Cell, std::void_t<decltype(std::declval<Cell&>().unit_tiles())>> = true;
template <class Cell>
inline constexpr bool has_units = exec_is_host&& has_tiles<Cell>;

/// Whether a cell multiplies by its Jacobian without forming it.
template <class Cell, class = void>
inline constexpr bool has_factors = false;
template <class Cell>
inline constexpr bool has_factors<Cell, std::enable_if_t<(Cell::factors_per_unit > 0)>> = true;

/// Memory that work items borrow while they evaluate a cell: nothing for cells that need none.
template <class Cell, bool = needs_scratch<Cell>>
struct Scratch {
  struct Lease {
    template <Linearization L, class S, class U, class Out>
    KOKKOS_INLINE_FUNCTION void evaluate(const Cell& cell, const S& s, const U& u, Out& out) const {
      cell.template evaluate<L>(s, u, out);
    }
  };

  explicit Scratch(const Cell&) {}
  KOKKOS_INLINE_FUNCTION Lease acquire() const { return {}; }
  KOKKOS_INLINE_FUNCTION void release(const Lease&) const {}
};

template <class Cell>
struct Scratch<Cell, true> {
  using Real = typename Cell::Real;
  using P = LanePack<Real>;
  using Token = Kokkos::Experimental::UniqueToken<Exec>;

  struct Lease {
    scan::PanelStrip<P> work;
    int id;

    template <Linearization L, class S, class U, class Out>
    KOKKOS_INLINE_FUNCTION void evaluate(const Cell& cell, const S& s, const U& u, Out& out) const {
      cell.template evaluate<L>(s, u, out, work);
    }
  };

  Token token;
  Matrix<Real> memory;  ///< like a panel: numbers of neighbouring GPU threads lie next to each other

  explicit Scratch(const Cell& cell)
      : memory(make_view<Matrix<Real>>("cell scratch", (token.size() + items_per_group - 1) / items_per_group,
                                       static_cast<long>(cell.scratch_size()) * lane_width)) {}
  KOKKOS_INLINE_FUNCTION Lease acquire() const {
    const int id = static_cast<int>(token.acquire());
    return {{&memory(id / items_per_group, id % items_per_group)}, id};
  }
  KOKKOS_INLINE_FUNCTION void release(const Lease& lease) const { token.release(lease.id); }
};

template <class Cell>
int scratch_size(const Cell& cell) {
  if constexpr (needs_scratch<Cell>)
    return cell.scratch_size();
  else
    return 0;
}

/// The same component of two steps of a group, side by side in one vector register.
template <class P>
struct StepPair {
  using Number = Pack<real_of<P>, 2 * width_of<P>>;
  scan::PanelStrip<P> first, second;

  KOKKOS_INLINE_FUNCTION Number operator[](long i) const { return join(first[i], second[i]); }
  KOKKOS_INLINE_FUNCTION void set(long i, Number value) const {
    first.set(i, half<0>(value));
    second.set(i, half<1>(value));
  }
};

/// Takes what a cell produces into the panels, as residual and Jacobian.
template <class Strip>
struct PanelOutput {
  using P = typename Strip::Number;
  Strip current, residual, jacobian;
  int dim;

  KOKKOS_FORCEINLINE_FUNCTION void value(int i, P f) { residual.set(i, current[i] - f); }
  KOKKOS_FORCEINLINE_FUNCTION void diagonal(int i, P d) { jacobian.set(i, d); }
  KOKKOS_INLINE_FUNCTION void dense(int i, int j, P d) { jacobian.set(static_cast<long>(i) * dim + j, d); }
  KOKKOS_INLINE_FUNCTION void factor(int i, P a) { jacobian.set(i, a); }
};

template <class P>
struct StateOutput {
  scan::WorkStrip<P> next;

  KOKKOS_INLINE_FUNCTION void value(int i, P f) { next.set(i, f); }
  KOKKOS_INLINE_FUNCTION void diagonal(int, P) {}
  KOKKOS_INLINE_FUNCTION void dense(int, int, P) {}
  KOKKOS_INLINE_FUNCTION void factor(int, P) {}
};

/// One item a block of steps of a group (hosts) or of a lane (GPUs).
template <class Cell, Linearization L>
struct EvaluateKernel {
  using Real = typename Cell::Real;
  using P = LanePack<Real>;

  static constexpr bool pairs = takes_pairs<Cell>;

  Cell cell;
  Evaluation<Real> args;
  Scratch<Cell> scratch;

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const int lane = static_cast<int>(index % items_per_group);
    const long block_count = args.worst.extent(1);
    const long block = index / items_per_group % block_count;
    const long group = index / items_per_group / block_count;
    if (!args.active.group(args.map, group)) return;
    const long end = (block + 1) * block_steps < args.map.steps ? (block + 1) * block_steps : args.map.steps;
    if (args.active.settled_steps(args.map, group) >= end) return;
    const P worst = steps({group, block * block_steps, end, group}, 0, lane);
    store<P>(&args.worst(group, block, lane), worst);
  }

  /// The steps of `at`, residual and Jacobian going to rows (at.buffer, step − first). Returns the largest residuals.
  KOKKOS_INLINE_FUNCTION P steps(const scan::StepBlock& at, long first, int lane) const {
    // Lanes of a group hold different numbers of steps where the last chunk is shorter: those rows do not count.
    const long full = full_steps(at.group, lane);
    P worst(Real(0));
    const auto lease = scratch.acquire();
    const Rows rows{scan::rows_from<P>(args.states, at.group, at.begin, lane),
                    scan::rows_from<P>(args.inputs, at.group, at.begin, lane),
                    scan::rows_from<P>(args.residual, at.buffer, at.begin - first, lane),
                    scan::rows_from<P>(args.jacobian, at.buffer, at.begin - first, lane)};
    // Read again rather than watched while the cell makes them: a maximum that lives through the cell's stores lives in
    // memory, and every unit would wait for the one before.
    const auto see = [&](long k, long count) {
      for (const long held = full - at.begin; count > 0;) {
        const long taken = k + count <= held ? count : 1;
        const P here = scan::largest_magnitudes<P>(rows.residual[k].p, taken * cell.state_dim());
        worst = larger_magnitude(worst, k < held ? here : masked(here, at.group, lane, at.begin + k));
        k += taken;
        count -= taken;
      }
    };
    const long count = at.steps();
    for_each_share(count, [&](const Cell& share, bool last_share) {
      if constexpr (pairs) {
        for (long k = 0; k < count; k += 2) {
          const long next = k + 1 < count ? k + 1 : k;  // the last of an odd number is taken twice
          evaluate_at(share, lease, rows, [&](const scan::PanelRows<P>& of, long on) {
            return StepPair<P>{of[k + on], of[next + on]};
          });
          if (last_share) see(k, next + 1 - k);
        }
      } else {
        for (long k = 0; k < count; ++k) {
          evaluate_at(share, lease, rows, [&](const scan::PanelRows<P>& of, long on) { return of[k + on]; });
          if (last_share) see(k, 1);
        }
      }
    });
    scratch.release(lease);
    return magnitude(worst);
  }

  /// use(cell, true) for all units at once, or tile by tile where all steps are to use a tile's weights while it is in a
  /// cache, with true for the last.
  template <class Use>
  KOKKOS_INLINE_FUNCTION void for_each_share(long steps, const Use& use) const {
    if constexpr (has_units<Cell>) {
      if (cell.unit_tiles().streams() && steps > (pairs ? 2 : 1)) {
        Cell share = cell;
        const int tiles = cell.unit_tiles().tiles();
        for (int tile = 0; tile < tiles; ++tile) {
          share.unit_tiles().only = tile;
          use(share, tile + 1 == tiles);
        }
        return;
      }
    }
    use(cell, true);
  }

  /// Rows of the panels, from a block's first step on.
  struct Rows {
    scan::PanelRows<P> states, inputs, residual, jacobian;
  };

  /// Evaluates `units`, all or some, of the steps whose strips are strip(rows, 0), those of the states after them
  /// strip(rows.states, 1).
  template <class Lease, class Take>
  KOKKOS_INLINE_FUNCTION void evaluate_at(const Cell& units, const Lease& lease, const Rows& rows,
                                          const Take& strip) const {
    using Strip = decltype(strip(rows.states, 0));
    PanelOutput<Strip> to{strip(rows.states, 1), strip(rows.residual, 0), strip(rows.jacobian, 0), cell.state_dim()};
    if constexpr (has_tiles<Cell>)
      lease.template evaluate<L>(units, strip(rows.states, 0), StepInput<Strip>{strip(rows.inputs, 0), args.projected},
                                 to);
    else
      lease.template evaluate<L>(units, strip(rows.states, 0), strip(rows.inputs, 0), to);
  }

  /// Steps that all lanes of this item hold.
  KOKKOS_INLINE_FUNCTION long full_steps(long group, int lane) const {
    long fewest = args.map.steps;
    for (int w = 0; w < width_of<P>; ++w) {
      const long steps = args.map.steps_of(group * lane_width + lane + w);
      fewest = steps < fewest ? steps : fewest;
    }
    return fewest;
  }

  KOKKOS_INLINE_FUNCTION P masked(P value, long group, int lane, long k) const {
    Real kept[width_of<P>];
    store<P>(kept, value);
    for (int w = 0; w < width_of<P>; ++w)
      if (k >= args.map.steps_of(group * lane_width + lane + w)) kept[w] = Real(0);
    return load<P>(kept);
  }
};

/// δ_t = A_t δ_{t−1} − r_t through a block of steps of a group (hosts), A_t in factors; see System::recur_blocks.
template <class Cell>
struct RecurKernel {
  using Real = typename Cell::Real;
  using P = LanePack<Real>;
  using Strip = scan::PanelStrip<P>;

  Cell cell;
  scan::Panel<Real> residual, factors;

  void operator()(const scan::StepBlock& at, Real* before) const {
    Strip x{before};
    for (long row = at.skipped; row < at.skipped + at.steps(); ++row) {
      const Strip r = scan::strip<P>(residual, at.buffer, row, 0);
      cell.multiply(scan::strip<P>(factors, at.buffer, row, 0), x,
                    [&](int i, P product) ELKHORN_INLINE_LAMBDA { r.set(i, product - r[i]); });
      x = r;
    }
    for (int i = 0; i < cell.state_dim(); ++i) Strip{before}.set(i, x[i]);
  }
};

/// One item a group of sequences (hosts) or a sequence (GPUs), from the first step to the last.
template <class Cell, class P>
struct RolloutKernel {
  using Real = typename Cell::Real;

  Cell cell;
  Rows<Real> drivers;
  Matrix<Real> initial;
  Rows<Real> states;
  Matrix<Real> workspace;  ///< (items, (2 D + n + scratch) · lanes of an item)

  KOKKOS_INLINE_FUNCTION void operator()(long item) const {
    constexpr int width = width_of<P>;
    const long length = states.extent(0), batch = states.extent(1), first = item * width;
    const int lanes = static_cast<int>(batch - first < width ? batch - first : width);
    const int dim = cell.state_dim(), inputs = cell.input_dim();
    Real* const now = &workspace(item, 0);
    Real* const next = now + dim * width;
    Real* const u = next + dim * width;
    for (int i = 0; i < (2 * dim + inputs) * width; ++i) now[i] = Real(0);
    for (int w = 0; w < lanes; ++w)
      for (int i = 0; i < dim; ++i) now[i * width + w] = initial(first + w, i);
    scan::WorkStrip<P> s{now};
    StateOutput<P> out{{next}};
    for (long t = 0; t < length; ++t) {
      for (int w = 0; w < lanes; ++w)
        for (int i = 0; i < inputs; ++i) u[i * width + w] = drivers(t, first + w, i);
      if constexpr (needs_scratch<Cell>)
        cell.template evaluate<Linearization::zero>(s, scan::WorkStrip<P>{u}, out,
                                                    scan::WorkStrip<P>{u + inputs * width});
      else
        cell.template evaluate<Linearization::zero>(s, scan::WorkStrip<P>{u}, out);
      for (int w = 0; w < lanes; ++w)
        for (int i = 0; i < dim; ++i) states(t, first + w, i) = out.next.p[i * width + w];
      Real* const swap = s.p;
      s.p = out.next.p;
      out.next.p = swap;
    }
  }
};

/// One item some steps of a slot (hosts: a vector register of steps at a time) or one of them (GPUs).
template <class Cell>
struct ProjectKernel {
  using Real = typename Cell::Real;
  using Tiles = typename Cell::Tiles;
  using P = std::conditional_t<exec_is_host, Pack<Real, Tiles::tile>, Real>;
  using Token = Kokkos::Experimental::UniqueToken<Exec>;
  static constexpr long steps_each = exec_is_host ? 64 : 1;
  static constexpr int width = width_of<P>;

  Cell cell;
  Projection<Real> args;
  Token token;
  Matrix<Real> drivers;  ///< hosts: (token, steps_each · n), a register of steps at a time

  static long work_size(const Cell& cell) { return exec_is_host ? steps_each * cell.input_dim() : 0; }

  /// Number i of consecutive steps of a slot, each in a lane and row of its own.
  struct Scatter {
    Real* to[width];  ///< nothing for steps that are not there
    KOKKOS_INLINE_FUNCTION void set(long i, P value) const {
      Real numbers[width];
      store<P>(numbers, value);
      for (int w = 0; w < width; ++w)
        if (to[w]) to[w][i * lane_width] = numbers[w];
    }
  };

  KOKKOS_INLINE_FUNCTION Scatter rows(long slot, long step, long end) const {
    const scan::LaneMap& map = args.frame.map;
    Scatter out;
    for (int w = 0; w < width; ++w) {
      const long k = step + w, lane = k / map.steps * map.batch + slot;
      out.to[w] = k < end ? &args.inputs(lane / lane_width, k % map.steps, 0, lane % lane_width) : nullptr;
    }
    return out;
  }

  KOKKOS_INLINE_FUNCTION void operator()(long index) const {
    const scan::LaneMap& map = args.frame.map;
    const long count = (map.length + steps_each - 1) / steps_each, slot = index / count;
    const long first = index % count * steps_each, held = map.lengths.extent(0) == 0 ? map.length : map.lengths(slot);
    const long end = first + steps_each < held ? first + steps_each : held;
    if (first >= end || !args.moving.sequence(slot)) return;
    const long n = cell.input_dim(), stride = static_cast<long>(args.drivers.extent(1)) * n;
    Real* const from =
        args.drivers.data() + (args.frame.time_of(slot) + first) * stride + args.frame.sequence_of(slot) * n;
    if constexpr (exec_is_host) {
      const auto id = token.acquire();
      for (long k = first; k < end; k += width) {
        Real* const x = &drivers(id, (k - first) * n);
        for (int w = 0; w < width; ++w) {
          const Real* const driver = from + (k + w < end ? k + w - first : 0) * stride;
          for (long i = 0; i < n; ++i) x[i * width + w] = driver[i];
        }
      }
      Cell share = cell;
      const bool by_tiles = cell.unit_tiles().streams();
      for (int tile = 0; tile < (by_tiles ? cell.unit_tiles().tiles() : 1); ++tile) {
        if (by_tiles) share.unit_tiles().only = tile;
        for (long k = first; k < end; k += width)
          share.unit_tiles().project(scan::WorkStrip<P>{&drivers(id, (k - first) * n)}, rows(slot, k, end));
      }
      token.release(id);
    } else {
      cell.unit_tiles().project(scan::WorkStrip<P>{from}, rows(slot, first, end));
    }
  }
};

}  // namespace detail

template <class Cell>
class CellSystem : public System<typename Cell::Real> {
 public:
  using Real = typename Cell::Real;

  CellSystem(Cell cell, double parameter_bytes)
      : cell_(std::move(cell)), parameter_bytes_(parameter_bytes), scratch_(cell_) {
    if constexpr (detail::has_units<Cell>) {
      using Kernel = detail::ProjectKernel<Cell>;
      projection_work_ =
          make_view<Matrix<Real>>("drivers of steps", typename Kernel::Token().size(), Kernel::work_size(cell_));
    }
  }

  long state_dim() const override { return cell_.state_dim(); }
  long input_dim() const override { return cell_.input_dim(); }
  double flops(Linearization l) const override { return cell_.flops(l); }
  double parameter_bytes() const override { return parameter_bytes_; }

  void evaluate(Linearization l, const Evaluation<Real>& args) const override {
    switch (l) {
      case Linearization::zero:
      case Linearization::identity: return launch<Linearization::zero>(args);
      case Linearization::diagonal: return launch<Linearization::diagonal>(args);
      case Linearization::dense: return launch<Linearization::dense>(args);
      case Linearization::factored: break;
    }
    throw std::logic_error("factors are of use block by block only");
  }

  using typename System<Real>::BlockEvaluation;
  BlockEvaluation evaluate_blocks(Linearization l, const Evaluation<Real>& args) const override {
    switch (l) {
      case Linearization::diagonal: return blocks_of<Linearization::diagonal>(args);
      case Linearization::dense: return blocks_of<Linearization::dense>(args);
      case Linearization::factored:
        if constexpr (detail::has_factors<Cell>) return blocks_of<Linearization::factored>(args);
        throw std::logic_error("a system that forms its Jacobians");
      default: return blocks_of<Linearization::zero>(args);
    }
  }

  long factors() const override {
    if constexpr (exec_is_host && detail::has_factors<Cell>)
      return static_cast<long>(Cell::factors_per_unit) * cell_.unit_tiles().hidden;
    return 0;
  }
  using typename System<Real>::BlockRecurrence;
  BlockRecurrence recur_blocks(const Evaluation<Real>& args) const override {
    if constexpr (exec_is_host && detail::has_factors<Cell>)
      return detail::RecurKernel<Cell>{cell_, args.residual, args.jacobian};
    return System<Real>::recur_blocks(args);
  }

  long projected_dim() const override {
    if constexpr (detail::has_tiles<Cell>)
      if (input_dim() >= fewest_projected_inputs) return cell_.unit_tiles().projected_size();
    return 0;
  }
  double projected_flops() const override {
    if constexpr (detail::has_tiles<Cell>)
      return 2.0 * Cell::Tiles::gates * double(cell_.unit_tiles().hidden) * double(input_dim());
    return 0;
  }
  void project([[maybe_unused]] const Projection<Real>& args) const override {
    if constexpr (detail::has_tiles<Cell>) {
      using Kernel = detail::ProjectKernel<Cell>;
      const long items = args.frame.map.batch * ((args.frame.map.length + Kernel::steps_each - 1) / Kernel::steps_each);
      Kokkos::parallel_for("project inputs", Kokkos::RangePolicy<Exec>(0, items),
                           Kernel{cell_, args, typename Kernel::Token(), projection_work_});
    }
  }

  void rollout(const Rows<Real>& drivers, const Matrix<Real>& initial, const Rows<Real>& states) const override {
    const long batch = static_cast<long>(states.extent(1));
    if (batch == 0 || states.extent(0) == 0) return;
    // Units in lanes where they fill them, and where there are too few sequences to do so; else sequences, in two groups of
    // lanes an item where that leaves no thread without. The operations of a sequence, and so its states, are the same.
    const long each = (batch + Exec().concurrency() - 1) / Exec().concurrency();
    if constexpr (detail::has_units<Cell>) {
      if (each <= most_in_unit_lanes ||
          4 * cell_.unit_tiles().hidden >= 3 * cell_.unit_tiles().tiles() * Cell::Tiles::tile)
        return roll_out_units(drivers, initial, states);
    }
    if constexpr (detail::takes_pairs<Cell>) {
      if (each > lane_width) return roll_out<Pack<Real, 2 * lane_width>>(drivers, initial, states);
    }
    roll_out<LanePack<Real>>(drivers, initial, states);
  }

 private:
  static constexpr long most_in_unit_lanes = 2;

  template <class P>
  void roll_out(const Rows<Real>& drivers, const Matrix<Real>& initial, const Rows<Real>& states) const {
    constexpr int width = width_of<P>;
    const long items = (static_cast<long>(states.extent(1)) + width - 1) / width;
    const long numbers = 2 * state_dim() + input_dim() + detail::scratch_size(cell_);
    const auto workspace = make_view<Matrix<Real>>("rollout workspace", items, numbers * width);
    Kokkos::parallel_for("rollout", Kokkos::RangePolicy<Exec>(0, items),
                         detail::RolloutKernel<Cell, P>{cell_, drivers, initial, states, workspace});
  }

  void roll_out_units(const Rows<Real>& drivers, const Matrix<Real>& initial, const Rows<Real>& states) const {
    // Threads share a step where it is long enough to wait for each other after it: where the weights would otherwise be
    // read through the second-level cache by every thread, or threads would have no sequence.
    const int threads = static_cast<int>(HostExec().concurrency());
    const long batch = static_cast<long>(states.extent(1));
    const double weight_bytes = double(cell_.unit_tiles().packed.size()) * sizeof(Real);
    const bool share = weight_bytes > (1 << 20) || (batch < threads && weight_bytes > (1 << 17));
    const RolloutShares shares = share ? RolloutShares{1, std::min(threads, cell_.unit_tiles().tiles())}
                                       : RolloutShares{static_cast<int>(std::min<long>(threads, batch)), 1};
    SpinBarrier barrier(shares.members);
    Kokkos::parallel_for("rollout",
                         Kokkos::RangePolicy<HostExec>(0, long(shares.teams) * shares.members, Kokkos::ChunkSize(1)),
                         UnitRollout<Cell>(cell_, drivers, initial, states, shares, &barrier));
    HostExec().fence();  // the barrier ends here
  }

  template <Linearization L>
  void launch(const Evaluation<Real>& args) const {
    const long items = args.map.groups * static_cast<long>(args.worst.extent(1)) * items_per_group;
    Kokkos::parallel_for("evaluate", Kokkos::RangePolicy<Exec>(0, items),
                         detail::EvaluateKernel<Cell, L>{cell_, args, scratch_});
  }

  template <Linearization L>
  BlockEvaluation blocks_of([[maybe_unused]] const Evaluation<Real>& args) const {
    if constexpr (exec_is_host) {
      return [kernel = detail::EvaluateKernel<Cell, L>{cell_, args, scratch_}](const scan::StepBlock& at) {
        using P = LanePack<Real>;
        P worst = kernel.steps(at, at.begin, 0);
        Real* const kept = &kernel.args.worst(at.group, at.begin / block_steps, 0);
        if (at.begin % block_steps != 0) worst = larger(worst, load<P>(kept));
        store<P>(kept, worst);
      };
    } else {
      throw std::logic_error("blocks of steps are evaluated on hosts");
    }
  }

  Cell cell_;
  double parameter_bytes_;
  detail::Scratch<Cell> scratch_;
  Matrix<Real> projection_work_;
};

}  // namespace elkhorn::systems
