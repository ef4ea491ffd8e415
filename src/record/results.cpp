#include "record/results.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <stdexcept>

#include "record/hdf5_io.hpp"
#include "record/schema.hpp"

namespace elkhorn::record {
namespace {

std::string as_text(const std::string& text) { return text; }
std::string as_text(Status status) { return to_string(status); }

template <class T>
constexpr bool is_text = std::is_same_v<T, std::string> || std::is_same_v<T, Status>;

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

void write_case(hid_t cases, const CaseResult& result, const std::string& name, const FindStates& find_states) {
  const Group group = create_group(cases, name);
  visit_attributes(result, [&](const char* key, const auto& value) {
    if constexpr (is_text<std::decay_t<decltype(value)>>)
      write_attribute(group.id(), key, as_text(value));
    else
      write_attribute(group.id(), key, value);
  });
  if (result.history.batch > 0) create_group(group.id(), "history");
  visit_arrays(result, [&](const char* path, const auto& values, const std::vector<long>& shape) {
    write_dataset(group.id(), path, values, shape);
  });
  const auto location = find_states ? find_states(result) : std::nullopt;
  if (location) {
    const File source = open_input(location->file, {});
    copy_dataset(source.id(), location->dataset, group.id(), "states");
  } else if (!result.states.empty()) {
    write_states(group.id(), "states", result);
  }
}

/// One column of /summary: where it lies in a packed row, and how a value is put there.
struct Column {
  std::string name;
  std::size_t offset;
  Datatype type;
};

template <class T>
Datatype number_type() {
  if constexpr (std::is_same_v<T, bool>) return bool_type();
  hid_t native = H5T_NATIVE_DOUBLE;
  if constexpr (std::is_same_v<T, long>) native = H5T_NATIVE_LONG;
  if constexpr (std::is_same_v<T, unsigned long long>) native = H5T_NATIVE_ULLONG;
  return Datatype(H5Tcopy(native), "make a number type");
}

void write_summary(hid_t file, const std::vector<CaseResult>& cases) {
  const std::string doing = "write /summary";
  std::vector<Column> columns;
  std::size_t row_bytes = 0;
  // Fixed-length text (as long as the longest value) makes rows that h5py, pandas and HDFView show as a table.
  const CaseResult prototypes;
  visit_attributes(prototypes, [&](const char* name, const auto& prototype) {
    using T = std::decay_t<decltype(prototype)>;
    std::size_t width = 1;
    if constexpr (is_text<T>) {
      for (const CaseResult& result : cases)
        visit_attributes(result, [&](const std::string& other, const auto& value) {
          if constexpr (is_text<std::decay_t<decltype(value)>>)
            if (other == name) width = std::max(width, as_text(value).size());
        });
      columns.push_back({name, row_bytes, fixed_text_type(width)});
    } else {
      columns.push_back({name, row_bytes, number_type<T>()});
    }
    row_bytes += H5Tget_size(columns.back().type.id());
  });
  const Datatype row(H5Tcreate(H5T_COMPOUND, row_bytes), doing);
  for (const Column& column : columns)
    check_hdf5(H5Tinsert(row.id(), column.name.c_str(), column.offset, column.type.id()), doing);

  std::vector<char> table(row_bytes * cases.size(), '\0');
  for (std::size_t i = 0; i < cases.size(); ++i) {
    std::size_t c = 0;
    visit_attributes(cases[i], [&](const char*, const auto& value) {
      char* target = table.data() + i * row_bytes + columns[c++].offset;
      using T = std::decay_t<decltype(value)>;
      if constexpr (is_text<T>) {
        const std::string text = as_text(value);
        std::copy(text.begin(), text.end(), target);  // padded with zeros already
      } else if constexpr (std::is_same_v<T, bool>) {
        *target = value ? 1 : 0;
      } else {
        std::memcpy(target, &value, sizeof value);
      }
    });
  }
  const Dataset dataset = create_dataset(file, "summary", row.id(), {static_cast<long>(cases.size())});
  if (!cases.empty()) check_hdf5(H5Dwrite(dataset.id(), row.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, table.data()), doing);
}

/// More bytes than the results file can take: arrays at full size, generous metadata.
double size_bound(const std::vector<CaseResult>& cases, const Meta& meta, const std::string& deck_text,
                  const FindStates& find_states) {
  double bytes = (1 << 20) + 2.0 * static_cast<double>(deck_text.size());
  for (const auto& [name, value] : meta)
    if (const auto* text = std::get_if<std::string>(&value)) bytes += 2.0 * static_cast<double>(text->size());
  std::size_t row = 0;
  for (const CaseResult& result : cases) {
    std::size_t text = 0;
    visit_attributes(result, [&](const char*, const auto& value) {
      if constexpr (is_text<std::decay_t<decltype(value)>>) text += as_text(value).size();
    });
    row = std::max(row, text);
    bytes += 64 * 1024 + 2.0 * static_cast<double>(text);
    visit_arrays(result, [&](const char*, const auto& values, const std::vector<long>&) {
      bytes += 1.01 * 8 * static_cast<double>(values.size());
    });
    if (!result.states.empty() || (find_states && find_states(result))) bytes += states_size_bound(result);
  }
  // A column of /summary is as wide as its longest text, so no wider than all texts of one row; there are twelve.
  return bytes + static_cast<double>(cases.size()) * (1024 + 12.0 * static_cast<double>(row));
}

void write_file(const std::string& part, const std::vector<CaseResult>& cases, const Meta& meta,
                const std::string& deck_text, const FindStates& find_states, const Roofs& roofs) {
  const double bytes = size_bound(cases, meta, deck_text, find_states);
  const Writing writing;
  reserve(part, bytes);
  File file = create_file(part);
  reserve(part, bytes);
  write_attribute(file.id(), "format", std::string(format_name));
  write_attribute(file.id(), "format_version", std::string(format_version));
  write_attribute(file.id(), "created", utc_now());
  {
    const Group group = create_group(file.id(), "meta");
    for (const auto& [name, value] : meta)
      std::visit([&, &key = name](const auto& v) { write_attribute(group.id(), key, v); }, value);
    write_text(group.id(), "deck", deck_text);
    if (!roofs.attributes.empty() || !roofs.arrays.empty()) {
      const Group machine = create_group(file.id(), "roofs");
      for (const auto& [name, value] : roofs.attributes) write_attribute(machine.id(), name, value);
      for (const auto& [name, values] : roofs.arrays)
        write_dataset(machine.id(), name, values, {static_cast<long>(values.size())});
    }
    const Group all = create_group(file.id(), "cases");
    for (std::size_t i = 0; i < cases.size(); ++i)
      write_case(all.id(), cases[i], group_name(static_cast<long>(i)), find_states);
    write_summary(file.id(), cases);
  }
  check_hdf5(H5Fflush(file.id(), H5F_SCOPE_GLOBAL), "write " + part);
  file.close("write " + part);
}

/// Opens `path` (a file or a directory), syncs and closes it.
void sync(const std::string& path, int flags) {
  const int descriptor = open(path.c_str(), flags | O_CLOEXEC);
  const bool done = descriptor >= 0 && fsync(descriptor) == 0;
  const int reason = errno;
  if (descriptor >= 0) close(descriptor);
  if (!done) throw std::runtime_error("cannot write " + path + " to disk: " + std::strerror(reason));
}

}  // namespace

void write_results(const std::string& path, const std::vector<CaseResult>& cases, const Meta& meta,
                   const std::string& deck_text, const FindStates& find_states, const Roofs& roofs) {
  for (const CaseResult& result : cases) require_consistent(result);
  const std::string part = path + ".part";
  try {
    write_file(part, cases, meta, deck_text, find_states, roofs);
    std::filesystem::resize_file(part, std::filesystem::file_size(part));  // gives back what was reserved
    sync_file(part);
    std::filesystem::rename(part, path);
    sync_parent(path);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(part, ignored);
    throw;
  }
}

Results read_results(const std::string& path, const Origin& origin, bool with_states) {
  const File file = open_input(path, origin);
  try {
    if (attribute_kind(file.id(), "format") != Kind::text) throw Hdf5Error("attribute format is missing");
    std::string format;
    Results results;
    read_attribute(file.id(), "format", format);
    if (format != format_name) throw Hdf5Error("attribute format is \"" + format + "\"");
    read_attribute(file.id(), "format_version", results.version);
    if (results.version.rfind("1.", 0) != 0)
      throw Hdf5Error("its format_version " + results.version + " is not 1.x, which this program reads");
    read_attribute(file.id(), "created", results.created);
    results.meta = read_meta(open_group(file.id(), "meta").id());
    results.deck_text = read_text(file.id(), "meta/deck");
    if (link_exists(file.id(), "roofs")) {
      const Group machine = open_group(file.id(), "roofs");
      for (const std::string& name : attribute_names(machine.id()))
        if (attribute_kind(machine.id(), name) == Kind::real)
          read_attribute(machine.id(), name, results.roofs.attributes[name]);
      for (const std::string& name : child_names(machine.id()))
        read_dataset(machine.id(), name, results.roofs.arrays[name]);
    }
    const Group all = open_group(file.id(), "cases");
    for (const std::string& name : child_names(all.id())) {
      const Group group = open_group(all.id(), name);
      CaseResult result;
      result.index = static_cast<long>(results.cases.size());
      try {
        read_case_attributes(group.id(), result, results.version);
        read_case_arrays(group.id(), result);
        if (with_states && link_exists(group.id(), "states")) read_dataset(group.id(), "states", result.states);
        require_consistent(result);
      } catch (const std::exception& error) {
        throw Hdf5Error("/cases/" + name + ": " + error.what());
      }
      results.cases.push_back(std::move(result));
    }
    return results;
  } catch (const std::exception& error) {
    throw InputError(origin, path + " is not a complete Elkhorn results file: " + error.what());
  }
}

void require_consistent(const CaseResult& result) {
  visit_arrays(result, [&](const std::string& path, const auto& values, const std::vector<long>& shape) {
    long count = 1;
    for (const long n : shape) count *= n;
    if (count < 0 || values.size() != static_cast<std::size_t>(count))
      throw std::logic_error("case " + result.name + ": " + path + " has " + std::to_string(values.size()) +
                             " values, its attributes say " + shape_text(shape));
  });
  const auto states = static_cast<std::size_t>(result.length * result.batch * result.state_dim);
  if (!result.states.empty() && result.states.size() != states)
    throw std::logic_error("case " + result.name + ": states has " + std::to_string(result.states.size()) +
                           " values, its attributes say " + std::to_string(states));
}

Dataset create_states(hid_t location, const std::string& path, const CaseResult& result) {
  return create_dataset(location, path, result.precision == "float32" ? H5T_IEEE_F32LE : H5T_IEEE_F64LE,
                        {result.length, result.batch, result.state_dim});
}

void write_states(hid_t location, const std::string& path, const CaseResult& result) {
  write_rows(create_states(location, path, result), 0, result.states);
}

Meta read_meta(hid_t group) {
  Meta meta;
  for (const std::string& name : attribute_names(group)) {
    switch (attribute_kind(group, name)) {
      case Kind::text: {
        std::string value;
        read_attribute(group, name, value);
        meta[name] = value;
        break;
      }
      case Kind::integer:
      case Kind::boolean: {
        long value = 0;
        read_attribute(group, name, value);
        meta[name] = value;
        break;
      }
      case Kind::real: {
        double value = 0;
        read_attribute(group, name, value);
        meta[name] = value;
        break;
      }
      default: break;  // added by a later version or another program
    }
  }
  return meta;
}

void read_case_attributes(hid_t group, CaseResult& result, const std::string& version) {
  visit_attributes(result, [&](const char* name, auto& value) {
    if (!in_version(version, name)) return;
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Status>) {
      std::string text;
      read_attribute(group, name, text);
      const auto status = parse_status(text);
      if (!status) throw Hdf5Error("attribute status is \"" + text + "\", which is no status");
      value = *status;
    } else {
      read_attribute(group, name, value);
    }
  });
}

