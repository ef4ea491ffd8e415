/// The one iteration loop of all parallel-in-time solvers, in increment form:
///
///   evaluate r_t = s_t − f_t(s_{t−1}) and A_t → stop test, which belongs to the state before the step
///   → δ_t by a scan over (A_t, −r_t), affine or Kalman → s ← s + δ with the guard → repeat
///
/// Solvers differ in the linearization that stands for A_t and in the damping, which picks the scan's element.
/// Source: Lim et al. arXiv 2309.12252 (DEER), Gonzalez et al. arXiv 2407.19115 (quasi-DEER, ELK).
#pragma once

#include "solvers/kinds.hpp"
#include "solvers/panel_kernels.hpp"
#include "solvers/solver.hpp"

namespace elkhorn::solvers {

/// Solves for the increments of one iteration in place of the residuals.
template <class Real>
class IncrementScan {
 public:
  virtual ~IncrementScan() = default;
  virtual void run(const scan::Active& active) const = 0;
  virtual double bytes() const = 0;
};

template <class Real>
class Newton : public Solver<Real> {
 public:
  /// States larger than this in magnitude count as overflow (the published implementation clips there).
  static constexpr double overflow = 1e8;

  Newton(const SolverKind& kind, const systems::Instance<Real>& instance, const Setup<Real>& setup);

  Outcome solve(Recording<Real>* recording) override;
  const Rows<Real>& states() const override { return answer_; }
  std::string scan() const override { return choice_.text(); }
  double flops(double iterations) const override;
  double bytes(double iterations) const override;

 private:
  struct Status;  ///< of the sequences during a solve

  void start();
  void evaluate(systems::Linearization linearization);
  void update();
  void finish();
  void record_mad(const Status& status, long iteration, Recording<Real>& recording);
  std::vector<double> largest(const LaneNumbers<Real>& numbers);

  SolverKind kind_;
  systems::Instance<Real> instance_;
  deck::SolverConfig config_;
  long max_iterations_;
  scan::Choice choice_;
  scan::LaneMap map_;
  Guess<Real> guess_;

  scan::Panel<Real> states_, inputs_, residual_, jacobian_;
  LaneNumbers<Real> worst_;
  LaneNumbers<int> resets_;
  Vector<Real> lane_numbers_;
  scan::Active active_;
  std::unique_ptr<IncrementScan<Real>> scan_;
  Rows<Real> answer_;
};

}  // namespace elkhorn::solvers
