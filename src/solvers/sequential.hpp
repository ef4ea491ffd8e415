/// The sequential oracle as a solver: s_t = f(s_{t−1}, u_t), step by step, parallel over sequences only.
#pragma once

#include "solvers/solver.hpp"

namespace elkhorn::solvers {

template <class Real>
class Sequential : public Solver<Real> {
 public:
  explicit Sequential(const systems::Instance<Real>& instance)
      : instance_(instance),
        answer_(make_view<Rows<Real>>("answer", instance.length(), instance.batch(), instance.system->state_dim())) {}

  Outcome solve(Recording<Real>*) override {
    instance_.system->rollout(instance_.drivers, instance_.initial, answer_);
    Exec().fence();
    const std::size_t batch = static_cast<std::size_t>(instance_.batch());
    return {std::vector<long>(batch, 1), std::vector<double>(batch, 0.0), std::vector<char>(batch, 1),
            std::vector<char>(batch, 0), std::vector<double>(batch, 1.0)};
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
  Rows<Real> answer_;
};

}  // namespace elkhorn::solvers
