#include "scan/blockwise_impl.hpp"

namespace elkhorn::scan {

template class Scan<KalmanDense<float>>;
template class Scan<KalmanDense<double>>;
template class BlockwiseScan<KalmanDense<float>>;
template class BlockwiseScan<KalmanDense<double>>;

}  // namespace elkhorn::scan
