#include "systems/files.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <regex>

namespace elkhorn::systems {

namespace {

using Format = FileReference::Format;

// Both formats are little-endian, as is every machine this program is built for.
constexpr std::uint64_t longest_header = 100'000'000;  // the safetensors specification's own limit

struct NumberType {
  std::uint64_t bytes;
  double (*decode)(const char*);
};

template <class T>
double plain(const char* p) {
  T x;
  std::memcpy(&x, p, sizeof(x));
  return static_cast<double>(x);
}

/// IEEE half precision: 1 sign, 5 exponent, 10 mantissa bits.
double half(const char* p) {
  std::uint16_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == 31) return mantissa ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  return sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

/// The upper half of a float.
double bfloat(const char* p) {
  char wide[4] = {0, 0, p[0], p[1]};
  return plain<float>(wide);
}

/// A file read piece by piece; every piece is checked against the file's end.
class Reader {
 public:
  Reader(std::string file, Origin origin)
      : name_(std::move(file)), origin_(std::move(origin)), in_(name_, std::ios::binary) {
    in_.seekg(0, std::ios::end);
    const std::streamoff end = in_.tellg();
    if (!in_ || end < 0) fail("cannot be read");
    size_ = static_cast<std::uint64_t>(end);
  }

  [[noreturn]] void fail(const std::string& what) const { throw InputError(origin_, name_ + " " + what); }
  std::uint64_t size() const { return size_; }

  std::string read(std::uint64_t offset, std::uint64_t bytes, const std::string& what) {
    if (offset > size_ || bytes > size_ - offset) fail("is cut short: it ends within " + what);
    std::string out(static_cast<std::size_t>(bytes), '\0');
    in_.seekg(static_cast<std::streamoff>(offset));
    in_.read(out.data(), static_cast<std::streamsize>(bytes));
    if (!in_) fail("cannot be read: " + what);
    return out;
  }

  template <class T>
  T number(std::uint64_t offset, const std::string& what) {
    T x;
    std::memcpy(&x, read(offset, sizeof(T), what).data(), sizeof(T));
    return x;
  }

  /// How many numbers an array has whose shape a header claims, if the file can hold them.
  std::uint64_t count_of(const std::vector<long>& shape, NumberType type, std::uint64_t offset,
                         const std::string& what) {
    std::uint64_t count = 1;
    for (const long extent : shape) {
      if (extent != 0 && count > size_ / static_cast<std::uint64_t>(extent))
        fail("is cut short: " + what + " has shape " + record::shape_text(shape) + ", the file has " +
             std::to_string(size_) + " bytes");
      count *= static_cast<std::uint64_t>(extent);
    }
    if (offset > size_ || count * type.bytes > size_ - offset) fail("is cut short: it ends within " + what);
    return count;
  }

 private:
  std::string name_;
  Origin origin_;
  std::ifstream in_;
  std::uint64_t size_ = 0;
};

}  // namespace

class ArrayFile::Source {
 public:
  virtual ~Source() = default;
  virtual std::vector<double> rows(long first, long count) = 0;
  std::vector<long> shape;
};

namespace {

/// Numbers one after the other from some place of a file on.
struct Plain : ArrayFile::Source {
  Reader in;
  NumberType type{};
  std::uint64_t begin = 0, numbers = 0;
  std::string what;

  explicit Plain(Reader file) : in(std::move(file)) {}
  void hold(NumberType number, std::uint64_t offset, std::string name) {
    type = number;
    begin = offset;
    what = std::move(name);
    numbers = in.count_of(shape, type, begin, what);
  }
  std::vector<double> rows(long first, long count) override {
    const std::uint64_t each = shape.empty() ? 1 : shape[0] == 0 ? 0 : numbers / static_cast<std::uint64_t>(shape[0]);
    const std::string bytes = in.read(begin + static_cast<std::uint64_t>(first) * each * type.bytes,
                                      static_cast<std::uint64_t>(count) * each * type.bytes, what);
    std::vector<double> out(bytes.size() / type.bytes);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = type.decode(bytes.data() + i * type.bytes);
    return out;
  }
};

struct InHdf5 : ArrayFile::Source {
  record::ArrayReader in;
  InHdf5(const FileReference& named, const Origin& origin, const std::vector<int>& ranks)
      : in(named.file, named.path, origin, ranks) {
    shape = in.shape();
  }
  std::vector<double> rows(long first, long count) override { return in.rows(first, count); }
};

struct Tensors {
  Reader in;
  nlohmann::json header;
  std::uint64_t data;  ///< where the numbers begin

