#include "record/hdf5_io.hpp"

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace elkhorn::record {
namespace {

constexpr std::size_t large_bytes = std::size_t(64) * 1024;   // from here on compression pays for its chunk index
constexpr std::size_t chunk_bytes = std::size_t(512) * 1024;  // below HDF5's default chunk cache of 1 MiB

extern "C" herr_t append_attribute_name(hid_t, const char* name, const H5A_info_t*, void* out) {
  static_cast<std::vector<std::string>*>(out)->emplace_back(name);
  return 0;
}

Datatype variable_text_type() {
  Datatype type(H5Tcopy(H5T_C_S1), "make a text type");
  check_hdf5(H5Tset_size(type.id(), H5T_VARIABLE), "make a text type");
  check_hdf5(H5Tset_cset(type.id(), H5T_CSET_UTF8), "make a text type");
  return type;
}

Dataspace scalar_space() { return Dataspace(H5Screate(H5S_SCALAR), "make a scalar space"); }

void require_one(const Dataspace& space, const std::string& doing) {
  if (H5Sget_simple_extent_npoints(space.id()) != 1) throw Hdf5Error("cannot " + doing + ": it is not a scalar");
}

void write_scalar_attribute(hid_t object, const std::string& name, hid_t file_type, hid_t memory_type,
                            const void* value) {
  const std::string doing = "write attribute " + name;
  const Dataspace space = scalar_space();
  const Attribute attribute(H5Acreate2(object, name.c_str(), file_type, space.id(), H5P_DEFAULT, H5P_DEFAULT), doing);
  check_hdf5(H5Awrite(attribute.id(), memory_type, value), doing);
}

void read_scalar_attribute(hid_t object, const std::string& name, hid_t memory_type, void* value) {
  const std::string doing = "read attribute " + name;
  const Attribute attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), doing);
  const Dataspace space(H5Aget_space(attribute.id()), doing);
  require_one(space, doing);
  check_hdf5(H5Aread(attribute.id(), memory_type, value), doing);
}

/// Reads one string of either flavour; `read(memory_type, buffer)` does the call.
template <class Read>
std::string read_one_text(hid_t type, const std::string& doing, Read&& read) {
  if (H5Tget_class(type) != H5T_STRING) throw Hdf5Error("cannot " + doing + ": it is not text");
  if (check_hdf5(H5Tis_variable_str(type), doing) > 0) {
    const Datatype memory_type = variable_text_type();
    check_hdf5(H5Tset_cset(memory_type.id(), H5Tget_cset(type)), doing);
    char* buffer = nullptr;
    check_hdf5(read(memory_type.id(), static_cast<void*>(&buffer)), doing);
    std::string text = buffer == nullptr ? "" : buffer;
    static_cast<void>(H5free_memory(buffer));
    return text;
  }
  std::string text(H5Tget_size(type), '\0');
  check_hdf5(read(type, static_cast<void*>(text.data())), doing);
  return text.substr(0, text.find('\0'));
}

Kind kind_of(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_STRING: return Kind::text;
    case H5T_INTEGER: return Kind::integer;
    case H5T_FLOAT: return Kind::real;
    case H5T_ENUM: return H5Tget_nmembers(type) == 2 ? Kind::boolean : Kind::other;
    default: return Kind::other;
  }
}

std::vector<hsize_t> to_dims(const std::vector<long>& shape) { return {shape.begin(), shape.end()}; }

std::size_t count_of(const std::vector<long>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1},
                         [](std::size_t product, long n) { return product * static_cast<std::size_t>(n); });
}

template <class T>
void write_values(hid_t location, const std::string& path, const std::vector<T>& values, const std::vector<long>& shape,
                  hid_t file_type, hid_t memory_type) {
  if (values.size() != count_of(shape))
    throw std::logic_error(path + " has " + std::to_string(values.size()) + " values, its shape " + shape_text(shape) +
                           " says otherwise");
  const Dataset dataset = create_dataset(location, path, file_type, shape);
  if (!values.empty())
    check_hdf5(H5Dwrite(dataset.id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), "write " + path);
}

