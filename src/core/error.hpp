/// Errors a user can act on: where a bad value came from and what to do about it.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace elkhorn {

/// Where a value came from. `line` is 1-based; 0 means that lines have no meaning there
/// (a command-line override, an HDF5 dataset).
struct Origin {
  std::string file;  ///< deck, data file, or "--set"
  std::string key;   ///< dotted key, e.g. "solver.sigma2", or a dataset path
  int line = 0;

  /// "quickstart.toml:12: solver.sigma2" or as much of it as is known.
  std::string text() const {
    std::string out = file;
    if (line > 0) out += (out.empty() ? "line " : ":") + std::to_string(line);
    if (!key.empty()) out += (out.empty() ? "" : ": ") + key;
    return out;
  }
};

/// Bad input found before anything ran: the program exits with 2 after printing `what()` as one line
/// on stderr. The sentence names file, line and key and says what would be accepted.
class InputError : public std::runtime_error {
 public:
  InputError(const Origin& where, const std::string& sentence)
      : std::runtime_error(where.text().empty() ? sentence : where.text() + ": " + sentence) {}
  explicit InputError(const std::string& sentence) : std::runtime_error(sentence) {}
};

}  // namespace elkhorn
