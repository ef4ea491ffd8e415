#include <algorithm>
#include <stdexcept>

#include "scan/engines.hpp"

namespace elkhorn::scan {

namespace {

/// Chunks that fill vector lanes and threads where the batch does not.
///
/// Diagonal elements: a chunk summary costs about as much as finishing it, so lanes are filled first and then threads.
/// Dense elements: a summary costs a matrix product a step where finishing costs a matrix-vector product, so chunks
/// pay only while they fill lanes that would idle otherwise.
long fill(long length, long batch, int threads, bool dense) {
  const long wanted = static_cast<long>(lane_width) * std::max(1, threads) * (exec_is_host ? 1 : 64);
  if (batch >= (dense ? lane_width : wanted)) return 1;
  // Chunks shorter than this spend more on their summaries than they save.
  constexpr long shortest = 16;
  const long chunks = (wanted + batch - 1) / batch;
  return std::max(1L, std::min(chunks, length / shortest));
}

}  // namespace

Choice choose(const std::string& name, long length, long batch, int threads, bool dense) {
  batch = std::max(1L, batch);
  const long filling = fill(length, batch, threads, dense);
  // Serial and flat run through time in order; chunks only lay out the lanes, so that evaluation fills them.
  const long layout = batch >= lane_width ? 1 : std::max(1L, std::min<long>(filling, length / 2));
  if (name == "serial") return {Engine::serial, layout};
  if (name == "flat") return {Engine::flat, layout};
  if (name == "chunked" || name == "auto") return {Engine::chunked, filling};
  if (name.rfind("chunked:", 0) == 0) {
    const long chunks = std::stol(name.substr(8));
    return {Engine::chunked, std::max(1L, std::min(chunks, std::max(1L, length)))};
  }
  throw std::invalid_argument("unknown scan engine '" + name + "'");
}

}  // namespace elkhorn::scan
