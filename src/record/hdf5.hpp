/// Small RAII handles around the HDF5 C API, and what the rest of the program reads from HDF5 inputs.
/// Every return code is checked; HDF5's own error stack is silenced and its innermost sentence becomes
/// part of ours.
#pragma once

#include <hdf5.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"

namespace elkhorn::record {

/// An HDF5 call failed: what was being done, and HDF5's reason.
class Hdf5Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Stops HDF5 from printing its error stack on stderr (per thread, idempotent).
void silence_hdf5();

/// Throws Hdf5Error("cannot <doing>: <HDF5's innermost message>"); call it right after the failing call.
[[noreturn]] void throw_hdf5(const std::string& doing);

/// Put around what writes a file. HDF5 (1.10 at least) can crash when it closes, or flushes at exit, what it failed to
/// write; so once a call fails while one of these lives, handles are left open for good and the error gets out. The
/// program calls H5dont_atexit for the rest.
class Writing {
 public:
  Writing();
  ~Writing();
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;
};
/// Whether a write has failed so.
bool write_failed();

/// Passes non-negative codes through; throws Hdf5Error otherwise.
template <class Code>
Code check_hdf5(Code code, const std::string& doing) {
  if (code < 0) throw_hdf5(doing);
  return code;
}

/// Owns one HDF5 identifier and closes it with `Close`.
template <herr_t (*Close)(hid_t)>
class Handle {
 public:
  Handle() = default;
  /// Takes over `id`; a negative one throws Hdf5Error naming what was being done.
  Handle(hid_t id, const std::string& doing) : id_(check_hdf5(id, doing)) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    // An error here has nowhere to go; where closing matters (files that were written) close() is called.
    if (id_ >= 0 && !write_failed()) static_cast<void>(Close(id_));
  }
  /// Closes now, with the return code checked: for files, whose last bytes are written on closing.
  void close(const std::string& doing) {
    if (id_ >= 0) check_hdf5(Close(std::exchange(id_, H5I_INVALID_HID)), doing);
  }
  hid_t id() const { return id_; }

 private:
  hid_t id_ = H5I_INVALID_HID;
};

using File = Handle<H5Fclose>;
using Group = Handle<H5Gclose>;
using Dataset = Handle<H5Dclose>;
using Attribute = Handle<H5Aclose>;
using Dataspace = Handle<H5Sclose>;
using Datatype = Handle<H5Tclose>;
using PropertyList = Handle<H5Pclose>;

/// Opens for reading; InputError where there is no such file or it is not (or no longer whole) HDF5.
File open_input(const std::string& file, const Origin& origin);
/// Creates or truncates `file`.
File create_file(const std::string& file);

/// True where the link `path` ("/a/b", "/" included) exists below `location`.
bool link_exists(hid_t location, const std::string& path);
/// Names of the links in a group, sorted.
std::vector<std::string> child_names(hid_t group);

// --- what other parts use for input ---

/// A numeric dataset, row-major. A scalar has an empty shape and one value.
struct Array {
  std::vector<long> shape;
  std::vector<double> values;
};

/// True where `file` is a readable HDF5 file that has a group or dataset at `path`; never throws.
bool exists(const std::string& file, const std::string& path);

/// Rows of a piece of an array that is read or written in pieces, of so many numbers each: some MiB.
inline long rows_at_once(long numbers) { return std::max(1L, (1L << 19) / std::max(1L, numbers)); }

/// A float or integer dataset of any width, read as doubles in pieces, so that it may be larger than memory.
class ArrayReader {
 public:
  /// `ranks` lists the accepted numbers of dimensions (empty: any). InputError, naming `origin`, where there is no such
  /// file, it is not HDF5, it has no such dataset, the path is a group, the values are not numbers, or the rank is not
  /// accepted.
  ArrayReader(const std::string& file, const std::string& path, const Origin& origin,
              const std::vector<int>& ranks = {});
  const std::vector<long>& shape() const { return shape_; }
  /// Rows first .. first + count - 1 along the first dimension; a scalar is one row.
  std::vector<double> rows(long first, long count) const;

 private:
  std::string what_;
  Origin origin_;
  File file_;
  Dataset dataset_;
  std::vector<long> shape_;
};

/// All of it at once.
Array read_array(const std::string& file, const std::string& path, const Origin& origin,
                 const std::vector<int>& ranks = {});

/// InputError naming the first value that is NaN or infinite and its indices; `what` names the array.
/// @param first_row of a larger array, where these are rows of one
void require_finite(const Array& array, const std::string& what, const Origin& origin, long first_row = 0);

/// "[i, j]" of the value at `offset` in rows of an array, the first of which is `first_row`.
std::string index_text(const std::vector<long>& shape, long offset, long first_row = 0);

/// Names of what the group `path` holds, sorted; InputError as for read_array.
std::vector<std::string> list_children(const std::string& file, const std::string& path, const Origin& origin);

/// "file.h5:/path" → {"file.h5", "/path"}; InputError where it is not of that form.
std::pair<std::string, std::string> split_reference(const std::string& reference, const Origin& origin);

/// "[3, 4]"
std::string shape_text(const std::vector<long>& shape);

}  // namespace elkhorn::record
