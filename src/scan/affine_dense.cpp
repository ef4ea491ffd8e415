#include "scan/engines_impl.hpp"

namespace elkhorn::scan {

template class Scan<AffineDense<float>>;
template class Scan<AffineDense<double>>;

}  // namespace elkhorn::scan
