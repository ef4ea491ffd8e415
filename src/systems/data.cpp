#include "systems/data.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace elkhorn::systems {

namespace {

bool fits(const std::vector<long>& shape, const std::vector<long>& wanted) {
  if (shape.size() != wanted.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (wanted[i] >= 0 && shape[i] != wanted[i]) return false;
  return true;
}

std::string wanted_text(const std::vector<long>& wanted) {
  std::string out = "[";
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (i > 0) out += ", ";
    out += wanted[i] < 0 ? "any" : std::to_string(wanted[i]);
  }
  return out + "]";
}

/// Numbers of a case must also stay finite in its precision.
void require_range(const deck::Case& c, const Array& a, const std::string& reference, const std::string& key,
                   long first_row = 0) {
  if (c.precision == deck::Precision::float64) return;
  const auto overflows = [](double x) { return std::isinf(static_cast<float>(x)); };
  const auto bad = std::find_if(a.values.begin(), a.values.end(), overflows);
  if (bad == a.values.end()) return;
  throw InputError(
      c.origin(key),
      fmt::format("{} holds {} at index {}, which float32 cannot hold (its largest number is 3.4e38); "
                  "scale the numbers, or set measure.precision = \"float64\"",
                  reference, *bad, record::index_text(a.shape, static_cast<long>(bad - a.values.begin()), first_row)));
}

Array read_numbers(const deck::Case& c, const std::string& reference, const std::string& key,
                   const std::vector<int>& ranks = {}) {
  Array a = read_reference(reference, c.origin(key), ranks);
  require_range(c, a, reference, key);
  return a;
}

/// The drivers of a case in a file, read in pieces.
class DriverFile {
 public:
  DriverFile(const deck::Case& c, long inputs, long extra) : case_(c), file_(c.drivers, c.origin(key), {1, 2, 3}) {
    // (T), (T, n) and (T, B, n) to (T, B or 1, n)
    const std::vector<long>& shape = file_.shape();
    steps = shape[0];
    sequences = shape.size() == 3 ? shape[1] : 1;
    const long numbers = shape.size() == 1 ? 1 : shape.back();
    if (numbers != inputs)
      throw InputError(c.origin(key),
                       fmt::format("{} holds {} numbers a step, the system takes {}", c.drivers, numbers, inputs));
    if (sequences != 1 && sequences != c.batch)
      throw InputError(c.origin(key),
                       fmt::format("{} holds {} sequences, problem.batch is {}", c.drivers, sequences, c.batch));
    if (c.length > 0 && steps < c.length + extra)
      throw InputError(c.origin(key), fmt::format("{} holds {} steps, problem.length = {} needs {}", c.drivers, steps,
                                                  c.length, c.length + extra));
    if (steps <= extra) throw InputError(c.origin(key), fmt::format("{} holds no steps", c.drivers));
  }
  /// piece(first step, numbers) until step `end`, all of them finite.
  template <class Piece>
  void in_pieces(long end, const Piece& piece) const {
    file_.in_pieces(0, end, [&](long first, const Array& rows) {
      require_range(case_, rows, case_.drivers, key, first);
      piece(first, rows);
    });
  }

  long steps = 0, sequences = 1;

 private:
  static constexpr const char* key = "problem.drivers";
  const deck::Case& case_;
  ArrayFile file_;
};

Array read_initial_state(const deck::Case& c, long dim) {
  const std::string key = "problem.initial_state";
  Array a = read_numbers(c, c.initial_state, key, {1, 2});
  if (a.shape.size() == 1) a.shape = {1, a.shape[0]};
  if (a.shape[1] != dim)
    throw InputError(c.origin(key),
                     fmt::format("{} holds {} numbers a state, the system has {}", c.initial_state, a.shape[1], dim));
  if (a.shape[0] != 1 && a.shape[0] != c.batch)
    throw InputError(c.origin(key),
                     fmt::format("{} holds {} sequences, problem.batch is {}", c.initial_state, a.shape[0], c.batch));
  return a;
}

}  // namespace

bool has_weights(const deck::Case& c, const std::string& name) {
  const Origin origin = c.origin("system.weights");
  return has_array(member(c.weights, name, origin), origin);
}

Array read_weights(const deck::Case& c, const std::string& name, const std::vector<long>& shape) {
  const Origin origin = c.origin("system.weights");
  const std::string reference = member(c.weights, name, origin);
  Array a = read_numbers(c, reference, "system.weights");
  if (!fits(a.shape, shape))
    throw InputError(origin, fmt::format("{} has shape {}, expected {}", reference, record::shape_text(a.shape),
                                         wanted_text(shape)));
  return a;
}

Array read_weights_or_zeros(const deck::Case& c, const std::string& name, const std::vector<long>& shape) {
  if (has_weights(c, name)) return read_weights(c, name, shape);
  long count = 1;
  for (const long extent : shape) count *= extent;
  return {shape, std::vector<double>(static_cast<std::size_t>(count), 0.0)};
}

