#include "scan/blockwise.hpp"

namespace elkhorn::scan {

void sweep(const LaneMap& map, const Active& active, const BlockStream& stream, long block_length) {
  const Kokkos::Experimental::UniqueToken<HostExec> token;
  Kokkos::parallel_for("sweep blocks", detail::Groups(0, map.groups), [&](long group) {
    if (!active.group(map, group)) return;
    const int buffer = static_cast<int>(token.acquire());
    detail::for_each_block(map, stream, group, block_length, buffer, [&](const StepBlock& block) {
      stream.fill(block);
      stream.take(block);
    });
    token.release(buffer);
  });
}

}  // namespace elkhorn::scan
