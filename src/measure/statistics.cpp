#include "measure/statistics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <stdexcept>
#include <string>

namespace elkhorn::measure {

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// P(Bin(n, 1/2) = i); by logarithms, as 2^-n is no double beyond n = 1074.
double binomial(long n, long i) {
  return std::exp(std::lgamma(n + 1.0) - std::lgamma(i + 1.0) - std::lgamma(n - i + 1.0) - n * std::log(2.0));
}

/// The interval goes from x_(low) to the point at `inward` of the way from x_(high) to x_(high - 1), or, where `mirrored`,
/// from the point at `inward` of the way from x_(low) to x_(low + 1) to x_(high). Orders count from 1.
struct Orders {
  long low = 0, high = 0;
  bool mirrored = false;
  double inward = 0;
  double outer = not_a_number, inner = not_a_number;  ///< coverage without the move, and with all of it
};

/// low = 0 where no interval of n samples covers that much.
Orders orders_of_interval(long n, double confidence) {
  Orders o;
  double coverage = 1;
  for (long k = 1; 2 * k <= n; ++k) {
    const double next = coverage - 2 * binomial(n, k - 1);  // of [x_(k), x_(n+1-k)]
    if (next < confidence) break;
    coverage = next;
    o.low = k;
    o.high = n + 1 - k;
  }
  if (o.low == 0) return o;
  const double step = binomial(n, o.low);  // what is lost where one end moves in by one
  o.outer = coverage;
  if (2 * o.low >= n) {
    o.inner = coverage;
    return o;
  }
  if (o.outer - step > confidence) {  // the upper end moves in whole, and the lower one in part
    o.outer -= step;
    --o.high;
    o.mirrored = true;
  }
  o.inner = o.outer - step;
  const double share = (o.outer - confidence) / step;
  const auto k = static_cast<double>(o.low), all = static_cast<double>(n);
  o.inward = (all - k) * share / (k + (all - 2 * k) * share);
  return o;
}

double median_of_sorted(const std::vector<double>& x) {
  const std::size_t n = x.size();
  return n % 2 == 1 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/// Of unsorted numbers, at least one.
double median_of(std::vector<double>& x) {
  const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
  std::nth_element(x.begin(), middle, x.end());
  if (x.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(x.begin(), middle)) / 2;
}

void require_numbers(const std::vector<double>& samples, const char* function) {
  if (std::any_of(samples.begin(), samples.end(), [](double x) { return std::isnan(x); }))
    throw std::invalid_argument(std::string(function) + ": a sample is NaN");
}

double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  if (below + 1 >= sorted.size()) return sorted.back();
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[below + 1] - sorted[below]);
}

/// At most 1000 numbers, means of blocks of equal length; a rest shorter than a block is left out.
std::vector<double> shortened(const std::vector<double>& samples) {
  const std::size_t block = (samples.size() + 999) / 1000;
  if (block <= 1) return samples;
  std::vector<double> means;
  for (std::size_t i = 0; i + block <= samples.size(); i += block) {
    const auto first = samples.begin() + static_cast<std::ptrdiff_t>(i);
    means.push_back(std::accumulate(first, first + static_cast<std::ptrdiff_t>(block), 0.0) /
                    static_cast<double>(block));
  }
  return means;
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
  require_numbers(samples, "median_interval");
  MedianInterval out;
  out.n = static_cast<long>(samples.size());
  if (samples.empty()) return out;
  std::sort(samples.begin(), samples.end());
  out.min = samples.front();
  out.max = samples.back();
  out.median = median_of_sorted(samples);
  const Orders o = orders_of_interval(out.n, confidence);
  if (o.low == 0) return out;
  const auto x = [&](long order) { return samples[static_cast<std::size_t>(order - 1)]; };
  const auto between = [&](long from, long to) {
    return o.inward == 0 || x(from) == x(to) ? x(from) : x(from) + o.inward * (x(to) - x(from));
  };
  out.low = o.mirrored ? between(o.low, o.low + 1) : x(o.low);
  out.high = o.mirrored ? x(o.high) : between(o.high, o.high - 1);
  out.coverage_least = o.inner;
  out.coverage_most = o.outer;
  return out;
}

