/// Arrays in files, as decks name them:
///
///   "file.h5:/path"               an HDF5 dataset; for weights the group that holds them
///   "model.safetensors"           the tensors of that file, for weights; "model.safetensors:prefix" those whose names
///                                 start with "prefix.", and for single arrays the tensor of that name
///   "array.npy"                   a NumPy array (format versions 1 to 3, float32 or float64, C order)
///
/// Tensors may be float64, float32, float16 or bfloat16; all numbers are converted to doubles.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "record/hdf5.hpp"

namespace elkhorn::systems {

using record::Array;

struct FileReference {
  enum class Format { none, hdf5, safetensors, npy };
  Format format = Format::none;  ///< none: a word such as "random"
  std::string file;
  std::string path;  ///< of a dataset, group or tensor; empty where the reference names the whole file
};
FileReference parse_reference(const std::string& reference);

/// True where a value of a deck names a file, and is not a word such as "zero".
inline bool names_file(const std::string& reference) {
  return parse_reference(reference).format != FileReference::Format::none;
}

/// An array in a file, read in pieces of rows (along its first dimension), so that it may be much larger than memory.
class ArrayFile {
 public:
  /// Errors as for `read_reference`, but for values: `rows` finds those that are not finite.
  ArrayFile(const std::string& reference, const Origin& origin, const std::vector<int>& ranks = {});
  ~ArrayFile();
  const std::vector<long>& shape() const;
  /// Rows first .. first + count - 1; a scalar is one row.
  Array rows(long first, long count) const;
  /// Rows first .. end - 1 in turn: piece(its first row, its rows).
  template <class Piece>
  void in_pieces(long first, long end, const Piece& piece) const {
    long numbers = 1;
    for (std::size_t d = 1; d < shape().size(); ++d) numbers *= shape()[d];
    const long step = record::rows_at_once(numbers);
    for (; first < end; first += step) piece(first, rows(first, std::min(step, end - first)));
  }

  class Source;

 private:
  std::string reference_;
  Origin origin_;
  std::unique_ptr<Source> source_;
};

/// The array a reference names. `ranks` lists the accepted numbers of dimensions (empty: any). InputError naming
/// `origin` and the file where it cannot be read, is malformed or cut short, has no such array, holds other than
/// floating-point numbers (HDF5: numbers) or one that is not finite.
Array read_reference(const std::string& reference, const Origin& origin, const std::vector<int>& ranks = {});

/// The reference of the array `name` among the weights that `weights` names; InputError where it can hold no names.
std::string member(const std::string& weights, const std::string& name, const Origin& origin);

/// Whether there is such an array; InputError where its file is malformed.
bool has_array(const std::string& reference, const Origin& origin);

}  // namespace elkhorn::systems
