#include "scan/clamped.hpp"
#include "scan/engines_impl.hpp"

namespace elkhorn::scan {

template class Scan<KalmanVariance<float>>;
template class Scan<KalmanVariance<double>>;

}  // namespace elkhorn::scan