Spread spread(std::vector<double> samples) {
  require_numbers(samples, "spread");
  Spread out;
  if (samples.empty()) return out;
  std::sort(samples.begin(), samples.end());
  out.q1 = quantile(samples, 0.25);
  out.q3 = quantile(samples, 0.75);
  const double reach = 1.5 * (out.q3 - out.q1), median = median_of_sorted(samples);
  out.outliers =
      std::count_if(samples.begin(), samples.end(), [&](double x) { return x < out.q1 - reach || x > out.q3 + reach; });
  for (double& x : samples) x = std::abs(x - median);
  out.mad = median_of(samples);
  return out;
}

Drift drift(const std::vector<double>& samples) {
  require_numbers(samples, "drift");
  Drift out;
  if (static_cast<long>(samples.size()) < fewest_for_shape) return out;
  const std::vector<double> x = shortened(samples);
  const auto n = static_cast<double>(x.size());
  std::vector<double> slopes;
  slopes.reserve(x.size() * (x.size() - 1) / 2);
  double concordance = 0;  // Kendall's S
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = i + 1; j < x.size(); ++j) {
      concordance += x[j] > x[i] ? 1 : x[j] < x[i] ? -1 : 0;
      slopes.push_back((x[j] - x[i]) / static_cast<double>(j - i));
    }
  std::vector<double> sorted = x;
  std::sort(sorted.begin(), sorted.end());
  double variance = n * (n - 1) * (2 * n + 5);
  for (std::size_t i = 0; i < sorted.size();) {  // ties
    const auto run = std::upper_bound(sorted.begin(), sorted.end(), sorted[i]) - sorted.begin();
    const double t = static_cast<double>(run) - static_cast<double>(i);
    variance -= t * (t - 1) * (2 * t + 5);
    i = static_cast<std::size_t>(run);
  }
  variance /= 18;
  const double median = median_of_sorted(sorted);
  out.relative = median == 0 ? 0 : median_of(slopes) * (n - 1) / median;
  out.p = variance <= 0 ? 1 : std::erfc(std::max(std::abs(concordance) - 1, 0.0) / std::sqrt(2 * variance));
  return out;
}

