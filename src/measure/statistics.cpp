#include "measure/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>

namespace elkhorn::measure {

namespace {

/// The largest k ≥ 1 with 2 P(Bin(n, 1/2) ≤ k-1) ≤ 1 - confidence, and that coverage; k = 0 where there is none.
struct Order {
  long k = 0;
  double coverage = std::numeric_limits<double>::quiet_NaN();
};

Order order_of_interval(long n, double confidence) {
  Order order;
  double tail = 0;  // P(Bin(n, 1/2) ≤ i)
  for (long i = 0; 2 * (i + 1) <= n; ++i) {
    // Logarithms: 2^-n is no double beyond n = 1074.
    tail += std::exp(std::lgamma(n + 1.0) - std::lgamma(i + 1.0) - std::lgamma(n - i + 1.0) - n * std::log(2.0));
    if (1 - 2 * tail < confidence) break;
    order = {i + 1, 1 - 2 * tail};
  }
  return order;
}

}  // namespace

double MedianInterval::relative_width() const {
  if (!has_interval()) return std::numeric_limits<double>::infinity();
  if (low == high) return 0;
  return (high - low) / median;
}

MedianInterval median_interval(std::vector<double> samples, double confidence) {
  if (!(confidence > 0 && confidence < 1))
    throw std::invalid_argument("median_interval: the confidence must lie between 0 and 1");
  if (std::any_of(samples.begin(), samples.end(), [](double x) { return std::isnan(x); }))
    throw std::invalid_argument("median_interval: a sample is NaN");
  MedianInterval out;
  out.n = static_cast<long>(samples.size());
  if (samples.empty()) return out;
  std::sort(samples.begin(), samples.end());
  const std::size_t n = samples.size();
  out.min = samples.front();
  out.max = samples.back();
  out.median = n % 2 == 1 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2;
  const Order order = order_of_interval(out.n, confidence);
  if (order.k > 0) {
    out.low = samples[static_cast<std::size_t>(order.k - 1)];
    out.high = samples[n - static_cast<std::size_t>(order.k)];
    out.coverage = order.coverage;
  }
  return out;
}

}  // namespace elkhorn::measure