template <class T>
void read_values(hid_t location, const std::string& path, std::vector<T>& values, hid_t memory_type) {
  const Dataset dataset = open_dataset(location, path);
  require_stored(dataset, path);
  values.resize(count_of(dataset_shape(dataset)));
  if (!values.empty())
    check_hdf5(H5Dread(dataset.id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), "read " + path);
}

}  // namespace

void require_stored(const Dataset& dataset, const std::string& path) {
  const Datatype type(H5Dget_type(dataset.id()), "read the type of " + path);
  double bytes = static_cast<double>(H5Tget_size(type.id()));
  const std::vector<long> shape = dataset_shape(dataset);
  for (const long n : shape) bytes *= static_cast<double>(n);
  if (!(bytes <= 1100 * static_cast<double>(H5Dget_storage_size(dataset.id()))))
    throw Hdf5Error(path + " claims shape " + shape_text(shape) + ", far more than the file holds of it");
}

Datatype bool_type() {
  Datatype type(H5Tenum_create(H5T_STD_I8LE), "make a bool type");
  signed char value = 0;
  check_hdf5(H5Tenum_insert(type.id(), "FALSE", &value), "make a bool type");
  value = 1;
  check_hdf5(H5Tenum_insert(type.id(), "TRUE", &value), "make a bool type");
  return type;
}

Datatype fixed_text_type(std::size_t length) {
  Datatype type(H5Tcopy(H5T_C_S1), "make a text type");
  check_hdf5(H5Tset_size(type.id(), std::max<std::size_t>(length, 1)), "make a text type");
  check_hdf5(H5Tset_cset(type.id(), H5T_CSET_UTF8), "make a text type");
  check_hdf5(H5Tset_strpad(type.id(), H5T_STR_NULLPAD), "make a text type");
  return type;
}

void write_attribute(hid_t object, const std::string& name, const std::string& value) {
  const Datatype type = variable_text_type();
  const char* text = value.c_str();
  write_scalar_attribute(object, name, type.id(), type.id(), &text);
}

void write_attribute(hid_t object, const std::string& name, long value) {
  write_scalar_attribute(object, name, H5T_STD_I64LE, H5T_NATIVE_LONG, &value);
}

void write_attribute(hid_t object, const std::string& name, unsigned long long value) {
  write_scalar_attribute(object, name, H5T_STD_U64LE, H5T_NATIVE_ULLONG, &value);
}

void write_attribute(hid_t object, const std::string& name, double value) {
  write_scalar_attribute(object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

void write_attribute(hid_t object, const std::string& name, bool value) {
  const Datatype type = bool_type();
  const signed char byte = value ? 1 : 0;
  write_scalar_attribute(object, name, type.id(), type.id(), &byte);
}

void read_attribute(hid_t object, const std::string& name, std::string& value) {
  const std::string doing = "read attribute " + name;
  const Attribute attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), doing);
  require_one(Dataspace(H5Aget_space(attribute.id()), doing), doing);
  const Datatype type(H5Aget_type(attribute.id()), doing);
  value = read_one_text(type.id(), doing,
                        [&](hid_t memory_type, void* buffer) { return H5Aread(attribute.id(), memory_type, buffer); });
}

void read_attribute(hid_t object, const std::string& name, long& value) {
  read_scalar_attribute(object, name, H5T_NATIVE_LONG, &value);
}

void read_attribute(hid_t object, const std::string& name, unsigned long long& value) {
  read_scalar_attribute(object, name, H5T_NATIVE_ULLONG, &value);
}

void read_attribute(hid_t object, const std::string& name, double& value) {
  read_scalar_attribute(object, name, H5T_NATIVE_DOUBLE, &value);
}

void read_attribute(hid_t object, const std::string& name, bool& value) {
  signed char byte = 0;
  const Datatype type = bool_type();
  read_scalar_attribute(object, name, type.id(), &byte);
  value = byte != 0;
}

Kind attribute_kind(hid_t object, const std::string& name) {
  if (H5Aexists(object, name.c_str()) <= 0) return Kind::missing;
  const std::string doing = "open attribute " + name;
  const Attribute attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), doing);
  const Dataspace space(H5Aget_space(attribute.id()), doing);
  if (H5Sget_simple_extent_type(space.id()) != H5S_SCALAR) return Kind::other;
  const Datatype type(H5Aget_type(attribute.id()), doing);
  return kind_of(type.id());
}

