/// Attributes and datasets in one call each, on top of hdf5.hpp. Failures are Hdf5Error.
#pragma once

#include <string>
#include <type_traits>
#include <vector>

#include "record/hdf5.hpp"

namespace elkhorn::record {

// Text is variable-length UTF-8, numbers 64 bits, bool the enum {FALSE, TRUE} that h5py reads as bool.
void write_attribute(hid_t object, const std::string& name, const std::string& value);
void write_attribute(hid_t object, const std::string& name, long value);
void write_attribute(hid_t object, const std::string& name, unsigned long long value);
void write_attribute(hid_t object, const std::string& name, double value);
void write_attribute(hid_t object, const std::string& name, bool value);
void write_attribute(hid_t object, const std::string& name, const char* value) = delete;  // would be a bool

void read_attribute(hid_t object, const std::string& name, std::string& value);
void read_attribute(hid_t object, const std::string& name, long& value);
void read_attribute(hid_t object, const std::string& name, unsigned long long& value);
void read_attribute(hid_t object, const std::string& name, double& value);
void read_attribute(hid_t object, const std::string& name, bool& value);

enum class Kind { missing, text, integer, real, boolean, other };
/// What a scalar attribute is; `other` for arrays and anything that is none of these.
Kind attribute_kind(hid_t object, const std::string& name);
std::vector<std::string> attribute_names(hid_t object);
const char* to_string(Kind kind);

/// The in-memory type of the enum {FALSE, TRUE} on one byte.
Datatype bool_type();
/// Fixed-length UTF-8, padded with zeros.
Datatype fixed_text_type(std::size_t length);

/// Creates a dataset: contiguous where small, chunked along the first dimension and compressed where large.
Dataset create_dataset(hid_t location, const std::string& path, hid_t type, const std::vector<long>& shape);
void write_dataset(hid_t location, const std::string& path, const std::vector<double>& values,
                   const std::vector<long>& shape, hid_t file_type = H5T_IEEE_F64LE);
void write_dataset(hid_t location, const std::string& path, const std::vector<long>& values,
                   const std::vector<long>& shape);
void write_text(hid_t location, const std::string& path, const std::string& text);

/// Copies a dataset chunk by chunk as it is stored, so that it may be larger than memory. (H5Ocopy of HDF5 1.10 crashes
/// where it cannot write.)
void copy_dataset(hid_t from, const std::string& path, hid_t to, const std::string& name);

Dataset open_dataset(hid_t location, const std::string& path);
std::vector<long> dataset_shape(const Dataset& dataset);
/// Hdf5Error where a dataset claims far more values than the bytes stored of it can make: a damaged or hostile file may
/// claim any shape, and no memory is asked for on its word. Deflate makes nothing more than 1032 times smaller.
void require_stored(const Dataset& dataset, const std::string& path);
/// text, integer, real or other, of the dataset's elements.
Kind dataset_kind(const Dataset& dataset);
void read_dataset(hid_t location, const std::string& path, std::vector<double>& values);
void read_dataset(hid_t location, const std::string& path, std::vector<long>& values);
/// Rows first .. first + count - 1 of a dataset along its first dimension.
/// Of a file from elsewhere, `require_stored` first.
std::vector<double> read_rows(const Dataset& dataset, long first, long count,
                              const std::string& doing = "read rows of a dataset");
/// As many rows as these values make, from `first` on.
void write_rows(const Dataset& dataset, long first, const std::vector<double>& values);
std::string read_text(hid_t location, const std::string& path);

Group open_group(hid_t location, const std::string& path);
Group create_group(hid_t location, const std::string& path);

}  // namespace elkhorn::record
