/// Results files that HDF5 reads without complaint and that break the layout of docs/results.md: attributes and datasets
/// of other types and shapes, missing, renamed, linked in circles. Made in memory.
#pragma once

#include <hdf5.h>

#include <string>
#include <vector>

#include "mutate.hpp"

namespace elkhorn::fuzz {

/// The name of the file in memory; no file has it.
inline constexpr char in_memory[] = "elkhorn-fuzz-in-memory";

namespace detail {

extern "C" inline herr_t elkhorn_fuzz_collect(hid_t, const char* name, const H5O_info_t*, void* out) {
  static_cast<std::vector<std::string>*>(out)->emplace_back(name);
  return 0;
}
extern "C" inline herr_t elkhorn_fuzz_attribute(hid_t, const char* name, const H5A_info_t*, void* out) {
  static_cast<std::vector<std::string>*>(out)->emplace_back(name);
  return 0;
}

inline hid_t random_type(Random& random) {
  static const std::vector<hid_t> plain = {H5T_IEEE_F64LE, H5T_IEEE_F32LE, H5T_STD_I64LE,
                                           H5T_STD_I8LE,   H5T_STD_U64LE,  H5T_STD_REF_OBJ};
  switch (random.below(9)) {
    case 0: {
      const hid_t text = H5Tcopy(H5T_C_S1);
      H5Tset_size(text, random.one_in(2) ? H5T_VARIABLE : 1 + random.below(40));
      return text;
    }
    case 1: {
      const hid_t choice = H5Tenum_create(H5T_STD_I8LE);
      for (signed char i = 0; i < static_cast<signed char>(1 + random.below(3)); ++i)
        H5Tenum_insert(choice, std::string(1, static_cast<char>('a' + i)).c_str(), &i);
      return choice;
    }
    case 2: {
      const hid_t pair = H5Tcreate(H5T_COMPOUND, 16);
      H5Tinsert(pair, "name", 0, H5T_IEEE_F64LE);
      H5Tinsert(pair, "status", 8, H5T_STD_I64LE);
      return pair;
    }
    case 3: return H5Tvlen_create(H5T_IEEE_F64LE);
    case 4: {
      const hsize_t size = 3;
      return H5Tarray_create2(H5T_IEEE_F64LE, 1, &size);
    }
    default: return H5Tcopy(random.pick(plain));
  }
}

inline hid_t random_space(Random& random, std::vector<hsize_t>& sizes) {
  sizes.clear();
  if (random.one_in(4)) return H5Screate(random.one_in(3) ? H5S_NULL : H5S_SCALAR);
  static const std::vector<hsize_t> usual = {0, 1, 2, 5, 6, 15, 16, 1000};
  static const std::vector<hsize_t> huge = {hsize_t{1} << 31, hsize_t{1} << 40, (hsize_t{1} << 63) - 1};
  for (std::size_t i = 1 + random.below(3); i > 0; --i)
    sizes.push_back(random.one_in(6) ? random.pick(huge) : random.pick(usual));
  return H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr);
}

/// Chunked, so that a shape may claim far more than the file holds.
inline void put_dataset(hid_t file, const std::string& path, Random& random) {
  std::vector<hsize_t> sizes;
  const hid_t type = random_type(random), space = random_space(random, sizes);
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  if (!sizes.empty()) {
    std::vector<hsize_t> chunk;
    for (const hsize_t size : sizes) chunk.push_back(std::max<hsize_t>(1, std::min<hsize_t>(size, 16)));
    H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data());
  }
  const hid_t dataset = H5Dcreate2(file, path.c_str(), type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  if (dataset >= 0) H5Dclose(dataset);
  H5Pclose(properties);
  H5Sclose(space);
  H5Tclose(type);
}

inline void put_attribute(hid_t object, const std::string& name, Random& random) {
  std::vector<hsize_t> sizes;
  const hid_t type = random_type(random);
  const hid_t space = random.one_in(3) ? random_space(random, sizes) : H5Screate(H5S_SCALAR);
  const hid_t attribute = H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT);
  const H5T_class_t kind = H5Tget_class(type);
  if (attribute >= 0) {
    if (H5Sget_simple_extent_npoints(space) == 1 && (kind == H5T_INTEGER || kind == H5T_FLOAT)) {
      static const std::vector<long> values = {0, -1, 1, 2, 7, 1L << 31, 1L << 62, -(1L << 62)};
      const long value = random.pick(values);
      H5Awrite(attribute, H5T_NATIVE_LONG, &value);
    }
    H5Aclose(attribute);
  }
  H5Sclose(space);
  H5Tclose(type);
}