  Tensors(const std::string& file, const Origin& origin) : in(file, origin) {
    const auto length = in.number<std::uint64_t>(0, "the header's length");
    if (length > longest_header || length > in.size())
      in.fail("is no safetensors file, or cut short: its header would take " + std::to_string(length) + " bytes");
    header = nlohmann::json::parse(in.read(8, length, "the header"), nullptr, false);
    if (!header.is_object()) in.fail("is no safetensors file: its header is not a JSON object");
    header.erase("__metadata__");
    data = 8 + length;
  }

  std::string names() const {
    constexpr std::size_t most = 8;
    std::vector<std::string> all;
    for (const auto& [name, entry] : header.items()) all.push_back(name);
    const std::string more = all.size() > most ? fmt::format(" and {} more", all.size() - most) : "";
    all.resize(std::min(all.size(), most));
    return fmt::format("{}{}", fmt::join(all, ", "), more);
  }

  std::unique_ptr<Plain> tensor(const std::string& name) && {
    if (name.empty()) in.fail("holds named tensors; append the name of one, as in \":drivers\": it has " + names());
    if (!header.contains(name)) in.fail("has no tensor \"" + name + "\"; it has " + names());
    const std::string what = "tensor \"" + name + "\"";
    std::vector<long> shape;
    std::string type;
    std::vector<std::uint64_t> range;
    try {
      const auto& entry = header.at(name);
      type = entry.at("dtype").get<std::string>();
      for (const auto& extent : entry.at("shape")) {
        if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() > std::numeric_limits<std::int32_t>::max())
          in.fail("has a malformed header: the shape of " + what);
        shape.push_back(extent.get<long>());
      }
      range = entry.at("data_offsets").get<std::vector<std::uint64_t>>();
    } catch (const nlohmann::json::exception&) {
      in.fail("has a malformed header: " + what + " needs dtype, shape and data_offsets");
    }
    const auto number = type == "F32"    ? NumberType{4, plain<float>}
                        : type == "F64"  ? NumberType{8, plain<double>}
                        : type == "F16"  ? NumberType{2, half}
                        : type == "BF16" ? NumberType{2, bfloat}
                                         : NumberType{0, nullptr};
    if (!number.decode) in.fail("has " + what + " of type " + type + "; F64, F32, F16 and BF16 can be read");
    if (range.size() != 2 || range[0] > range[1] || range[1] > in.size())
      in.fail("is cut short or malformed: the data_offsets of " + what);
    auto out = std::make_unique<Plain>(std::move(in));
    out->shape = shape;
    out->hold(number, data + range[0], what);
    if (out->numbers * number.bytes != range[1] - range[0])
      out->in.fail("has a malformed header: the shape " + record::shape_text(shape) + " of " + what +
                   " does not fit its data_offsets");
    return out;
  }
};

std::unique_ptr<Plain> open_npy(const std::string& file, const Origin& origin) {
  Reader in(file, origin);
  if (in.size() < 10 || in.read(0, 6, "the magic number") != "\x93NUMPY") in.fail("is not a .npy file");
  const int version = in.read(6, 1, "the version")[0];
  if (version < 1 || version > 3)
    in.fail("has .npy format version " + std::to_string(version) + "; 1 to 3 can be read");
  const std::uint64_t length = version == 1 ? in.number<std::uint16_t>(8, "the header's length")
                                            : in.number<std::uint32_t>(8, "the header's length");
  const std::uint64_t begin = version == 1 ? 10 : 12;
  if (length > longest_header) in.fail("has a malformed .npy header of " + std::to_string(length) + " bytes");
  const std::string header = in.read(begin, length, "the header");

  // A Python dictionary of three entries, as numpy.lib.format writes it; a structured type has no quoted descr.
  const auto entry = [&](const std::string& key, const std::string& pattern) {
    std::smatch found;
    if (!std::regex_search(header, found, std::regex("'" + key + "'\\s*:\\s*" + pattern)))
      in.fail("has a malformed .npy header: it needs '" + key + "'" + (key == "descr" ? " of one number type" : ""));
    return found[1].str();
  };
  const std::string type = entry("descr", "'([^']*)'");
  if (type != "<f4" && type != "<f8")
    in.fail("holds numbers of type '" + type + "'; '<f4' and '<f8' (float32, float64) can be read");
  if (entry("fortran_order", "(True|False)") == "True")
    in.fail("is in Fortran order; save numpy.ascontiguousarray(array) instead");
  const std::string extents = entry("shape", "\\(([0-9, ]*)\\)");
  std::vector<long> shape;
  const std::regex digits("[0-9]+");
  for (std::sregex_iterator it(extents.begin(), extents.end(), digits), end; it != end; ++it) {
    if (it->length() > 10) in.fail("has a malformed .npy header: shape (" + extents + ")");
    shape.push_back(std::stol(it->str()));
  }
  auto out = std::make_unique<Plain>(std::move(in));
  out->shape = shape;
  out->hold(type == "<f4" ? NumberType{4, plain<float>} : NumberType{8, plain<double>}, begin + length, "the array");
  return out;
}

}  // namespace

