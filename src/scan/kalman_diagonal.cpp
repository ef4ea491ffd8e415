#include "scan/blockwise_impl.hpp"

namespace elkhorn::scan {

template class Scan<KalmanDiagonal<float>>;
template class Scan<KalmanDiagonal<double>>;
template class BlockwiseScan<KalmanDiagonal<float>>;
template class BlockwiseScan<KalmanDiagonal<double>>;

}  // namespace elkhorn::scan