std::vector<double> random_orthogonal(long n, std::uint64_t seed, std::uint64_t offset) {
  std::vector<double> q(static_cast<std::size_t>(n * n));
  for (std::size_t i = 0; i < q.size(); ++i) q[i] = random_normal(seed, Stream::weights, offset + i);
  // Gram–Schmidt, twice for orthogonality to rounding; rows of normal numbers make it uniform over rotations.
  for (long i = 0; i < n; ++i) {
    double* const row = &q[static_cast<std::size_t>(i * n)];
    for (int pass = 0; pass < 2; ++pass) {
      for (long j = 0; j < i; ++j) {
        const double* const other = &q[static_cast<std::size_t>(j * n)];
        double dot = 0;
        for (long k = 0; k < n; ++k) dot += row[k] * other[k];
        for (long k = 0; k < n; ++k) row[k] -= dot * other[k];
      }
      double norm = 0;
      for (long k = 0; k < n; ++k) norm += row[k] * row[k];
      norm = std::sqrt(norm);
      for (long k = 0; k < n; ++k) row[k] /= norm;
    }
  }
  return q;
}

std::vector<double> random_lecun_normal(long count, long fan_in, std::uint64_t seed, std::uint64_t offset) {
  // A normal number truncated to ±2 has this standard deviation; dividing by it restores the variance.
  constexpr double truncated_deviation = 0.87962566103423978;
  const double scale = std::sqrt(1.0 / static_cast<double>(fan_in)) / truncated_deviation;
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    double x = 3;
    // each number has its own block of candidates, so that it depends on nothing drawn before
    for (std::uint64_t candidate = 0; std::fabs(x) > 2; ++candidate)
      x = random_normal(seed, Stream::weights, (offset + i) * 64 + candidate);
    values[i] = scale * x;
  }
  return values;
}

long driver_steps(const deck::Case& c, long inputs, long extra) {
  if (!names_file(c.drivers) && c.length <= 0)
    throw InputError(c.origin("problem.length"), "is missing; write the number of steps, or name drivers in a file");
  const long in_file = names_file(c.drivers) ? DriverFile(c, inputs, extra).steps : 0;
  return c.length > 0 ? c.length + extra : in_file;
}

long inspect_drivers(const deck::Case& c, long inputs, long extra) {
  if (names_file(c.drivers)) {
    const DriverFile file(c, inputs, extra);
    file.in_pieces(file.steps, [](long, const Array&) {});
  }
  return driver_steps(c, inputs, extra);
}

template <class Real>
Rows<Real> make_drivers(const deck::Case& c, long steps, long inputs, parallel::Range batch) {
  const auto drivers = make_view<Rows<Real>>("drivers", steps, batch.size(), inputs);
  const auto host = Kokkos::create_mirror_view(drivers);
  using Each = Kokkos::RangePolicy<HostExec>;
  if (names_file(c.drivers)) {
    const DriverFile file(c, inputs, 0);
    file.in_pieces(steps, [&](long first, const Array& rows) {
      for (long t = first; t < first + rows.shape[0]; ++t)
        for (long b = batch.begin; b < batch.end; ++b)
          for (long i = 0; i < inputs; ++i)
            host(t, b - batch.begin, i) = static_cast<Real>(rows.values[static_cast<std::size_t>(
                ((t - first) * file.sequences + (file.sequences == 1 ? 0 : b)) * inputs + i)]);
    });
  } else {
    const std::uint64_t seed = c.seed;
    const long all = c.batch, n = inputs;
    Kokkos::parallel_for("random drivers", Each(0, steps), [=](const long t) {
      for (long b = batch.begin; b < batch.end; ++b)
        for (long i = 0; i < n; ++i)
          host(t, b - batch.begin, i) = static_cast<Real>(
              random_normal(seed, Stream::drivers, static_cast<std::uint64_t>((t * all + b) * n + i)));
    });
    HostExec().fence();
  }
  Kokkos::deep_copy(drivers, host);
  return drivers;
}

void inspect_initial_state(const deck::Case& c, long dim) {
  if (names_file(c.initial_state)) read_initial_state(c, dim);
}

template <class Real>
Matrix<Real> make_initial_state(const deck::Case& c, long dim, parallel::Range batch) {
  const auto initial = make_view<Matrix<Real>>("initial state", batch.size(), dim);
  const auto host = Kokkos::create_mirror_view(initial);
  const bool file = names_file(c.initial_state);
  const Array a = file ? read_initial_state(c, dim) : Array{};
  for (long b = batch.begin; b < batch.end; ++b)
    for (long i = 0; i < dim; ++i)
      host(b - batch.begin, i) =
          static_cast<Real>(file ? a.values[static_cast<std::size_t>((a.shape[0] == 1 ? 0 : b) * dim + i)]
                            : c.initial_state == "random"
                                ? random_normal(c.seed, Stream::initial_state, static_cast<std::uint64_t>(b * dim + i))
                                : 0.0);
  Kokkos::deep_copy(initial, host);
  return initial;
}

template <class Real>
Vector<Real> to_device(const std::vector<double>& values) {
  const auto out = make_view<Vector<Real>>("parameters", values.size());
  const auto host = Kokkos::create_mirror_view(out);
  for (std::size_t i = 0; i < values.size(); ++i) host(i) = static_cast<Real>(values[i]);
  Kokkos::deep_copy(out, host);
  return out;
}

template Rows<float> make_drivers<float>(const deck::Case&, long, long, parallel::Range);
template Rows<double> make_drivers<double>(const deck::Case&, long, long, parallel::Range);
template Matrix<float> make_initial_state<float>(const deck::Case&, long, parallel::Range);
template Matrix<double> make_initial_state<double>(const deck::Case&, long, parallel::Range);
template Vector<float> to_device<float>(const std::vector<double>&);
template Vector<double> to_device<double>(const std::vector<double>&);

}  // namespace elkhorn::systems
