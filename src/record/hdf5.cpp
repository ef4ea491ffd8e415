#include "record/hdf5.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <numeric>
#include <stdexcept>

#include "record/hdf5_io.hpp"

namespace elkhorn::record {
namespace {

extern "C" herr_t first_description(unsigned, const H5E_error2_t* error, void* out) {
  auto& text = *static_cast<std::string*>(out);
  if (text.empty() && error->desc != nullptr) text = error->desc;
  return 0;
}

extern "C" herr_t append_name(hid_t, const char* name, const H5L_info_t*, void* out) {
  static_cast<std::vector<std::string>*>(out)->emplace_back(name);
  return 0;
}

int writers = 0;
bool a_write_failed = false;

/// The innermost message of HDF5's error stack, on one line; the system's reason alone where there is one.
std::string innermost_message() {
  std::string text;
  static_cast<void>(H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first_description, &text));
  static const std::string before = "error message = '";
  if (const std::size_t at = text.find(before); at != std::string::npos) {
    const std::size_t begin = at + before.size(), end = text.find('\'', begin);
    return text.substr(begin, end == std::string::npos ? end : end - begin);
  }
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.empty() ? "HDF5 gives no reason" : text;
}

/// For files on file systems that may know no locks. The journal's lock keeps other runs out of those that we write.
PropertyList without_locks() {
  PropertyList access(H5Pcreate(H5P_FILE_ACCESS), "prepare a file");
#if H5_VERSION_GE(1, 12, 1) || (H5_VERS_MINOR == 10 && H5_VERS_RELEASE >= 7)
  check_hdf5(H5Pset_file_locking(access.id(), false, true), "prepare a file");
#endif
  return access;
}

/// Group, dataset or named type, H5I_BADID where it cannot be opened.
H5I_type_t object_type(hid_t location, const std::string& path) {
  const hid_t id = H5Oopen(location, path.c_str(), H5P_DEFAULT);
  if (id < 0) return H5I_BADID;
  const H5I_type_t type = H5Iget_type(id);
  static_cast<void>(H5Oclose(id));
  return type;
}

void require_link(const File& opened, const std::string& file, const std::string& path, const Origin& origin,
                  const std::string& kind) {
  if (!link_exists(opened.id(), path)) throw InputError(origin, "no " + kind + " " + path + " in " + file);
}

}  // namespace

void silence_hdf5() { static_cast<void>(H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr)); }

Writing::Writing() { ++writers; }
Writing::~Writing() { --writers; }

bool write_failed() { return a_write_failed; }

void throw_hdf5(const std::string& doing) {
  a_write_failed = a_write_failed || writers > 0;
  throw Hdf5Error("cannot " + doing + ": " + innermost_message());
}

File open_input(const std::string& file, const Origin& origin) {
  silence_hdf5();
  std::error_code ignored;
  const auto status = std::filesystem::status(file, ignored);
  if (!std::filesystem::exists(status)) throw InputError(origin, "no such file: " + file);
  if (std::filesystem::is_directory(status)) throw InputError(origin, file + " is a directory, not an HDF5 file");
  if (access(file.c_str(), R_OK) != 0) throw InputError(origin, "no permission to read " + file);
  hid_t id = H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  std::string reason = id < 0 ? innermost_message() : "";
  if (reason == std::strerror(ENOLCK) || reason == std::strerror(ENOSYS)) {  // a network file system without locks
    const PropertyList access = without_locks();
    id = H5Fopen(file.c_str(), H5F_ACC_RDONLY, access.id());
    reason = id < 0 ? innermost_message() : "";
  }
  if (id < 0) {
    throw InputError(origin, file + " is not an HDF5 file or is damaged (" + reason + ")");
  }
  return File(id, "open " + file);
}

File create_file(const std::string& file) {
  silence_hdf5();
  const PropertyList access = without_locks();
  return File(H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.id()), "create " + file);
}

bool link_exists(hid_t location, const std::string& path) {
  // H5Lexists needs every link on the way to exist.
  std::size_t end = 0;
  while (end < path.size()) {
    const std::size_t begin = path.find_first_not_of('/', end);
    if (begin == std::string::npos) return true;
    end = std::min(path.find('/', begin), path.size());
    if (H5Lexists(location, path.substr(0, end).c_str(), H5P_DEFAULT) <= 0) return false;
    if (H5Oexists_by_name(location, path.substr(0, end).c_str(), H5P_DEFAULT) <= 0) return false;
  }
  return true;
}

std::vector<std::string> child_names(hid_t group) {
  std::vector<std::string> names;
  check_hdf5(H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, nullptr, append_name, &names), "list a group");
  return names;
}

bool exists(const std::string& file, const std::string& path) {
  try {
    const File opened = open_input(file, {});
    return link_exists(opened.id(), path);
  } catch (const std::exception&) {
    return false;
  }
}

