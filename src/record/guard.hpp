/// Work on a file that may be damaged in a process of its own: HDF5 (1.10 at least) can crash or go round in circles on
/// bytes that were changed, and a reader must not.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace elkhorn::record {

struct Guarded {
  std::vector<std::string> lines;  ///< what the work returned
  std::string broken_off;          ///< how the process ended where it did not end well ("" otherwise)
};

/// Runs `work` in a forked child with bounded processor time and memory and hands its lines over. An exception in it
/// is thrown here with the same text: InputError as InputError, another one as std::runtime_error.
Guarded in_child(double cpu_seconds, double memory_bytes, const std::function<std::vector<std::string>()>& work);

/// The same with bounds for reading `file`, by its size.
Guarded in_child_reading(const std::string& file, const std::function<std::vector<std::string>()>& work);

/// InputError where a results file cannot be read without a crash or a hang.
void require_harmless(const std::string& path, const Origin& origin);

}  // namespace elkhorn::record
