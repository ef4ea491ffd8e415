#include <algorithm>
#include <stdexcept>
#include <vector>

#include "scan/engines.hpp"

namespace elkhorn::scan {

namespace {

// Chunks shorter than this spend more on their summaries than they save.
constexpr long shortest = 16;

/// Chunks that fill vector lanes and threads where the batch does not.
///
/// Diagonal elements: a chunk summary costs about as much as finishing it, so lanes are filled first and then threads.
/// Dense elements: a summary costs a matrix product a step where finishing costs a matrix-vector product, so chunks
/// pay only while they fill lanes that would idle otherwise.
long fill(const Job& job) {
  const long wanted = static_cast<long>(lane_width) * std::max(1, job.threads) * (exec_is_host ? 1 : 64);
  if (job.batch >= (job.dense ? lane_width : wanted)) return 1;
  const long chunks = (wanted + job.batch - 1) / job.batch;
  return std::max(1L, std::min(chunks, job.length / shortest));
}

/// Nanoseconds that a step of a group of lanes takes in each part of a pass over dense elements, and a step of one
/// sequence where lanes are taken one by one: fits to benchmarks/scan_choice.py (docs/performance.md). Their ratios are
/// what counts.
struct Parts {
  double evaluate, advance, append;
  double walk, apply;  ///< one lane
  double store;        ///< Jacobians into memory and back
  double factored;     ///< evaluate and advance, with Jacobians in factors
};

Parts parts(const Job& job, long groups, long steps) {
  const double D = double(job.dim), square = D * D, cube = square * D;
  Parts p{};
  p.evaluate = 1.6 * square + 17 * D;  // of gated cells
  p.factored = 1.33 * square + 19 * D;
  if (job.damped) {
    p.advance = 7 * square + 0.76 * cube;
    p.append = 2.1 * p.advance;
    p.walk = 0.47 * p.advance + 3.5 * square;
    p.apply = 1.2 * p.advance;
  } else {
    p.advance = 0.26 * square + 2 * D;
    p.append = 1.5 * square + 0.35 * cube;
    p.walk = p.apply = 0.7 * square + 2.5 * D;
  }
  const double P = double(std::max(1, job.threads)), bytes = double(job.real_bytes) * square * lane_width;
  // Jacobians begin to leave one core's caches at 16 MiB; at 32 none is left there, and at 256 none in a cache that cores
  // share. Those of other cores are far away sooner.
  const double mib = bytes * double(groups * steps) / 1048576;
  const double outside = std::clamp((mib * P - 16) / 16, 0.0, 1.0), far = std::clamp((mib - 64) / 192, 0.0, 1.0);
  constexpr double from_another_core = 0.01;
  p.store = std::max(0.02 + 0.08 * outside + 0.04 * far, double(groups) < P ? from_another_core : 0) * bytes;
  // One lane's Jacobians lie in the cache lines of all lanes of its group. Beyond a core's own cache a walk fetches those that
  // another core has evaluated, and all where several threads walk through a group.
  const double fetched = P > 1 && mib > 1 ? (job.batch > 1 ? 1 : 0.5) : 0;
  p.walk += from_another_core * fetched * bytes;
  return p;
}

long ceil_of(long a, long b) { return (a + b - 1) / b; }

/// Chunks worth a look: one, what fills lanes, twice that and so on beyond what fills threads, for the first group of chunks
/// is summarised and finished at once, which weighs less among several groups.
std::vector<long> candidates(const Job& job) {
  std::vector<long> out{1};
  const long P = std::max(1, job.threads), most = std::min(job.length / 8, 8 * ceil_of(lane_width * P, job.batch));
  for (long chunks = ceil_of(lane_width, job.batch); chunks <= most; chunks *= 2)
    if (chunks > 1) out.push_back(chunks);
  return out;
}

/// Serial and flat run through time in order; chunks only lay out the lanes, so that evaluation fills them.
long layout(const Job& job) { return job.batch >= lane_width ? 1 : fill(job); }

Choice fastest(const Job& job, bool fused, bool chunked_only) {
  Choice best{Engine::chunked, 1};
  double least = modelled_ns(job, best, fused);
  const auto look = [&](const Choice& choice) {
    const double time = modelled_ns(job, choice, fused);
    if (time < least) best = choice;
    least = std::min(time, least);
  };
  for (const long chunks : candidates(job)) look({Engine::chunked, chunks});
  if (!fused && !chunked_only) look({Engine::serial, layout(job)});
  return best;
}

}  // namespace

double modelled_ns(const Job& job, const Choice& choice, bool fused) {
  const long P = std::max(1, job.threads);
  const long groups = ceil_of(choice.chunks * job.batch, lane_width), steps = ceil_of(job.length, choice.chunks);
  const Parts p = parts(job, groups, steps);
  // Sweeps give threads whole groups, evaluations blocks of steps.
  const double waves = double(ceil_of(groups, P) * steps), even = double(groups * steps) / double(P);
  const double sequences = double(ceil_of(job.batch, P));  // taken one by one by each thread
  // What one thread evaluates, another one reads.
  const double evaluated = even * p.evaluate + waves * p.store;
  if (choice.engine == Engine::serial && choice.chunks > 1) return evaluated + sequences * double(job.length) * p.walk;
  if (choice.engine == Engine::serial || choice.chunks == 1)
    return fused ? waves * (job.factored ? p.factored : p.evaluate + p.advance) : evaluated + waves * p.advance;
  const double first = job.batch < lane_width ? double(steps) * p.advance : 0;  // see Summarise
  const double scan = waves * (p.append + p.advance) + first + sequences * double(choice.chunks) * p.apply;
  return scan + (fused ? 2 * waves * p.evaluate : evaluated);
}

Choice choose(const std::string& name, Job job, bool fused) {
  job.batch = std::max(1L, job.batch);
  const bool modelled = exec_is_host && job.dense && job.dim > 0;
  if (name == "serial") return {Engine::serial, layout(job)};
  if (name == "flat") return {Engine::flat, layout(job)};
  if (name == "chunked" || name == "auto")
    return modelled ? fastest(job, fused, name == "chunked" || job.shared) : Choice{Engine::chunked, fill(job)};
  if (name.rfind("chunked:", 0) == 0) {
    const long chunks = std::stol(name.substr(8));
    return {Engine::chunked, std::max(1L, std::min(chunks, std::max(1L, job.length)))};
  }
  throw std::invalid_argument("unknown scan engine '" + name + "'");
}

}  // namespace elkhorn::scan
