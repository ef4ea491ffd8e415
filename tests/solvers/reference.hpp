/// Reading the stored traces of the published implementation (tests/reference/README.md).
#pragma once

#include <string>
#include <vector>

#include "deck/case.hpp"
#include "record/hdf5.hpp"
#include "solvers/kinds.hpp"
#include "solvers/solver.hpp"
#include "systems/registry.hpp"

namespace elkhorn::test {

inline std::string reference_file(const std::string& name) {
  return std::string(ELKHORN_TEST_DATA) + "/reference/" + name;
}

inline record::Array stored(const std::string& file, const std::string& path) {
  return record::read_array(reference_file(file), path, Origin{file, path, 0});
}

inline std::vector<std::string> groups(const std::string& file) {
  return record::list_children(reference_file(file), "/", Origin{file, "/", 0});
}

/// A case with a system's default options.
inline deck::Case basic_case(const std::string& system) {
  deck::Case c;
  c.system = system;
  c.deck_file = "test";
  const systems::SystemInfo* info = systems::find_info(system);
  for (const systems::Option& o : info->options) c.system_options[o.name] = o.default_value;
  c.state_dim = info->fixed_state_dim;
  return c;
}

template <class Real>
deck::Precision precision_of() {
  return sizeof(Real) == 8 ? deck::Precision::float64 : deck::Precision::float32;
}

/// States (T, B, D) on the host in doubles.
template <class Real>
std::vector<double> host_values(const Rows<Real>& rows) {
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), rows);
  std::vector<double> out;
  out.reserve(host.size());
  for (std::size_t t = 0; t < host.extent(0); ++t)
    for (std::size_t b = 0; b < host.extent(1); ++b)
      for (std::size_t i = 0; i < host.extent(2); ++i) out.push_back(static_cast<double>(host(t, b, i)));
  return out;
}

inline double largest(const std::vector<double>& values) {
  double worst = 0;
  for (const double x : values) worst = std::abs(x) <= worst ? worst : std::abs(x);
  return worst;
}

/// max |a − b|; infinity where one is not a number.
inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    worst = d <= worst ? worst : (std::isnan(d) ? INFINITY : d);
  }
  return worst;
}

inline deck::SolverConfig solver(const std::string& kind, double sigma2 = 0) {
  deck::SolverConfig config;
  config.kind = kind;
  if (sigma2 > 0) config.sigma2 = sigma2;
  return config;
}

template <class Real>
std::unique_ptr<solvers::Solver<Real>> make(const systems::Instance<Real>& instance, const deck::SolverConfig& config,
                                            int threads = 2) {
  solvers::Setup<Real> setup;
  setup.config = config;
  setup.global_batch = instance.batch();
  setup.threads = threads;
  return solvers::make_solver(instance, setup);
}

/// The first row of a one-column history below `threshold`, or −1.
inline long first_below(const std::vector<double>& history, double threshold) {
  for (std::size_t i = 0; i < history.size(); ++i)
    if (history[i] < threshold) return static_cast<long>(i);
  return -1;
}

}  // namespace elkhorn::test
