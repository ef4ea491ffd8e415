#include "scan/engines_impl.hpp"

namespace elkhorn::scan {

template class Scan<KalmanDense<float>>;
template class Scan<KalmanDense<double>>;

}  // namespace elkhorn::scan