ArrayReader::ArrayReader(const std::string& file, const std::string& path, const Origin& origin,
                         const std::vector<int>& ranks)
    : what_(path + " in " + file), origin_(origin), file_(open_input(file, origin)) {
  require_link(file_, file, path, origin, "dataset");
  if (object_type(file_.id(), path) != H5I_DATASET) throw InputError(origin, what_ + " is not a dataset");
  const std::string doing = "read " + path + " of " + file;
  try {
    dataset_ = Dataset(H5Dopen2(file_.id(), path.c_str(), H5P_DEFAULT), doing);
    const Datatype type(H5Dget_type(dataset_.id()), doing);
    const H5T_class_t type_class = H5Tget_class(type.id());
    if (type_class != H5T_FLOAT && type_class != H5T_INTEGER)
      throw InputError(origin, what_ + " does not hold numbers (floats or integers are accepted)");
    const Dataspace space(H5Dget_space(dataset_.id()), doing);
    if (H5Sget_simple_extent_type(space.id()) == H5S_NULL)
      throw InputError(origin, what_ + " is empty (a null dataspace)");
    const int rank = check_hdf5(H5Sget_simple_extent_ndims(space.id()), doing);
    std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
    if (rank > 0) check_hdf5(H5Sget_simple_extent_dims(space.id(), dims.data(), nullptr), doing);
    shape_.assign(dims.begin(), dims.end());
    if (!ranks.empty() && std::find(ranks.begin(), ranks.end(), rank) == ranks.end()) {
      std::string wanted;
      for (const int r : ranks) wanted += (wanted.empty() ? "" : " or ") + std::to_string(r);
      throw InputError(origin, what_ + " has shape " + shape_text(shape_) + ", expected " + wanted +
                                   (wanted == "1" ? " dimension" : " dimensions"));
    }
    // Small arrays that were never written are zeros; a claim of a GiB and more must be backed.
    constexpr double small = 1 << 27;
    if (std::accumulate(dims.begin(), dims.end(), 1.0, std::multiplies<>()) > small) require_stored(dataset_, what_);
  } catch (const Hdf5Error& error) {
    throw InputError(origin, error.what());
  }
}

std::vector<double> ArrayReader::rows(long first, long count) const {
  const std::string doing = "read " + what_;
  try {
    if (!shape_.empty()) return read_rows(dataset_, first, count, doing);
    std::vector<double> value(1);
    check_hdf5(H5Dread(dataset_.id(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, value.data()), doing);
    return value;
  } catch (const Hdf5Error& error) {
    throw InputError(origin_, error.what());
  } catch (const std::exception&) {  // bad_alloc or length_error
    throw InputError(origin_, what_ + " with shape " + shape_text(shape_) + " does not fit into memory");
  }
}

Array read_array(const std::string& file, const std::string& path, const Origin& origin,
                 const std::vector<int>& ranks) {
  const ArrayReader reader(file, path, origin, ranks);
  return {reader.shape(), reader.rows(0, reader.shape().empty() ? 1 : reader.shape()[0])};
}

std::string index_text(const std::vector<long>& shape, long offset, long first_row) {
  std::vector<long> index(shape.size());
  for (std::size_t d = shape.size(); d-- > 0; offset /= shape[d]) index[d] = offset % shape[d];
  if (!index.empty()) index[0] += first_row;
  return shape_text(index);
}

void require_finite(const Array& array, const std::string& what, const Origin& origin, long first_row) {
  const auto bad = std::find_if(array.values.begin(), array.values.end(), [](double v) { return !std::isfinite(v); });
  if (bad == array.values.end()) return;
  const std::string value = std::isnan(*bad) ? "NaN" : *bad > 0 ? "inf" : "-inf";
  throw InputError(origin, what + " holds " + value + " at index " +
                               index_text(array.shape, static_cast<long>(bad - array.values.begin()), first_row) +
                               "; every value must be finite");
}

std::vector<std::string> list_children(const std::string& file, const std::string& path, const Origin& origin) {
  const File opened = open_input(file, origin);
  require_link(opened, file, path, origin, "group");
  if (object_type(opened.id(), path) != H5I_GROUP) throw InputError(origin, path + " in " + file + " is not a group");
  try {
    const Group group(H5Gopen2(opened.id(), path.c_str(), H5P_DEFAULT), "open " + path + " of " + file);
    return child_names(group.id());
  } catch (const Hdf5Error& error) {
    throw InputError(origin, error.what());
  }
}

std::pair<std::string, std::string> split_reference(const std::string& reference, const Origin& origin) {
  const std::size_t colon = reference.rfind(":/");
  if (colon == std::string::npos || colon == 0)
    throw InputError(origin, "\"" + reference + "\" is not of the form \"file.h5:/path\"");
  return {reference.substr(0, colon), reference.substr(colon + 1)};
}

std::string shape_text(const std::vector<long>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace elkhorn::record
