#include "scan/clamped.hpp"
#include "scan/engines_impl.hpp"

namespace elkhorn::scan {

template class Scan<AffineDiagonalClamped<float>>;
template class Scan<AffineDiagonalClamped<double>>;

}  // namespace elkhorn::scan