/// Another number in an attribute that is one: sizes that no longer fit, statuses of other cases.
inline void change_number(hid_t object, const std::string& name, Random& random) {
  const hid_t attribute = H5Aopen(object, name.c_str(), H5P_DEFAULT);
  if (attribute < 0) return;
  const hid_t type = H5Aget_type(attribute);
  if (H5Tget_class(type) == H5T_INTEGER) {
    static const std::vector<long> values = {0, -1, 1, 2, 3, 6, 1L << 31, 1L << 40, (1L << 62), -(1L << 62)};
    const long value = random.pick(values);
    H5Awrite(attribute, H5T_NATIVE_LONG, &value);
  } else if (H5Tget_class(type) == H5T_FLOAT) {
    static const std::vector<double> values = {0, -1, 1, 1e300, -1e300, 1e-300, HUGE_VAL, -HUGE_VAL, NAN};
    const double value = random.pick(values);
    H5Awrite(attribute, H5T_NATIVE_DOUBLE, &value);
  }
  H5Tclose(type);
  H5Aclose(attribute);
}

}  // namespace detail

/// A sound file with one to four changes of structure. `image` are its bytes; so is what is returned.
inline std::string restructured(const std::string& image, Random& random) {
  using namespace detail;
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_fapl_core(access, 64 * 1024, 0);
  std::string copy = image;
  H5Pset_file_image(access, copy.data(), copy.size());
  const hid_t file = H5Fopen(in_memory, H5F_ACC_RDWR, access);
  H5Pclose(access);
  if (file < 0) return image;
  for (std::size_t changes = 1 + random.below(4); changes > 0; --changes) {
    std::vector<std::string> paths;
    H5Ovisit(file, H5_INDEX_NAME, H5_ITER_INC, elkhorn_fuzz_collect, &paths);
    const std::string path = random.pick(paths);  // "." is the root
    const hid_t object = H5Oopen(file, path.c_str(), H5P_DEFAULT);
    if (object < 0) continue;
    std::vector<std::string> names;
    H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, nullptr, elkhorn_fuzz_attribute, &names);
    const std::string name = names.empty() ? "new" : random.pick(names);
    switch (random.below(8)) {
      case 0: H5Adelete(object, name.c_str()); break;
      case 1:
        H5Adelete(object, name.c_str());
        put_attribute(object, name, random);
        break;
      case 2:
      case 3: change_number(object, name, random); break;
      case 4:
        if (path != ".") H5Ldelete(file, path.c_str(), H5P_DEFAULT);
        break;
      case 5:
        if (path != ".") {
          H5Ldelete(file, path.c_str(), H5P_DEFAULT);
          put_dataset(file, path, random);
        }
        break;
      case 6:  // another object in its place, perhaps one that contains it
        if (path != ".") {
          H5Ldelete(file, path.c_str(), H5P_DEFAULT);
          const std::string target = "/" + random.pick(paths);
          if (random.one_in(3))
            H5Lcreate_soft(target.c_str(), file, path.c_str(), H5P_DEFAULT, H5P_DEFAULT);
          else if (random.one_in(4))
            H5Lcreate_external("/dev/zero", "/", file, path.c_str(), H5P_DEFAULT, H5P_DEFAULT);
          else
            H5Lcreate_hard(file, target.c_str(), file, path.c_str(), H5P_DEFAULT, H5P_DEFAULT);
        }
        break;
      default: H5Lmove(file, path.c_str(), file, (path + "x").c_str(), H5P_DEFAULT, H5P_DEFAULT);
    }
    H5Oclose(object);
  }
  H5Fflush(file, H5F_SCOPE_GLOBAL);
  std::string bytes(static_cast<std::size_t>(std::max<ssize_t>(0, H5Fget_file_image(file, nullptr, 0))), '\0');
  if (!bytes.empty()) H5Fget_file_image(file, bytes.data(), bytes.size());
  H5Fclose(file);
  return bytes;
}

}  // namespace elkhorn::fuzz
