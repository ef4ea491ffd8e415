/// Counter-based random numbers (Philox 4×32-10, Random123): each value is a function of (seed, stream, index) alone,
/// so that data do not depend on ranks, threads, precision or the order in which they are drawn.
#pragma once

#include <Random123/philox.h>

#include <cmath>
#include <cstdint>

namespace elkhorn::systems {

/// Independent sequences of numbers under one seed.
enum class Stream : std::uint32_t { weights = 1, drivers = 2, initial_state = 3 };

/// Standard normal number `index` of a stream (Box–Muller on 53-bit uniforms).
inline double random_normal(std::uint64_t seed, Stream stream, std::uint64_t index) {
  r123::Philox4x32 generator;
  const std::uint64_t pair = index / 2;
  const r123::Philox4x32::ctr_type counter{{static_cast<std::uint32_t>(pair), static_cast<std::uint32_t>(pair >> 32),
                                            static_cast<std::uint32_t>(stream), 0}};
  const r123::Philox4x32::key_type key{{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
  const auto bits = generator(counter, key);
  const auto uniform = [](std::uint32_t high, std::uint32_t low) {  // in (0, 1)
    return (static_cast<double>((static_cast<std::uint64_t>(high) << 32 | low) >> 11) + 0.5) * 0x1p-53;
  };
  const double radius = std::sqrt(-2 * std::log(uniform(bits[0], bits[1])));
  const double angle = 6.283185307179586477 * uniform(bits[2], bits[3]);
  return radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

}  // namespace elkhorn::systems
