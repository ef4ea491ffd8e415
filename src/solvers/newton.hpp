/// The one iteration loop of all parallel-in-time solvers, in increment form:
///
///   evaluate r_t = s_t − f_t(s_{t−1}) and A_t → stop test, which belongs to the state before the step
///   → δ_t by a scan over (A_t, −r_t), affine or Kalman → s ← s + δ with the guard → repeat
///
/// Solvers differ in the linearization that stands for A_t and in the damping, which picks the scan's element.
/// Source: Lim et al. arXiv 2309.12252 (DEER), Gonzalez et al. arXiv 2407.19115 (quasi-DEER, ELK).
#pragma once

#include <functional>

#include "solvers/fused.hpp"
#include "solvers/kinds.hpp"
#include "solvers/panel_kernels.hpp"
#include "solvers/shares.hpp"
#include "solvers/solver.hpp"
#include "solvers/trust.hpp"
#include "solvers/windows.hpp"

namespace elkhorn::solvers {

/// Solves for the increments of one iteration in place of the residuals.
template <class Real>
class IncrementScan {
 public:
  virtual ~IncrementScan() = default;
  virtual void run(const scan::Active& active) const = 0;
};

/// What windows are sized by.
struct WindowCost {
  long dim, inputs;        ///< D, and numbers that a frame holds of a step's inputs
  double real_bytes;       ///< of a number
  double parameter_bytes;  ///< that an iteration reads
  double step_flops;       ///< operations of an iteration for one step of one sequence
  long batch;              ///< sequences of all ranks
  int threads;
  bool fused;
};
WindowModel window_model(const SolverKind& kind, const deck::SolverConfig& config, const WindowCost& cost);

template <class Real>
class Newton : public Solver<Real> {
 public:
  Newton(const SolverKind& kind, const systems::Instance<Real>& instance, const Setup<Real>& setup);

  Outcome solve(Recording<Real>* recording) override;
  const Rows<Real>& states() const override { return answer_; }
  std::string scan() const override { return choice_.text(); }
  std::string pass() const override { return fuses_ ? "fused" : "separate"; }
  double flops(double passes) const override;
  double bytes(double passes) const override;

 private:
  struct Status;  ///< of the sequences during a solve
  struct Stopwatch;
  /// Σ |s − oracle| of a sequence's steps that its window does not hold.
  struct Outside {
    long settled = 0;    ///< steps that a window has left behind
    long horizon = 0;    ///< steps that a window has ever reached
    double behind = 0;   ///< of the settled ones
    double between = 0;  ///< of those from the window to the horizon
    double beyond = 0;   ///< of the guess from there on
  };

  long slots() const { return static_cast<long>(windows_.slots().size()); }
  long sequence(long slot) const { return windows_.slots()[static_cast<std::size_t>(slot)].sequence; }

  void start();
  void lay_out();
  long input_numbers() const;
  Linearization form() const;
  long jacobian_numbers() const;
  double evaluation_flops(Linearization form) const;
  scan::Choice choose_scan(long width = 0) const;
  WindowModel sized_windows() const;
  void allocate(const scan::LaneMap& map);
  std::unique_ptr<FusedPass<Real>> make_fused(Linearization form, const scan::TrustRegion<Real>& region,
                                              long block_length) const;
  void place_slots();
  void select(const std::vector<char>& slots, const scan::Active& active);
  void pack(const std::vector<char>& slots);
  void unpack(const std::vector<char>& slots);
  void pass_on_states();
  void evaluate(bool last);
  std::vector<double> find_fronts(std::vector<double> residual);
  parallel::Range held(const Windows::Slot& slot) const;
  std::vector<long> window_ends() const;
  typename Shares<Real>::Kept kept() const;
  void touch();
  std::vector<double> agree_on_fronts(std::vector<double> residual, std::vector<long>& passed,
                                      std::vector<long>* far = nullptr) const;
  std::vector<long> of_this_rank(const std::vector<long>& steps) const;
  void find_window_fronts(std::vector<double>& residual);
  void find_exact_fronts(std::vector<double>& residual);
  void settle();
  void advance();
  void move_windows(Status& status, Recording<Real>* recording, Stopwatch& watch);
  void march(Status& status, long iteration);
  void report_progress(const Status& status) const;
  void finish();
  void compare_outside(const Recording<Real>& recording, const Windows::Slot& window);
  double outside(const Recording<Real>& recording, long sequence, long begin, long end);
  void record_mad(const Status& status, long iteration, Recording<Real>& recording);
  std::vector<double> steps_worked(const std::vector<char>& active) const;
  std::vector<double> largest(const LaneNumbers<Real>& numbers);
  double scan_flops(Linearization form, bool summarised) const;

