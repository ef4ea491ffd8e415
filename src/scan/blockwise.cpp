#include "scan/blockwise.hpp"

namespace elkhorn::scan {

void sweep(const LaneMap& map, const Active& active, const BlockStream& stream, long block_length) {
  for_each_group("sweep blocks", map, active, [&](long group, long buffer) {
    detail::for_each_block(map, stream, group, block_length, buffer, [&](const StepBlock& block) {
      stream.fill(block);
      stream.take(block);
    });
  });
}

}  // namespace elkhorn::scan
