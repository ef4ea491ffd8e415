// Arrays from .npy, .safetensors and HDF5 files, and what is said of files that are not as they should be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>

#include "../deck/deck_files.hpp"
#include "../record/sample.hpp"
#include "../solvers/reference.hpp"
#include "deck/deck.hpp"
#include "record/hdf5_io.hpp"
#include "systems/files.hpp"

namespace {

using namespace elkhorn;
using elkhorn::deck::DeckFiles;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

template <class T>
std::string bytes(const std::vector<T>& values) {
  std::string out(values.size() * sizeof(T), '\0');
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

std::string npy(const std::string& header, const std::string& data, int version = 1) {
  const auto size = version == 1 ? bytes<std::uint16_t>({static_cast<std::uint16_t>(header.size())})
                                 : bytes<std::uint32_t>({static_cast<std::uint32_t>(header.size())});
  return std::string("\x93NUMPY") + char(version) + '\0' + size + header + data;
}

std::string npy_header(const std::string& type, const std::string& shape, const std::string& order = "False") {
  return "{'descr': '" + type + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }     \n";
}

std::string safetensors(const std::string& header, const std::string& data) {
  return bytes<std::uint64_t>({header.size()}) + header + data;
}

const Origin origin{"deck.toml", "problem.drivers", 7};

systems::Array read(const std::string& reference, const std::vector<int>& ranks = {}) {
  return systems::read_reference(reference, origin, ranks);
}

/// What reading it complains of; it must name the deck's line and key, and the file.
std::string complaint(const std::string& reference, const std::vector<int>& ranks = {}) {
  try {
    read(reference, ranks);
  } catch (const InputError& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("deck.toml:7: problem.drivers: "),
                                HasSubstr(systems::parse_reference(reference).file)));
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "not an InputError: " << e.what();
    return e.what();
  }
  ADD_FAILURE() << reference << " was read";
  return "";
}

/// More numbers than are read at a time: 300,001 rows of 3, one after the other, written as float32.
struct Long {
  static constexpr long rows = 300001, columns = 3;
  std::vector<float> values;
  Long() {
    for (long i = 0; i < rows * columns; ++i) values.push_back(static_cast<float>(i));
  }
  std::vector<std::string> write(sample::Folder& folder) const {
    const std::string npy_file = folder.file("long.npy"), tensors = folder.file("long.safetensors"),
                      hdf5 = folder.file("long.h5");
    const std::string raw(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    std::ofstream(npy_file, std::ios::binary) << npy(npy_header("<f4", "(300001, 3)"), raw);
    std::ofstream(tensors, std::ios::binary) << safetensors(
        R"({"u": {"dtype": "F32", "shape": [300001, 3], "data_offsets": [0, )" + std::to_string(raw.size()) + "]}}",
        raw);
    record::File file = record::create_file(hdf5);
    record::write_dataset(file.id(), "u", std::vector<double>(values.begin(), values.end()), {rows, columns});
    file.close("close");
    return {npy_file, tensors + ":u", hdf5 + ":/u"};
  }
};

TEST(Pieces, OfLongArraysMakeTheWhole) {
  sample::Folder folder;
  const Long wanted;
  for (const std::string& reference : wanted.write(folder)) {
    SCOPED_TRACE(reference);
    const systems::ArrayFile file(reference, origin, {2});
    EXPECT_THAT(file.shape(), ElementsAre(Long::rows, Long::columns));
    std::vector<double> all;
    int pieces = 0;
    file.in_pieces(0, Long::rows, [&](long first, const systems::Array& rows) {
      EXPECT_EQ(first * Long::columns, long(all.size()));
      EXPECT_EQ(rows.shape[0] * Long::columns, long(rows.values.size()));
      all.insert(all.end(), rows.values.begin(), rows.values.end());
      ++pieces;
    });
    EXPECT_GT(pieces, 1);
    EXPECT_TRUE(std::equal(all.begin(), all.end(), wanted.values.begin(), wanted.values.end()));
    EXPECT_THAT(file.rows(200000, 1).values, ElementsAre(600000, 600001, 600002));
  }
}

TEST(Pieces, TellWhereInTheArrayAValueIs) {
  sample::Folder folder;
  Long bad;
  bad.values[3 * 299999 + 1] = std::nanf("");
  for (const std::string& reference : bad.write(folder)) {
    EXPECT_THAT(complaint(reference), HasSubstr("NaN at index [299999, 1]"));
    try {
      systems::ArrayFile(reference, origin).in_pieces(0, Long::rows, [](long, const systems::Array&) {});
      ADD_FAILURE() << reference << " was read";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("NaN at index [299999, 1]"));
    }
  }
}