void read_case_arrays(hid_t group, CaseResult& result) {
  if (link_exists(group, "history/residual")) {
    const auto shape = dataset_shape(open_dataset(group, "history/residual"));
    if (shape.size() != 2) throw Hdf5Error("history/residual has shape " + shape_text(shape));
    result.history.iterations = shape[0] - 1;
    result.history.batch = shape[1];
  }
  visit_arrays(result,
               [&](const char* path, auto& values, const std::vector<long>&) { read_dataset(group, path, values); });
}

Summary::Summary(hid_t file)
    : dataset_(open_dataset(file, "summary")), row_(H5Dget_type(dataset_.id()), "read the type of /summary") {
  if (H5Tget_class(row_.id()) != H5T_COMPOUND || H5Tget_size(row_.id()) == 0)
    throw Hdf5Error("/summary is not a compound table");
  // Of values that lie elsewhere the table would hold pointers.
  if (H5Tdetect_class(row_.id(), H5T_VLEN) != 0 || H5Tdetect_class(row_.id(), H5T_REFERENCE) != 0)
    throw Hdf5Error("/summary holds values of variable length");
  for (int i = 0; i < H5Tget_nmembers(row_.id()); ++i)
    if (H5Tis_variable_str(Datatype(H5Tget_member_type(row_.id(), static_cast<unsigned>(i)), "read a column").id()) > 0)
      throw Hdf5Error("/summary holds values of variable length");
  require_stored(dataset_, "/summary");
  bytes_.resize(static_cast<std::size_t>(dataset_shape(dataset_).at(0)) * H5Tget_size(row_.id()));
  if (!bytes_.empty())
    check_hdf5(H5Dread(dataset_.id(), row_.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes_.data()), "read /summary");
}

