#include "scan/blockwise_impl.hpp"

namespace elkhorn::scan {

template class Scan<AffineDiagonal<float>>;
template class Scan<AffineDiagonal<double>>;
template class BlockwiseScan<AffineDiagonal<float>>;
template class BlockwiseScan<AffineDiagonal<double>>;

}  // namespace elkhorn::scan