FileReference parse_reference(const std::string& reference) {
  const auto ends_with = [&](const std::string& end) {
    return reference.size() > end.size() && reference.compare(reference.size() - end.size(), end.size(), end) == 0;
  };
  const std::string safetensors = ".safetensors";
  if (ends_with(safetensors)) return {Format::safetensors, reference, ""};
  if (const std::size_t at = reference.find(safetensors + ":"); at != std::string::npos && at > 0) {
    const std::size_t colon = at + safetensors.size();
    return {Format::safetensors, reference.substr(0, colon), reference.substr(colon + 1)};
  }
  if (const std::size_t colon = reference.rfind(":/"); colon != std::string::npos && colon > 0)
    return {Format::hdf5, reference.substr(0, colon), reference.substr(colon + 1)};
  if (ends_with(".npy")) return {Format::npy, reference, ""};
  return {};
}

ArrayFile::ArrayFile(const std::string& reference, const Origin& origin, const std::vector<int>& ranks)
    : reference_(reference), origin_(origin) {
  const FileReference named = parse_reference(reference);
  switch (named.format) {
    case Format::none:
      throw InputError(origin, "\"" + reference + "\" names no file.h5:/path, .safetensors or .npy file");
    case Format::hdf5: source_ = std::make_unique<InHdf5>(named, origin, ranks); break;
    case Format::safetensors: source_ = Tensors(named.file, origin).tensor(named.path); break;
    case Format::npy: source_ = open_npy(named.file, origin); break;
  }
  if (!ranks.empty() && std::find(ranks.begin(), ranks.end(), static_cast<int>(shape().size())) == ranks.end())
    throw InputError(origin, fmt::format("{} has shape {}, expected {} dimensions", reference,
                                         record::shape_text(shape()), fmt::join(ranks, " or ")));
}
ArrayFile::~ArrayFile() = default;

const std::vector<long>& ArrayFile::shape() const { return source_->shape; }

Array ArrayFile::rows(long first, long count) const {
  Array out{shape(), source_->rows(first, count)};
  if (!out.shape.empty()) out.shape[0] = count;
  record::require_finite(out, reference_, origin_, first);
  return out;
}

Array read_reference(const std::string& reference, const Origin& origin, const std::vector<int>& ranks) {
  const ArrayFile file(reference, origin, ranks);
  return file.rows(0, file.shape().empty() ? 1 : file.shape()[0]);
}

std::string member(const std::string& weights, const std::string& name, const Origin& origin) {
  const FileReference named = parse_reference(weights);
  switch (named.format) {
    case Format::hdf5: return named.file + ":" + (named.path == "/" ? "" : named.path) + "/" + name;
    case Format::safetensors: {
      const bool dot = named.path.empty() || named.path.back() == '.';
      return named.file + ":" + named.path + (dot ? "" : ".") + name;
    }
    case Format::npy:
    case Format::none: break;
  }
  throw InputError(origin, "\"" + weights +
                               "\" holds no named arrays; weights are a group of an HDF5 file, "
                               "\"file.h5:/group\", or a .safetensors file");
}

bool has_array(const std::string& reference, const Origin& origin) {
  const FileReference named = parse_reference(reference);
  if (named.format == Format::hdf5) return record::exists(named.file, named.path);
  if (named.format == Format::safetensors) return Tensors(named.file, origin).header.contains(named.path);
  return names_file(reference);
}

}  // namespace elkhorn::systems