  SolverKind kind_;
  systems::Instance<Real> instance_;
  deck::SolverConfig config_;
  parallel::TimeLine line_;  ///< whole sequences
  parallel::TimeLine span_;  ///< what the frame holds of them: a window, or all steps
  Batch batch_;
  int threads_;
  std::function<void(double)> progress_;
  bool windowed_;
  bool settles_;     ///< whether settled steps are left out
  scan::Job job_;    ///< what engines are chosen by
  bool fuses_;       ///< whether iterations are fused
  bool marches_;     ///< whether automatic windows may march
  bool projects_;    ///< whether windows hold projected inputs
  bool drops_;       ///< whether finished sequences leave the frame
  bool shares_out_;  ///< whether ranks share windows
  long max_iterations_;
  Windows windows_;
  scan::Choice choice_;
  Frame frame_;          ///< where slots are in drivers and answers, or in this rank's shares of windows
  Frame frame_in_time_;  ///< the same with times and sequences as they are
  Iterate<Real> iterate_;
  Shares<Real> shares_;
  Rows<Real> oracle_;             ///< while recording
  parallel::Traffic moves_;       ///< of windows
  Vector<long> touched_;          ///< of iterate_, on this rank
  std::vector<long> touched_to_;  ///< steps of each sequence that windows have ever held
  std::vector<long> reached_;     ///< steps of each sequence whose residual passed at the last evaluation
  std::vector<Outside> outside_;  ///< of each sequence, while recording
  std::vector<long> front_;       ///< settled steps of each slot's window that are on this rank, or of its segment
  std::vector<long> next_front_;  ///< of the next pass, where iterations are fused
  std::vector<long> passed_;      ///< settled steps of each slot's window, or of all segments together
  std::vector<double> settled_;   ///< the largest residual among those on this rank

  StatePanels<Real> states_;
  scan::Panel<Real> inputs_, residual_, jacobian_;  ///< the last two of one block a thread where iterations are fused
  LaneNumbers<Real> worst_, moved_;                 ///< residuals and increments
  LaneNumbers<int> resets_;
  Matrix<Real> last_state_,
      state_before_;  ///< (slot, D): between two ranks of the time line; empty: there is no such rank
  Vector<Real> lane_numbers_, slot_settled_;
  Vector<PassedSteps<Real>> slot_passed_;  ///< (2 · slots): by either tolerance of a window
  Vector<long> slot_front_, lengths_;      ///< steps settled by the last evaluation; steps held
  scan::Active active_, moving_;           ///< slots
  Trust<Real> trust_;
  std::unique_ptr<IncrementScan<Real>> scan_;  ///< of separate passes
  std::unique_ptr<FusedPass<Real>> fused_;     ///< or nothing
  std::unique_ptr<FusedPass<Real>> march_;     ///< marches where passes are separate, or nothing
  struct {
    Reserve<Real> states, inputs, residual, jacobian;
    Reserve<Real> next;  ///< side 1 of the states, and the answer where sequences stay in the frame
  } reserves_;
  Rows<Real> answer_;
};

}  // namespace elkhorn::solvers
