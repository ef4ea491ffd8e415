#include "scan/blockwise_impl.hpp"

namespace elkhorn::scan {

template class Scan<AffineDense<float>>;
template class Scan<AffineDense<double>>;
template class BlockwiseScan<AffineDense<float>>;
template class BlockwiseScan<AffineDense<double>>;

}  // namespace elkhorn::scan