unsigned Summary::member(const std::string& name) const {
  const int index = H5Tget_member_index(row_.id(), name.c_str());
  if (index < 0) throw Hdf5Error("/summary has no column " + name);
  return static_cast<unsigned>(index);
}

std::vector<char> Summary::values_of(unsigned member, std::size_t width) const {
  const std::size_t row_size = H5Tget_size(row_.id()), rows = bytes_.size() / row_size;
  const Datatype type(H5Tget_member_type(row_.id(), member), "read a column of /summary");
  const std::size_t offset = H5Tget_member_offset(row_.id(), member), size = H5Tget_size(type.id());
  if (size == 0 || offset + size > row_size || size > width)
    throw Hdf5Error("a column of /summary lies outside its row");
  std::vector<char> values(rows * width);
  for (std::size_t i = 0; i < rows; ++i) std::memcpy(&values[i * width], &bytes_[i * row_size + offset], size);
  return values;
}

void Summary::column(const std::string& name, std::vector<std::string>& values) const {
  const unsigned index = member(name);
  const Datatype type(H5Tget_member_type(row_.id(), index), "read column " + name);
  if (H5Tget_class(type.id()) != H5T_STRING) throw Hdf5Error("column " + name + " of /summary is not text");
  const std::size_t width = H5Tget_size(type.id());
  const std::vector<char> bytes = values_of(index, width);
  for (std::size_t i = 0; i < bytes.size(); i += width) {
    const std::string cell(bytes.data() + i, width);
    values.push_back(cell.substr(0, cell.find('\0')));
  }
}