TEST(References, AreToldApart) {
  using Format = systems::FileReference::Format;
  const auto is = [](const std::string& text, Format format, const std::string& file, const std::string& path) {
    const systems::FileReference r = systems::parse_reference(text);
    EXPECT_EQ(r.format, format) << text;
    EXPECT_EQ(r.file, file) << text;
    EXPECT_EQ(r.path, path) << text;
  };
  is("random", Format::none, "", "");
  is("weights.h5", Format::none, "", "");
  is(".npy", Format::none, "", "");
  is("a/b.h5:/w", Format::hdf5, "a/b.h5", "/w");
  is("a:/b.hdf5:/x.npy", Format::hdf5, "a:/b.hdf5", "/x.npy");
  is("a/u.npy", Format::npy, "a/u.npy", "");
  is("m.safetensors", Format::safetensors, "m.safetensors", "");
  is("m.safetensors:net.rnn", Format::safetensors, "m.safetensors", "net.rnn");
}

TEST(Npy, NumbersOfBothPrecisionsAndAllVersions) {
  const DeckFiles files;
  const auto f4 = read(files.write("a.npy", npy(npy_header("<f4", "(2, 3)"), bytes<float>({1, 2, 3, 4, 5, -6.5f}))));
  EXPECT_THAT(f4.shape, ElementsAre(2, 3));
  EXPECT_THAT(f4.values, ElementsAre(1, 2, 3, 4, 5, -6.5));
  for (int version = 1; version <= 3; ++version) {
    const auto f8 = read(files.write("b.npy", npy(npy_header("<f8", "(2,)"), bytes<double>({0.1, -1e300}), version)));
    EXPECT_THAT(f8.shape, ElementsAre(2));
    EXPECT_THAT(f8.values, ElementsAre(0.1, -1e300));
  }
  const auto scalar = read(files.write("c.npy", npy(npy_header("<f8", "()"), bytes<double>({2.5}))));
  EXPECT_TRUE(scalar.shape.empty());
  EXPECT_THAT(scalar.values, ElementsAre(2.5));
}

TEST(Npy, Malformed) {
  const DeckFiles files;
  const auto of = [&](const std::string& content) { return complaint(files.write("bad.npy", content)); };
  const std::string data = bytes<double>({1, 2});
  EXPECT_THAT(of(""), HasSubstr("is not a .npy file"));
  EXPECT_THAT(of("PK\3\4 something else"), HasSubstr("is not a .npy file"));
  EXPECT_THAT(of(npy(npy_header("<f8", "(2,)"), data, 9)), HasSubstr("format version 9"));
  EXPECT_THAT(of(npy(npy_header("<f8", "(3,)"), data)), HasSubstr("cut short"));
  EXPECT_THAT(of(npy(npy_header("<f8", "(99999999, 99999999, 99999999)"), data)), HasSubstr("cut short"));
  EXPECT_THAT(of(npy(npy_header("<f8", "(2,)"), data).substr(0, 30)), HasSubstr("ends within the header"));
  EXPECT_THAT(of(npy(npy_header("<i8", "(2,)"), data)), HasSubstr("numbers of type '<i8'"));
  EXPECT_THAT(of(npy(npy_header(">f8", "(2,)"), data)), HasSubstr("numbers of type '>f8'"));
  EXPECT_THAT(of(npy(npy_header("<f8", "(2,)", "True"), data)), HasSubstr("Fortran order"));
  EXPECT_THAT(of(npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,), }\n", data)),
              HasSubstr("'descr'"));
  EXPECT_THAT(of(npy("{'descr': '<f8', 'fortran_order': False, }\n", data)), HasSubstr("'shape'"));
  EXPECT_THAT(of(npy(npy_header("<f8", "(-2,)"), data)), HasSubstr("'shape'"));
  EXPECT_THAT(of(npy(npy_header("<f8", "(2,)"), bytes<double>({1, NAN}))), HasSubstr("NaN at index [1]"));
  EXPECT_THAT(complaint(files.write("bad.npy", npy(npy_header("<f8", "(2,)"), data)), {2, 3}), HasSubstr("shape [2]"));
  EXPECT_THAT(complaint(files.path("none.npy")), HasSubstr("cannot be read"));
}

