#include "measure/sampling.hpp"

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <exception>

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

std::string stop_reason(const std::vector<double>& time_s, double elapsed_s, const deck::MeasureConfig& config) {
  if (time_s.empty()) return "";
  const long n = static_cast<long>(time_s.size());
  const bool enough = n >= config.min_repetitions;
  // Sorting at every one of very many samples would cost more than they do.
  const bool look = n <= 1000 || n % 100 == 0;
  if (enough && look && median_interval(time_s).relative_width() <= config.ci_width) return "ci_width";
  if (n >= std::max(config.max_repetitions, config.min_repetitions)) return "max_repetitions";
  if (enough && elapsed_s >= config.time_limit_s) return "time_limit";
  if (time_s.back() > config.time_limit_s) return "time_limit";
  return "";
}

Samples sample(const parallel::Comm& comm, const deck::MeasureConfig& config, const std::function<void()>& solve) {
  Timer timer;
  for (long i = 0; i < config.warmup; ++i) {
    timed(comm, solve);
    if (comm.broadcast(timer.seconds()) >= config.time_limit_s) break;
  }

  Samples samples;
  samples.ranks = comm.size();
  timer.restart();
  while (samples.stopped_because.empty()) {
    const std::vector<double> of_ranks = comm.allgather(timed(comm, solve));
    samples.rank_time_s.insert(samples.rank_time_s.end(), of_ranks.begin(), of_ranks.end());
    samples.time_s.push_back(*std::max_element(of_ranks.begin(), of_ranks.end()));
    std::string reason;
    if (comm.is_root()) reason = stop_reason(samples.time_s, timer.seconds(), config);
    samples.stopped_because = comm.broadcast(std::move(reason));
  }
  samples.median = median_interval(samples.time_s);
  return samples;
}

}  // namespace elkhorn::measure
