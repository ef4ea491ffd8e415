#include "record/hdf5.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "input_error.hpp"
#include "record/hdf5_io.hpp"
#include "sample.hpp"

namespace elkhorn::record {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const Origin origin{"deck.toml", "problem.drivers", 12};

class Hdf5Input : public testing::Test {
 protected:
  Hdf5Input() : path_(folder_.file("data.h5")) {
    File file = create_file(path_);
    create_group(file.id(), "group");
    write_dataset(file.id(), "group/matrix", std::vector<double>{1, 2, 3, 4, 5, 6.5}, {2, 3});
    write_dataset(file.id(), "narrow", std::vector<double>{0.1, -2}, {2}, H5T_IEEE_F32LE);
    write_dataset(file.id(), "whole", std::vector<long>{7, -8}, {2});
    write_dataset(file.id(), "scalar", std::vector<double>{3}, {});
    write_dataset(file.id(), "nothing", std::vector<double>{}, {0, 3});
    write_dataset(file.id(), "bad", std::vector<double>{0, 1, 2, 3, NAN, 5}, {3, 2});
    write_text(file.id(), "words", "hello");
    file.close("close");
  }
  sample::Folder folder_;
  std::string path_;
};

TEST_F(Hdf5Input, ReadsFloatsIntegersAndScalars) {
  const Array matrix = read_array(path_, "/group/matrix", origin, {2, 3});
  EXPECT_THAT(matrix.shape, ElementsAre(2, 3));
  EXPECT_THAT(matrix.values, ElementsAre(1, 2, 3, 4, 5, 6.5));
  EXPECT_THAT(read_array(path_, "narrow", origin).values, ElementsAre(0.1F, -2));
  EXPECT_THAT(read_array(path_, "/whole", origin).values, ElementsAre(7, -8));
  EXPECT_THAT(read_array(path_, "/scalar", origin).shape, ElementsAre());
  EXPECT_THAT(read_array(path_, "/scalar", origin).values, ElementsAre(3));
  EXPECT_THAT(read_array(path_, "/nothing", origin).shape, ElementsAre(0, 3));
}

TEST_F(Hdf5Input, ListsAndFinds) {
  EXPECT_THAT(list_children(path_, "/", origin),
              ElementsAre("bad", "group", "narrow", "nothing", "scalar", "whole", "words"));
  EXPECT_THAT(list_children(path_, "/group", origin), ElementsAre("matrix"));
  EXPECT_TRUE(exists(path_, "/group/matrix"));
  EXPECT_TRUE(exists(path_, "/"));
  EXPECT_FALSE(exists(path_, "/group/other"));
  EXPECT_FALSE(exists(path_, "/no/such/way"));
  EXPECT_FALSE(exists(path_, "/whole/below"));
  EXPECT_FALSE(exists(folder_.file("none.h5"), "/"));
}

TEST_F(Hdf5Input, EveryErrorNamesTheOriginAndTheCause) {
  const auto read = [&](const std::string& file, const std::string& dataset, std::vector<int> ranks = {}) {
    const std::string text = input_error([&] { read_array(file, dataset, origin, ranks); });
    EXPECT_THAT(text, HasSubstr("deck.toml:12: problem.drivers: "));
    return text;
  };
  EXPECT_THAT(read(folder_.file("none.h5"), "/x"), HasSubstr("no such file"));
  EXPECT_THAT(read(folder_.file(""), "/x"), HasSubstr("is a directory"));
  EXPECT_THAT(read(path_, "/x/y"), HasSubstr("no dataset /x/y"));
  EXPECT_THAT(read(path_, "/group"), HasSubstr("is not a dataset"));
  EXPECT_THAT(read(path_, "/words"), HasSubstr("does not hold numbers"));
  EXPECT_THAT(read(path_, "/group/matrix", {1, 3}), HasSubstr("shape [2, 3], expected 1 or 3 dimensions"));
  const std::string hollow = folder_.file("hollow.h5");  // claims a TiB, holds nothing
  {
    File file = create_file(hollow);
    create_dataset(file.id(), "u", H5T_IEEE_F64LE, {1L << 34, 8});
    file.close("close");
  }
  EXPECT_THAT(read(hollow, "/u"), HasSubstr("far more than the file holds"));
  const std::string text_file = folder_.file("text.h5");
  std::ofstream(text_file) << "not HDF5 at all\n";
  EXPECT_THAT(read(text_file, "/x"), HasSubstr("is not an HDF5 file"));
  const std::string cut = folder_.file("cut.h5");
  std::filesystem::copy_file(path_, cut);
  std::filesystem::resize_file(cut, std::filesystem::file_size(cut) / 2);
  EXPECT_THAT(read(cut, "/x"), HasSubstr("damaged"));
  EXPECT_THAT(input_error([&] { list_children(path_, "/whole", origin); }), HasSubstr("is not a group"));
}

TEST_F(Hdf5Input, NonFiniteValuesAreNamedByIndex) {
  const Array bad = read_array(path_, "/bad", origin);
  EXPECT_THAT(input_error([&] { require_finite(bad, "/bad", origin); }), HasSubstr("/bad holds NaN at index [2, 0]"));
  EXPECT_NO_THROW(require_finite(read_array(path_, "/group/matrix", origin), "/group/matrix", origin));
}

TEST(Hdf5Reference, IsSplitAtTheLastColonSlash) {
  EXPECT_EQ(split_reference("a/b.h5:/c/d", origin), std::make_pair(std::string("a/b.h5"), std::string("/c/d")));
  EXPECT_EQ(split_reference("odd:/name.h5:/c", origin).first, "odd:/name.h5");
  for (const char* bad : {"b.h5", "b.h5:c", ":/c", ""})
    EXPECT_THAT(input_error([&] { split_reference(bad, origin); }), HasSubstr("file.h5:/path")) << bad;
}

TEST(Hdf5Handle, ChecksReturnCodes) {
  EXPECT_THROW(create_file("/proc/elkhorn.h5"), Hdf5Error);
  EXPECT_THROW(open_dataset(H5I_INVALID_HID, "x"), Hdf5Error);
  sample::Folder folder;
  File first = create_file(folder.file("a.h5"));
  File second = std::move(first);
  EXPECT_LT(first.id(), 0);  // NOLINT: a moved-from handle owns nothing
  EXPECT_THROW(write_dataset(second.id(), "x", std::vector<double>{1, 2}, {3}), std::logic_error);
}

}  // namespace
}  // namespace elkhorn::record
