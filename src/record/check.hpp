/// `elkhorn check`: does a results file keep what docs/results.md promises?
#pragma once

#include <string>
#include <vector>

namespace elkhorn::record {

/// Everything wrong with the file, one line each, beginning with the path in the file; empty where it is
/// sound. A file that is cut short or not HDF5 is a problem; InputError where there is no such file or it
/// cannot be read at all. Done in a child process, so that bytes on which HDF5 crashes are a problem like others.
std::vector<std::string> check_results(const std::string& path);

/// The same in this process.
std::vector<std::string> check_results_here(const std::string& path);

}  // namespace elkhorn::record
