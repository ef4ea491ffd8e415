/// Where a system's numbers come from: files named in decks, and random initialisers.
#pragma once

#include <string>
#include <vector>

#include "systems/files.hpp"
#include "systems/random.hpp"
#include "systems/registration.hpp"

namespace elkhorn::systems {

/// Whether the weights that a case names (files.hpp) have an array `name`.
bool has_weights(const deck::Case& c, const std::string& name);

/// Reads the array `name` of these weights and checks that all values are finite in the case's precision and that the
/// shape is `shape`, where −1 accepts any extent. Drivers and initial states are held to the same.
Array read_weights(const deck::Case& c, const std::string& name, const std::vector<long>& shape);

/// As `read_weights`, zeros of that shape where there is no such array.
Array read_weights_or_zeros(const deck::Case& c, const std::string& name, const std::vector<long>& shape);

/// A uniformly distributed orthogonal n×n matrix, row by row: flax's `orthogonal()`. Numbers from `offset` of a stream.
std::vector<double> random_orthogonal(long n, std::uint64_t seed, std::uint64_t offset);

/// Truncated normal numbers (±2 standard deviations) of variance 1/fan_in: flax's `lecun_normal()`.
std::vector<double> random_lecun_normal(long count, long fan_in, std::uint64_t seed, std::uint64_t offset);

/// Steps of the drivers of a case, in their file or by `length`, including `extra` that the system needs beyond it. The shape
/// of a file, (T), (T, n) or (T, B, n), is checked against the case.
/// @param inputs  numbers a step
long driver_steps(const deck::Case& c, long inputs, long extra);
/// The same, and every number of a file is checked.
long inspect_drivers(const deck::Case& c, long inputs, long extra);

/// Drivers (T + extra, B of this rank, n), drawn from N(0, 1) or read; files without a batch axis serve all sequences.
template <class Real>
Rows<Real> make_drivers(const deck::Case& c, long steps, long inputs, parallel::Range batch);

/// s_0 (B of this rank, D): zero, N(0, 1) or read; files without a batch axis serve all sequences.
template <class Real>
Matrix<Real> make_initial_state(const deck::Case& c, long dim, parallel::Range batch);
/// Throws InputError where the file of `initial_state` does not fit.
void inspect_initial_state(const deck::Case& c, long dim);

/// A device view of host numbers, converted.
template <class Real>
Vector<Real> to_device(const std::vector<double>& values);

}  // namespace elkhorn::systems
