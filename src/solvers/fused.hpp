/// An iteration in one go, block by block of steps (hosts): a thread evaluates a block of a group of lanes, runs the scan
/// through it and updates its states before it takes the next, so that residuals, Jacobians and increments never leave its
/// cache and nothing of size T·D² exists.
///
/// The next states are written beside the present ones, because whether a sequence has converged is known only when all
/// of its residuals are: those that have keep their present states. With one chunk a pass looks at the present states and
/// makes the next ones in the same sweep; with several, a first sweep looks and summarises the chunks, a second evaluates
/// again. Iterates are those of separate passes up to rounding.
#pragma once

#include <array>
#include <vector>

#include "scan/blockwise.hpp"
#include "solvers/kinds.hpp"
#include "solvers/panel_kernels.hpp"

namespace elkhorn::solvers {

/// A BlockwiseScan of any element.
class FusedScan {
 public:
  virtual ~FusedScan() = default;
  virtual bool summarises() const = 0;
  virtual void summarise(const scan::Active& active, const scan::BlockStream& stream) const = 0;
  virtual void finish(const scan::Active& active, const scan::BlockStream& stream) const = 0;
  virtual void through(const scan::StepBlock& block) const = 0;
};

/// What a march did, by slots where it is a vector.
struct Marched {
  bool stalled = false;          ///< some group gave up
  std::vector<long> fronts;      ///< settled steps
  std::vector<double> settled;   ///< the largest residual among them
  std::vector<double> residual;  ///< and of the window that was evaluated last
  std::vector<double> moved;     ///< the largest |Δs|
  std::vector<double> resets;    ///< states that the guard replaced, over all updates
  std::vector<double> worked;    ///< updates of steps
};

/// Sequences of all ranks, and of the one that has most.
struct Batch {
  long all = 1;
  long share = 1;
};

/// What the engine of a solver is chosen by: full lanes on every rank where chunks only change how sums are rounded, else
/// what one rank would take, so that iterations do not depend on ranks.
/// @param length  T   @param dim, factors  of the system   @param real_bytes  of a number   @param threads  of the rank that has fewest
scan::Job job_of(const SolverKind& kind, const deck::SolverConfig& config, long length, Batch batch, long dim,
                 long factors, int real_bytes, int threads, long time_ranks);

/// Whether iterations are fused: where they can be, and where `pass` = "auto" leaves it open where that is faster.
bool fuses(const SolverKind& kind, const deck::SolverConfig& config, const scan::Job& job, long dim, long time_ranks);

/// Whether threads can march through frames: where passes can be fused, or could be if "adaptive" did not ask for all residuals.
bool can_march(const SolverKind& kind, deck::SolverConfig config, const scan::Job& job, long dim, long time_ranks);

/// Whether finished sequences are worth dropping from fused passes: not where every thread has a group of its own. Where
/// they stay, the memory of the next states holds the answer in the end.
bool fused_drops(const scan::Choice& choice, long batch, int threads);

/// In which form a solver takes its Jacobians. Factored: fused passes of undamped dense ones through one chunk, where the
/// system offers it and nothing changes the entries. They multiply by Jacobians only.
Linearization form_of(const SolverKind& kind, const scan::Job& job, const scan::Choice& choice, bool fused);

/// Next states of more bytes are written past the caches, which would not keep them until the next iteration reads them.
inline constexpr double streamed_bytes = 4 << 20;

/// Steps of a block whose residuals and Jacobians, `components` numbers of `real_bytes` a step and lane, fit in a cache.
long fused_block_length(long components, double real_bytes);

/// The numbers a pass works on, by views of those who own them.
template <class Real>
struct FusedArrays {
  scan::Panel<Real> inputs;              ///< (group, steps, n or what projections take, lane)
  bool projected;                        ///< what inputs are
  StatePanels<Real> states;              ///< two sides
  scan::Panel<Real> residual, jacobian;  ///< (buffer, block, …, lane)
  LaneNumbers<Real> worst, moved;        ///< (group, block, lane): the largest |r| and |Δs|
  LaneNumbers<int> resets;
};

template <class Real>
class FusedPass : private scan::BlockStream {
 public:
  /// Fronts end before the first residual that is larger than one of these.
  using Tolerances = std::array<Real, 2>;

  /// @param form  of the Jacobians; with factors the pass makes increments itself, and `scan` is to be a sweep
  FusedPass(const deck::SolverConfig& config, std::shared_ptr<const systems::System<Real>> system, Linearization form,
            const Guess<Real>& guess, const Frame& frame, const scan::Active& active, const FusedArrays<Real>& arrays,
            const Tolerances& tolerances, std::unique_ptr<FusedScan> scan);

  /// After states were packed: nothing writes the states before the first steps again.
  void start();
  /// Evaluates the present states of active sequences; unless `last`, also makes or prepares their next ones.
  void look(bool last);
  /// Of all slots, as the last look found, by the `which`-th tolerance.
  std::vector<PassedSteps<Real>> fronts(std::size_t which) const;
  /// The next states become the present ones for the sequences that are active now; the others keep theirs.
  /// @param fronts steps of each slot that keep theirs, too, and that further passes leave out
  void step(const std::vector<long>& fronts);
  /// Brings all present states to side 0.
  void gather();

  /// In place of a pass, for frames of one chunk whose windows settle in a few iterations: each thread takes a group of lanes
  /// through the frame in windows of `width` steps, which stay in its first cache until they are settled. A window is a
  /// group's: it begins where all of its sequences that are active are settled. Steps settle by the rules of all windows.
  /// @param patience  updates a step of progress at which a group gives up
  Marched march(long width, double patience);

 private:
  long settled(long group) const override;
  void fill(const scan::StepBlock& block) const override;
  void look(const scan::StepBlock& block) const override;
  void take(const scan::StepBlock& block) const override;

  long settled_of(long lane) const;
  PassedSteps<Real>& passed(std::size_t which, long lane) const {
    return passed_[which * passed_.size() / tolerances_.size() + static_cast<std::size_t>(lane)];
  }
  struct Seen;
  struct GroupMarch;
  void march_group(GroupMarch& march, long group, long buffer, long width, double patience) const;
  Seen see(const scan::StepBlock& window, const long (&held)[lane_width]) const;

  void linearize(const scan::StepBlock& block) const;
  void renew(const scan::StepBlock& block) const;
  void find_fronts(const scan::StepBlock& block) const;

  deck::SolverConfig config_;
  Frame frame_;
  scan::Active active_;
  FusedArrays<Real> arrays_;
  std::unique_ptr<FusedScan> scan_;
  Update<Real> update_;
  using Evaluation = typename systems::System<Real>::BlockEvaluation;
  Evaluation differentiate_[2], value_[2];                 ///< of either side
  typename systems::System<Real>::BlockRecurrence recur_;  ///< with Jacobians in factors
  Matrix<Real> before_;                                    ///< (thread, D · lanes): the increment before a block
  std::vector<int> moving_;                                ///< sequences that the pass moves
  std::vector<Update<Real>> march_update_;                 ///< in place, of either side
  Tolerances tolerances_;
  mutable std::vector<PassedSteps<Real>>
      passed_;  ///< (tolerance, lane) of this pass; a group's lanes belong to one thread
};

extern template class FusedPass<float>;
extern template class FusedPass<double>;

}  // namespace elkhorn::solvers
