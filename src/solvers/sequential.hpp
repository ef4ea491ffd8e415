/// The sequential oracle as a solver: s_t = f(s_{t−1}, u_t), step by step, parallel over sequences only. The ranks of a
/// time line work one after the other.
#pragma once

#include "parallel/transfer.hpp"
#include "solvers/solver.hpp"

namespace elkhorn::solvers {

/// Rolls this rank's steps out from where the rank before ends. Collective over the time line. Fences before it returns.
/// @param states out (steps of this rank, B, D)
template <class Real>
void roll_out(const systems::Instance<Real>& instance, const parallel::TimeLine& line, const Rows<Real>& states) {
  Matrix<Real> initial = instance.initial;
  if (line.has_previous()) {
    initial = make_view<Matrix<Real>>("incoming state", initial.extent(0), initial.extent(1));
    parallel::Arrival<Matrix<Real>>(line, initial).wait();
  }
  instance.system->rollout(instance.drivers, initial, states);
  Exec().fence();
  if (!line.has_next() || states.extent(0) == 0) return;
  const auto last = Kokkos::subview(states, states.extent(0) - 1, Kokkos::ALL, Kokkos::ALL);
  const auto outgoing = make_view<Matrix<Real>>("outgoing state", states.extent(1), states.extent(2));
  Kokkos::deep_copy(outgoing, last);
  parallel::Departure<Matrix<Real>>(line, outgoing).wait();
}

template <class Real>
class Sequential : public Solver<Real> {
 public:
  Sequential(const systems::Instance<Real>& instance, const parallel::TimeLine& line)
      : instance_(instance),
        line_(line),
        answer_(make_view<Rows<Real>>("answer", instance.length(), instance.batch(), instance.system->state_dim())) {}

  Outcome solve(Recording<Real>*) override {
    const parallel::Traffic before = line_.traffic();
    roll_out(instance_, line_, answer_);
    const parallel::Traffic sent = line_.traffic() - before;
    const std::size_t batch = static_cast<std::size_t>(instance_.batch());
    return {std::vector<long>(batch, 1),
            std::vector<double>(batch, 0.0),
            std::vector<char>(batch, 1),
            std::vector<char>(batch, 0),
            std::vector<double>(batch, 1.0),
            sent,
            sent.seconds};
  }
  const Rows<Real>& states() const override { return answer_; }
  std::string scan() const override { return ""; }
  double flops(double) const override { return rows() * instance_.system->flops(systems::Linearization::zero); }
  double bytes(double) const override {
    return sizeof(Real) * rows() * double(instance_.system->state_dim() + instance_.system->input_dim());
  }

 private:
  double rows() const { return double(instance_.length()) * double(instance_.batch()); }

  systems::Instance<Real> instance_;
  parallel::TimeLine line_;
  Rows<Real> answer_;
};

}  // namespace elkhorn::solvers
