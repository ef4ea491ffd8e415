#include "scan/engines_impl.hpp"

namespace elkhorn::scan {

template class Scan<AffineDiagonal<float>>;
template class Scan<AffineDiagonal<double>>;

}  // namespace elkhorn::scan