TEST(Safetensors, AllNumberTypes) {
  const DeckFiles files;
  // 1.5 and the smallest subnormal of half; 1.5 and −2 of bfloat
  const std::string file =
      files.write("a.safetensors", safetensors(R"({"__metadata__":{"format":"pt"},
        "f4":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}, "f8":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},
        "half":{"dtype":"F16","shape":[2],"data_offsets":[16,20]},
        "b":{"dtype":"BF16","shape":[2],"data_offsets":[20,24]},
        "empty":{"dtype":"F32","shape":[0,3],"data_offsets":[24,24]}})",
                                               bytes<float>({1, -2}) + bytes<double>({0.1}) +
                                                   bytes<std::uint16_t>({0x3e00, 0x0001, 0x3fc0, 0xc000})));
  EXPECT_THAT(read(file + ":f4").shape, ElementsAre(1, 2));
  EXPECT_THAT(read(file + ":f4").values, ElementsAre(1, -2));
  EXPECT_THAT(read(file + ":f8").values, ElementsAre(0.1));
  EXPECT_THAT(read(file + ":half").values, ElementsAre(1.5, 0x1p-24));
  EXPECT_THAT(read(file + ":b").values, ElementsAre(1.5, -2));
  EXPECT_TRUE(read(file + ":empty").values.empty());
  EXPECT_TRUE(systems::has_array(file + ":f4", origin));
  EXPECT_FALSE(systems::has_array(file + ":__metadata__", origin));
  EXPECT_THAT(complaint(file + ":w"), AllOf(HasSubstr("no tensor \"w\""), HasSubstr("b, empty, f4")));
  EXPECT_THAT(complaint(file), HasSubstr("append the name"));
}

TEST(Safetensors, Malformed) {
  const DeckFiles files;
  const auto of = [&](const std::string& content) { return complaint(files.write("bad.safetensors", content) + ":w"); };
  const auto tensor = [&](const std::string& entry, const std::string& data) {
    return of(safetensors("{\"w\":" + entry + "}", data));
  };
  const std::string data = bytes<float>({1, 2});
  EXPECT_THAT(of("abc"), HasSubstr("cut short"));
  EXPECT_THAT(of(bytes<std::uint64_t>({200'000'000}) + "{}"), HasSubstr("its header would take 200000000 bytes"));
  EXPECT_THAT(of(bytes<std::uint64_t>({~0ull}) + "{}"), HasSubstr("its header would take"));
  EXPECT_THAT(of(bytes<std::uint64_t>({9}) + "{\"w\"}"), HasSubstr("ends within the header"));
  EXPECT_THAT(of(safetensors("[1, 2]", data)), HasSubstr("not a JSON object"));
  EXPECT_THAT(of(safetensors("{\"w\":", data)), HasSubstr("not a JSON object"));
  EXPECT_THAT(tensor(R"({"dtype":"F32","shape":[2]})", data), HasSubstr("needs dtype, shape and data_offsets"));
  EXPECT_THAT(tensor(R"({"dtype":"F32","shape":"2","data_offsets":[0,8]})", data), HasSubstr("shape of tensor"));
  EXPECT_THAT(tensor(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})", data), HasSubstr("shape of tensor"));
  EXPECT_THAT(tensor(R"({"dtype":"I64","shape":[1],"data_offsets":[0,8]})", data), HasSubstr("type I64"));
  EXPECT_THAT(tensor(R"({"dtype":"F32","shape":[3],"data_offsets":[0,12]})", data), HasSubstr("cut short"));
  EXPECT_THAT(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})", data), HasSubstr("does not fit"));
  EXPECT_THAT(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", data), HasSubstr("data_offsets"));
  EXPECT_THAT(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", bytes<float>({1, INFINITY})),
              HasSubstr("inf at index [1]"));
}