namespace {

/// dip × 2n of sorted numbers that are not all equal. Orders count from 1, as in AS 217.
double dip_times_2n(const std::vector<double>& sorted) {
  const auto n = static_cast<long>(sorted.size());
  const auto x = [&](long order) { return sorted[static_cast<std::size_t>(order - 1)]; };
  // Vertices of the greatest convex minorant of x_1..x_j before j, and of the least concave majorant of x_k..x_n after k.
  std::vector<long> minorant(static_cast<std::size_t>(n + 1)), majorant(static_cast<std::size_t>(n + 1));
  const auto before = [&](long j) -> long& { return minorant[static_cast<std::size_t>(j)]; };
  const auto after = [&](long k) -> long& { return majorant[static_cast<std::size_t>(k)]; };
  before(1) = 1;
  for (long j = 2; j <= n; ++j) {
    before(j) = j - 1;
    for (;;) {
      const long a = before(j), b = before(a);
      if (a == 1 || (x(j) - x(a)) * double(a - b) < (x(a) - x(b)) * double(j - a)) break;
      before(j) = b;
    }
  }
  after(n) = n;
  for (long k = n - 1; k >= 1; --k) {
    after(k) = k + 1;
    for (;;) {
      const long a = after(k), b = after(a);
      if (a == n || (x(k) - x(a)) * double(a - b) < (x(a) - x(b)) * double(k - a)) break;
      after(k) = b;
    }
  }

  long low = 1, high = n;  // the modal interval
  double dip = 1;
  for (;;) {
    std::vector<long> convex{high}, concave{low};  // vertices, from above and from below
    while (convex.back() > low) convex.push_back(before(convex.back()));
    while (concave.back() < high) concave.push_back(after(concave.back()));
    const auto convex_at = [&](long i) { return convex[static_cast<std::size_t>(i - 1)]; };
    const auto concave_at = [&](long i) { return concave[static_cast<std::size_t>(i - 1)]; };
    const long last_convex = static_cast<long>(convex.size()), last_concave = static_cast<long>(concave.size());
    long ig = last_convex, ih = last_concave, ix = ig - 1, iv = 2;

    // The largest distance between the two within the modal interval.
    double distance = 0;
    if (last_convex != 2 || last_concave != 2) {
      do {
        const long g = convex_at(ix), l = concave_at(iv);
        if (g > l) {
          const long g1 = convex_at(ix + 1);
          const double d = double(l - g1 + 1) - (x(l) - x(g1)) * double(g - g1) / (x(g) - x(g1));
          ++iv;
          if (d >= distance) {
            distance = d;
            ig = ix + 1;
            ih = iv - 1;
          }
        } else {
          const long l1 = concave_at(iv - 1);
          const double d = (x(g) - x(l1)) * double(l - l1) / (x(l) - x(l1)) - double(g - l1 - 1);
          --ix;
          if (d >= distance) {
            distance = d;
            ig = ix + 1;
            ih = iv;
          }
        }
        ix = std::max(ix, 1L);
        iv = std::min(iv, last_concave);
      } while (convex_at(ix) != concave_at(iv));
    } else {
      distance = 1;
    }
    if (distance < dip) break;

    // How far the distribution is from the minorant below the new interval, and from the majorant above it.
    double worst = 0;
    const auto look = [&](long begin, long end, double sign) {
      double most = 1;
      if (end - begin > 1 && x(end) != x(begin)) {
        const double slope = double(end - begin) / (x(end) - x(begin));
        for (long i = begin; i <= end; ++i)
          most = std::max(most, sign * (double(i - begin) - (x(i) - x(begin)) * slope) + 1);
      }
      worst = std::max(worst, most);
    };
    for (long j = ig; j < last_convex; ++j) look(convex_at(j + 1), convex_at(j), 1);
    for (long j = ih; j < last_concave; ++j) look(concave_at(j), concave_at(j + 1), -1);
    dip = std::max(dip, worst);
    if (low == convex_at(ig) && high == concave_at(ih)) break;
    low = convex_at(ig);
    high = concave_at(ih);
  }
  return dip;
}

/// 99 % quantile of √n dip of n uniform numbers, which tests/measure/test_statistics.cpp simulates again.
double critical_dip(double n) {
  struct Row {
    double n, quantile;
  };
  static constexpr std::array<Row, 9> table = {{{10, 0.503},
                                                {12, 0.513},
                                                {15, 0.523},
                                                {20, 0.539},
                                                {30, 0.561},
                                                {50, 0.575},
                                                {100, 0.592},
                                                {500, 0.616},
                                                {1000, 0.625}}};
  const auto above = std::find_if(table.begin(), table.end(), [n](const Row& row) { return row.n >= n; });
  if (above == table.begin()) return above->quantile;
  if (above == table.end()) return table.back().quantile;
  const Row below = *(above - 1);
  const double share = std::log(n / below.n) / std::log(above->n / below.n);
  return below.quantile + share * (above->quantile - below.quantile);
}

}  // namespace

Dip dip(std::vector<double> samples) {
  require_numbers(samples, "dip");
  Dip out;
  if (static_cast<long>(samples.size()) < fewest_for_shape) return out;
  std::sort(samples.begin(), samples.end());
  const auto n = static_cast<double>(samples.size());
  out.dip = samples.front() == samples.back() ? 0 : dip_times_2n(samples) / (2 * n);
  out.bimodal = std::sqrt(n) * out.dip > critical_dip(n);
  return out;
}

}  // namespace elkhorn::measure
