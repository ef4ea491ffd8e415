/// What solvers know of a system: f and its linearizations over panels, and the step-by-step rollout.
///
/// A system never meets an engine or an element: it fills panels, so adding one adds no scan instantiations.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/kokkos.hpp"
#include "deck/case.hpp"
#include "parallel/split.hpp"
#include "scan/panel.hpp"
#include "systems/linearization.hpp"

namespace elkhorn::systems {

/// The arrays of one evaluation over all steps of all active lanes.
template <class Real>
struct Evaluation {
  scan::LaneMap map;
  scan::Active active;
  scan::Panel<Real> states;    ///< (group, steps + 1, D, lane): rows k, k + 1: the iterate before, after step k
  scan::Panel<Real> inputs;    ///< (group, steps, n, lane), or what System::project made of them
  scan::Panel<Real> residual;  ///< out (group, steps, D, lane): r_t = s_t − f_t(s_{t−1})
  scan::Panel<Real> jacobian;  ///< out (group, steps, D or D·D, lane); not touched for zero and identity
  /// out (group, blocks of `block_steps`, lane): the largest |r| of the block, infinity where one is not a number
  Kokkos::View<Real***, Kokkos::LayoutRight, Memory> worst;
  bool projected = false;  ///< whether inputs are projected
};

/// The arrays of a projection: drivers as far as f takes them without states, for evaluations to use many times.
template <class Real>
struct Projection {
  scan::Frame frame;
  scan::Active moving;       ///< slots whose steps are to be projected
  Rows<Real> drivers;        ///< (T, B, n)
  scan::Panel<Real> inputs;  ///< out (group, steps, projected_dim, lane)
};

/// Steps one work item of a panel kernel takes: enough to amortise its start, few enough to balance threads.
inline constexpr long block_steps = 32;
inline long blocks(long steps) { return (steps + block_steps - 1) / block_steps; }

/// Which error a system's users look at: MAD = Σ over time and `count` coordinates from `first`, divided as named.
struct ErrorMeasure {
  long first = 0;
  long count = 0;
  double divisor = 1;  ///< T·count, or the published definition
};

template <class Real>
class System {
 public:
  virtual ~System() = default;

  virtual long state_dim() const = 0;  ///< D
  virtual long input_dim() const = 0;  ///< n, numbers a driver has at each step

  /// Numbers that `project` makes of a step's drivers; 0: there is nothing to be made of them in advance.
  virtual long projected_dim() const { return 0; }
  /// Floating-point operations that an evaluation of projected inputs saves, for one step of one sequence.
  virtual double projected_flops() const { return 0; }
  /// Projects the drivers of the slots that `moving` names. Launches one kernel; fences nothing.
  virtual void project(const Projection<Real>&) const {}

  /// Fills residual, jacobian (diagonal or dense) and worst. Launches kernels; fences nothing.
  virtual void evaluate(Linearization linearization, const Evaluation<Real>& args) const = 0;

  /// The same block by block (hosts): a function that evaluates some steps of one group on the calling thread. Residual and
  /// Jacobian go to the block's rows of their panels; `worst` of the block_steps that hold it is set by their first step
  /// and raised by later ones.
  using BlockEvaluation = std::function<void(const scan::StepBlock&)>;
  virtual BlockEvaluation evaluate_blocks(Linearization linearization, const Evaluation<Real>& args) const = 0;

  /// Numbers that a step's A_t has in factors; 0: this system forms it. `evaluate_blocks` with Linearization::factored puts
  /// them where the Jacobian goes.
  virtual long factors() const { return 0; }
  /// δ_t = A_t δ_{t−1} − r_t through a block whose A_t are in factors (hosts), on the calling thread: δ_t takes the place of
  /// r_t. `before` (D, lane): δ before the block's first step, in the end δ of its last one.
  using BlockRecurrence = std::function<void(const scan::StepBlock&, Real* before)>;
  virtual BlockRecurrence recur_blocks(const Evaluation<Real>&) const {
    throw std::logic_error("a system that forms its Jacobians");
  }

  /// s_t = f(s_{t−1}, u_t) for t = 1..T: the sequential oracle. Launches one kernel; fences nothing.
  /// @param drivers  (T, B, n)   @param initial (B, D)   @param states out (T, B, D)
  virtual void rollout(const Rows<Real>& drivers, const Matrix<Real>& initial, const Rows<Real>& states) const = 0;

  /// Floating-point operations of f and what `linearization` adds, for one step of one sequence (σ, tanh: 1 each); with
  /// factors those of a step of the recurrence, too.
  virtual double flops(Linearization linearization) const = 0;

  /// Bytes of parameters.
  virtual double parameter_bytes() const = 0;

  virtual ErrorMeasure error_measure(long length) const {
    return {0, state_dim(), double(length) * double(state_dim())};
  }
};

/// A system with the data of this rank's sequences.
template <class Real>
struct Instance {
  std::shared_ptr<const System<Real>> system;
  Rows<Real> drivers;    ///< (T, B, n)
  Matrix<Real> initial;  ///< (B, D): s_0
  long length() const { return static_cast<long>(drivers.extent(0)); }
  long batch() const { return static_cast<long>(drivers.extent(1)); }
};

/// The same sequences with the steps `steps` only, drivers copied; s_0 stays that of the whole.
template <class Real>
Instance<Real> segment_of(const Instance<Real>& whole, parallel::Range steps) {
  Instance<Real> out{whole.system, {}, whole.initial};
  out.drivers = make_view<Rows<Real>>("drivers", steps.size(), whole.batch(), whole.drivers.extent(2));
  if (out.drivers.size() > 0)
    Kokkos::deep_copy(out.drivers,
                      Kokkos::subview(whole.drivers, std::make_pair(steps.begin, steps.end), Kokkos::ALL, Kokkos::ALL));
  return out;
}

/// Sizes a case has once its files are read.
struct Shape {
  long state_dim = 0;
  long input_dim = 0;
  long length = 0;
  long projected_dim = 0;  ///< of System, but for padding
  long factors = 0;        ///< of System
  double parameters = 0;   ///< numbers; 0: few
};

/// Reads the files a case names and checks them (shapes, finite values); throws InputError naming file, key and line.
Shape inspect(const deck::Case& c);

/// The system of a case with the sequences `batch` of it. Throws InputError like `inspect`.
template <class Real>
Instance<Real> make_instance(const deck::Case& c, parallel::Range batch);

}  // namespace elkhorn::systems