std::vector<std::string> attribute_names(hid_t object) {
  std::vector<std::string> names;
  check_hdf5(H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, nullptr, append_attribute_name, &names),
             "list attributes");
  return names;
}

const char* to_string(Kind kind) {
  switch (kind) {
    case Kind::missing: return "missing";
    case Kind::text: return "text";
    case Kind::integer: return "an integer";
    case Kind::real: return "a floating-point number";
    case Kind::boolean: return "a boolean";
    case Kind::other: break;
  }
  return "of another type";
}

Dataset create_dataset(hid_t location, const std::string& path, hid_t type, const std::vector<long>& shape) {
  const std::string doing = "create " + path;
  const std::vector<hsize_t> dims = to_dims(shape);
  const Dataspace space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), doing);
  const PropertyList properties(H5Pcreate(H5P_DATASET_CREATE), doing);
  const std::size_t bytes = count_of(shape) * H5Tget_size(type);
  if (bytes >= large_bytes && !shape.empty()) {
    std::vector<hsize_t> chunk = dims;
    const std::size_t row_bytes = bytes / static_cast<std::size_t>(shape[0]);
    chunk[0] = std::clamp<hsize_t>(chunk_bytes / row_bytes, 1, dims[0]);
    check_hdf5(H5Pset_chunk(properties.id(), static_cast<int>(chunk.size()), chunk.data()), doing);
    if (H5Zfilter_avail(H5Z_FILTER_DEFLATE) > 0) {  // an HDF5 built without zlib stores it plainly
      check_hdf5(H5Pset_shuffle(properties.id()), doing);
      check_hdf5(H5Pset_deflate(properties.id(), 4), doing);
    }
  }
  return Dataset(H5Dcreate2(location, path.c_str(), type, space.id(), H5P_DEFAULT, properties.id(), H5P_DEFAULT),
                 doing);
}

void write_dataset(hid_t location, const std::string& path, const std::vector<double>& values,
                   const std::vector<long>& shape, hid_t file_type) {
  write_values(location, path, values, shape, file_type, H5T_NATIVE_DOUBLE);
}

void write_dataset(hid_t location, const std::string& path, const std::vector<long>& values,
                   const std::vector<long>& shape) {
  write_values(location, path, values, shape, H5T_STD_I64LE, H5T_NATIVE_LONG);
}

void write_text(hid_t location, const std::string& path, const std::string& text) {
  const std::string doing = "write " + path;
  const Datatype type = variable_text_type();
  const Dataspace space = scalar_space();
  const Dataset dataset(
      H5Dcreate2(location, path.c_str(), type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), doing);
  const char* pointer = text.c_str();
  check_hdf5(H5Dwrite(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &pointer), doing);
}

void copy_dataset(hid_t from, const std::string& path, hid_t to, const std::string& name) {
  const std::string doing = "copy " + path;
  const Dataset source = open_dataset(from, path);
  const Datatype type(H5Dget_type(source.id()), doing);
  const Dataspace space(H5Dget_space(source.id()), doing);
  const PropertyList properties(H5Dget_create_plist(source.id()), doing);
  const Dataset copy(H5Dcreate2(to, name.c_str(), type.id(), space.id(), H5P_DEFAULT, properties.id(), H5P_DEFAULT),
                     doing);
  const std::vector<hsize_t> shape = to_dims(dataset_shape(source));
  std::vector<char> bytes;
  if (H5Pget_layout(properties.id()) != H5D_CHUNKED) {
    bytes.resize(count_of(dataset_shape(source)) * H5Tget_size(type.id()));
    if (bytes.empty()) return;
    check_hdf5(H5Dread(source.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), doing);
    check_hdf5(H5Dwrite(copy.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), doing);
    return;
  }
  std::vector<hsize_t> chunk(shape.size()), offset(shape.size(), 0);
  check_hdf5(H5Pget_chunk(properties.id(), static_cast<int>(chunk.size()), chunk.data()), doing);
  const auto next = [&] {  // the offset of the chunk that follows, the last dimension fastest
    for (std::size_t d = shape.size(); d-- > 0;) {
      if ((offset[d] += chunk[d]) < shape[d]) return true;
      offset[d] = 0;
    }
    return false;
  };
  do {
    hsize_t size = 0;
    check_hdf5(H5Dget_chunk_storage_size(source.id(), offset.data(), &size), doing);
    bytes.resize(size);
    std::uint32_t filters = 0;
    check_hdf5(H5Dread_chunk(source.id(), H5P_DEFAULT, offset.data(), &filters, bytes.data()), doing);
    check_hdf5(H5Dwrite_chunk(copy.id(), H5P_DEFAULT, filters, offset.data(), size, bytes.data()), doing);
  } while (next());
}