TEST(Decks, NameNumpyAndPyTorchFiles) {
  const DeckFiles files;
  files.write("u.npy", npy(npy_header("<f4", "(5, 3)"), bytes<float>(std::vector<float>(15, 0.5f))));
  files.write("s.npy", npy(npy_header("<f8", "(10,)"), bytes<double>(std::vector<double>(10, 0.25))));
  const std::string deck = files.write("deck.toml", "[system]\nkind = \"lstm\"\nweights = \"" +
                                                        test::reference_file("pytorch_lstm.safetensors") +
                                                        ":net.rnn\"\n[problem]\ndrivers = \"u.npy\"\ninitial_state = "
                                                        "\"s.npy\"\n[[solver]]\nkind = \"deer\"\n");
  const deck::Plan plan = deck::load_plan({deck}, {});
  ASSERT_EQ(plan.cases.size(), 1u);
  const systems::Shape shape = systems::inspect(plan.cases[0]);
  EXPECT_EQ(shape.state_dim, 10);
  EXPECT_EQ(shape.input_dim, 3);
  EXPECT_EQ(shape.length, 5);
}

// In float32 they would silently become infinite.
TEST(Decks, NumbersBeyondFloat32AreNamed) {
  const DeckFiles files;
  const double largest = std::numeric_limits<float>::max(), beyond = -1e39;
  files.write("u.npy", npy(npy_header("<f8", "(2, 2)"), bytes<double>({1, 2, beyond, largest})));
  files.write("fit.npy", npy(npy_header("<f8", "(2, 2)"), bytes<double>({1, 2, -1e-60, largest})));
  files.write("s.npy", npy(npy_header("<f8", "(2,)"), bytes<double>({1, beyond})));
  files.write("w.safetensors", safetensors(R"({"matrix":{"dtype":"F64","shape":[2,2],"data_offsets":[0,32]}})",
                                           bytes<double>({0, 1, 1e300, 0})));
  const auto what = [&](const std::string& system, const std::string& problem, const std::string& precision) {
    const std::string deck =
        files.write("deck.toml", "[system]\nkind = \"linear\"\n" + system + "\n[problem]\n" + problem +
                                     "\n[measure]\nprecision = \"" + precision + "\"\n[[solver]]\nkind = \"deer\"\n");
    try {
      systems::inspect(deck::load_plan({deck}, {}).cases.at(0));
    } catch (const InputError& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const std::string u = "drivers = \"u.npy\"", fit = "drivers = \"fit.npy\"";
  const auto names = [](const std::string& line_and_key, const std::string& file, const std::string& value,
                        const std::string& index) {
    return AllOf(HasSubstr("deck.toml:" + line_and_key + ": "), HasSubstr(file), HasSubstr("holds " + value),
                 HasSubstr("index " + index), HasSubstr("float32"));
  };
  EXPECT_THAT(what("state_dim = 2", u, "float32"), names("5: problem.drivers", "u.npy", "-1e+39", "[1, 0]"));
  EXPECT_THAT(what("state_dim = 2", fit + "\ninitial_state = \"s.npy\"", "float32"),
              names("6: problem.initial_state", "s.npy", "-1e+39", "[1]"));
  EXPECT_THAT(what("weights = \"w.safetensors\"", fit, "float32"),
              names("3: system.weights", "w.safetensors:matrix", "1e+300", "[1, 0]"));
  EXPECT_EQ(what("state_dim = 2", fit, "float32"), "");
  EXPECT_EQ(what("weights = \"w.safetensors\"", u + "\ninitial_state = \"s.npy\"", "float64"), "");
}

TEST(Decks, WeightsNeedNames) {
  const DeckFiles files;
  deck::Case c = test::basic_case("gru");
  c.weights = files.write("w.npy", npy(npy_header("<f4", "(1,)"), bytes<float>({1})));
  c.length = 3;
  try {
    systems::inspect(c);
    FAIL();
  } catch (const InputError& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("system.weights"), HasSubstr("holds no named arrays")));
  }
}

}  // namespace
