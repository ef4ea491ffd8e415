#include "scan/engines_impl.hpp"

namespace elkhorn::scan {

template class Scan<KalmanDiagonal<float>>;
template class Scan<KalmanDiagonal<double>>;

}  // namespace elkhorn::scan