Dataset open_dataset(hid_t location, const std::string& path) {
  return Dataset(H5Dopen2(location, path.c_str(), H5P_DEFAULT), "open dataset " + path);
}

std::vector<long> dataset_shape(const Dataset& dataset) {
  const std::string doing = "read the shape of a dataset";
  const Dataspace space(H5Dget_space(dataset.id()), doing);
  const int rank = check_hdf5(H5Sget_simple_extent_ndims(space.id()), doing);
  std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
  if (rank > 0) check_hdf5(H5Sget_simple_extent_dims(space.id(), dims.data(), nullptr), doing);
  return {dims.begin(), dims.end()};
}

Kind dataset_kind(const Dataset& dataset) {
  const Datatype type(H5Dget_type(dataset.id()), "read the type of a dataset");
  return kind_of(type.id());
}

void read_dataset(hid_t location, const std::string& path, std::vector<double>& values) {
  read_values(location, path, values, H5T_NATIVE_DOUBLE);
}

void read_dataset(hid_t location, const std::string& path, std::vector<long>& values) {
  read_values(location, path, values, H5T_NATIVE_LONG);
}

namespace {
/// Selects rows of a dataset, and makes a space in memory for them.
std::pair<Dataspace, Dataspace> select_rows(const Dataset& dataset, long first, std::vector<long> shape,
                                            const std::string& doing) {
  std::vector<hsize_t> start(shape.size(), 0);
  start[0] = static_cast<hsize_t>(first);
  const std::vector<hsize_t> dims = to_dims(shape);
  Dataspace file_space(H5Dget_space(dataset.id()), doing);
  check_hdf5(H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(), nullptr, dims.data(), nullptr), doing);
  return {std::move(file_space),
          Dataspace(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), doing)};
}
}  // namespace

std::vector<double> read_rows(const Dataset& dataset, long first, long count, const std::string& doing) {
  std::vector<long> shape = dataset_shape(dataset);
  shape[0] = count;
  std::vector<double> values(count_of(shape));
  if (values.empty()) return values;
  const auto [file_space, memory_space] = select_rows(dataset, first, shape, doing);
  check_hdf5(H5Dread(dataset.id(), H5T_NATIVE_DOUBLE, memory_space.id(), file_space.id(), H5P_DEFAULT, values.data()),
             doing);
  return values;
}

void write_rows(const Dataset& dataset, long first, const std::vector<double>& values) {
  const std::string doing = "write rows of a dataset";
  std::vector<long> shape = dataset_shape(dataset);
  shape[0] = 1;
  shape[0] = static_cast<long>(values.size() / std::max<std::size_t>(1, count_of(shape)));
  if (values.empty()) return;
  const auto [file_space, memory_space] = select_rows(dataset, first, shape, doing);
  check_hdf5(H5Dwrite(dataset.id(), H5T_NATIVE_DOUBLE, memory_space.id(), file_space.id(), H5P_DEFAULT, values.data()),
             doing);
}

std::string read_text(hid_t location, const std::string& path) {
  const std::string doing = "read " + path;
  const Dataset dataset = open_dataset(location, path);
  require_one(Dataspace(H5Dget_space(dataset.id()), doing), doing);
  const Datatype type(H5Dget_type(dataset.id()), doing);
  return read_one_text(type.id(), doing, [&](hid_t memory_type, void* buffer) {
    return H5Dread(dataset.id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer);
  });
}

Group open_group(hid_t location, const std::string& path) {
  return Group(H5Gopen2(location, path.c_str(), H5P_DEFAULT), "open group " + path);
}

Group create_group(hid_t location, const std::string& path) {
  return Group(H5Gcreate2(location, path.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), "create group " + path);
}

}  // namespace elkhorn::record