void Summary::column(const std::string& name, std::vector<double>& values) const {
  const unsigned index = member(name);
  const Datatype type(H5Tget_member_type(row_.id(), index), "read column " + name);
  const H5T_class_t kind = H5Tget_class(type.id());
  if (kind != H5T_ENUM && kind != H5T_INTEGER && kind != H5T_FLOAT)
    throw Hdf5Error("column " + name + " of /summary is not numeric");
  // H5Tconvert works in place, on values that lie side by side, so in room for the larger of both.
  const std::size_t from = H5Tget_size(type.id());
  const Datatype target = kind == H5T_ENUM ? bool_type() : Datatype(H5Tcopy(H5T_NATIVE_DOUBLE), "read column " + name);
  const std::size_t to = H5Tget_size(target.id());
  std::vector<char> bytes = values_of(index, from);
  const std::size_t rows = bytes.size() / from;
  bytes.resize(rows * std::max(from, to));
  if (rows > 0)
    check_hdf5(H5Tconvert(type.id(), target.id(), rows, bytes.data(), nullptr, H5P_DEFAULT), "read column " + name);
  for (std::size_t i = 0; i < rows; ++i) {
    double value = 0;
    if (kind == H5T_ENUM)
      value = bytes[i] != 0 ? 1 : 0;
    else
      std::memcpy(&value, &bytes[i * sizeof value], sizeof value);
    values.push_back(value);
  }
}

double states_size_bound(const CaseResult& result) {
  const double count =
      static_cast<double>(result.length) * static_cast<double>(result.batch) * static_cast<double>(result.state_dim);
  return (1 << 20) + 1.01 * count * (result.precision == "float32" ? 4 : 8);
}

void reserve(const std::string& path, double bytes) {
  const auto fail = [&](const std::string& reason) {
    throw std::runtime_error("no room for " + path + ", which may take " +
                             std::to_string(static_cast<long>(bytes / (1 << 20)) + 1) + " MiB: " + reason);
  };
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      bytes > static_cast<double>(limit.rlim_cur))
    fail("the limit on the size of files (ulimit -f) is lower");
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) throw std::runtime_error("cannot write " + path + ": " + std::strerror(errno));
  int reason = EOPNOTSUPP;
#ifdef __linux__
  reason = fallocate(descriptor, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
#endif
  struct statvfs space {};
  const bool known = fstatvfs(descriptor, &space) == 0;
  close(descriptor);
  if (reason == ENOSPC || reason == EDQUOT || reason == EFBIG) fail(std::strerror(reason));
  // File systems that cannot reserve can still tell how much is free.
  const double free = static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize);
  if (reason != 0 && known && free < bytes) fail("the disk is full");
}

std::string group_name(long index) {
  const std::string digits = std::to_string(index);
  return std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits;
}

void sync_file(const std::string& path) { sync(path, O_RDONLY); }

void sync_parent(const std::string& path) {
  const auto parent = std::filesystem::absolute(path).parent_path();
  sync(parent.string(), O_RDONLY | O_DIRECTORY);
}

}  // namespace elkhorn::record
