#include "measure/sampling.hpp"

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <exception>
#include <utility>

#include "measure/interrupt.hpp"
#include "measure/timer.hpp"

namespace elkhorn::measure {

double timed(const parallel::Comm& comm, const std::function<void()>& solve) {
  // A fence can throw what an earlier kernel did; the barrier is reached all the same, else the others wait.
  std::exception_ptr error = parallel::caught([] { Kokkos::fence(); });
  comm.barrier();
  Timer timer;
  if (!error) {
    error = parallel::caught([&] {
      solve();
      Kokkos::fence();
    });
  }
  const double seconds = timer.seconds();
  comm.agree_or_throw(error);
  return seconds;
}

std::string StopRule::reason(const std::vector<double>& time_s, double elapsed_s) {
  if (time_s.empty()) return "";
  const long n = static_cast<long>(time_s.size());
  total_s_ += time_s.back();
  const bool least = n >= config_.min_repetitions;
  // Sorting at every one of very many samples would cost more than they do.
  const bool look = enough_ == 0 && (n <= 1000 || n % 100 == 0);
  if (look && median_interval(time_s).relative_width() <= config_.ci_width) enough_ = n + (n + 1) / 2;
  if (least && enough_ > 0 && n >= enough_ && total_s_ >= least_time_s) return "ci_width";
  if (n >= std::max(config_.max_repetitions, config_.min_repetitions)) return "max_repetitions";
  if (least && elapsed_s >= config_.time_limit_s) return "time_limit";
  if (time_s.back() > config_.time_limit_s) return "time_limit";
  return "";
}

Sampler::Sampler(const parallel::Comm& comm, const deck::MeasureConfig& config, std::function<void()> solve)
    : comm_(comm), config_(config), solve_(std::move(solve)), rule_(config) {
  samples_.ranks = comm.size();
}

void Sampler::warm_up() {
  const Timer timer;
  for (long i = 0; i < config_.warmup; ++i) {
    stop_if_asked(comm_, last_s_);
    last_s_ = timed(comm_, solve_);
    if (i == 0) samples_.first_s = comm_.max(last_s_);
    if (comm_.broadcast(timer.seconds()) >= config_.time_limit_s) break;
  }
}

void Sampler::take() {
  const Timer timer;  // agreeing counts: with short solves on a busy machine it takes longer than they do
  stop_if_asked(comm_, last_s_);
  const std::vector<double> of_ranks = comm_.allgather(timed(comm_, solve_));
  last_s_ = *std::max_element(of_ranks.begin(), of_ranks.end());
  if (samples_.time_s.empty() && config_.warmup == 0) samples_.first_s = last_s_;
  samples_.rank_time_s.insert(samples_.rank_time_s.end(), of_ranks.begin(), of_ranks.end());
  samples_.time_s.push_back(last_s_);
  std::string reason;
  if (comm_.is_root()) reason = rule_.reason(samples_.time_s, spent_s_ + timer.seconds());
  samples_.stopped_because = comm_.broadcast(std::move(reason));
  spent_s_ += timer.seconds();
  if (finished()) samples_.median = median_interval(samples_.time_s);
}

Samples sample(const parallel::Comm& comm, const deck::MeasureConfig& config, const std::function<void()>& solve) {
  Sampler sampler(comm, config, solve);
  sampler.warm_up();
  while (!sampler.finished()) sampler.take();
  return sampler.samples();
}

}  // namespace elkhorn::measure
