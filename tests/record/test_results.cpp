#include "record/results.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "limit.hpp"
#include "record/check.hpp"
#include "record/hdf5_io.hpp"
#include "sample.hpp"

namespace elkhorn::record {
namespace {

namespace fs = std::filesystem;

TEST(Results, EveryAttributeAndArrayComesBackBitForBit) {
  const sample::Folder folder;
  const std::string path = folder.file("r.h5");
  sample::Options options;
  options.states = true;
  auto written = sample::results(options);
  written[0].residual_max = -0.0;
  written[1].flops = 4.9406564584124654e-324;  // the smallest denormal
  Roofs roofs;
  roofs.attributes = {{"triad_float32", 1.9e10}, {"launch_s", 6e-7}};
  roofs.arrays = {{"latency_ranks", {1, 2}}, {"allreduce_s", {1e-7, 5e-6}}, {"exscan_s", {1e-7, 4e-6}}};
  write_results(path, written, sample::meta(), sample::deck_text(), {}, roofs);
  const Results read = read_results(path, {}, true);
  EXPECT_EQ(read.version, "1.1");
  EXPECT_EQ(read.roofs.attributes, roofs.attributes);
  EXPECT_EQ(read.roofs.arrays, roofs.arrays);
  EXPECT_THAT(check_results(path), testing::IsEmpty());
  EXPECT_EQ(read.meta, sample::meta());
  EXPECT_EQ(read.deck_text, sample::deck_text());
  ASSERT_EQ(read.cases.size(), written.size());
  for (std::size_t i = 0; i < written.size(); ++i) {
    EXPECT_EQ(sample::difference(written[i], read.cases[i], true), "") << written[i].name;
    EXPECT_EQ(read.cases[i].index, static_cast<long>(i));
  }
  EXPECT_FALSE(fs::exists(path + ".part"));
  EXPECT_THAT(read_results(path, {}).cases[0].states, testing::IsEmpty());
}

TEST(Results, StatesAreStoredInThePrecisionOfTheCase) {
  const sample::Folder folder;
  sample::Options options;
  options.states = true;
  write_results(folder.file("r.h5"), sample::results(options), sample::meta(), "x");
  const File file = open_input(folder.file("r.h5"), {});
  const auto size_of = [&](const std::string& group) {
    const Datatype type(H5Dget_type(open_dataset(file.id(), "cases/" + group + "/states").id()), "type");
    return H5Tget_size(type.id());
  };
  EXPECT_EQ(size_of("000001"), 4U);  // gru, float32
  EXPECT_EQ(size_of("000011"), 8U);  // ar_gru, float64
  // Compressed: a fraction of what the values take.
  const Dataset large = open_dataset(file.id(), "cases/000005/states");
  EXPECT_LT(H5Dget_storage_size(large.id()), 10000U * 4U * 8U * 4U);
}

TEST(Results, NoCasesMakeAReadableFile) {
  const sample::Folder folder;
  write_results(folder.file("r.h5"), {}, sample::meta(), "x");
  EXPECT_TRUE(read_results(folder.file("r.h5"), {}).cases.empty());
  EXPECT_THAT(check_results(folder.file("r.h5")), testing::IsEmpty());
}

TEST(Results, ArraysThatDoNotFitTheirAttributesAreRefused) {
  const sample::Folder folder;
  auto cases = sample::results();
  cases[1].time_s.pop_back();
  EXPECT_THROW(write_results(folder.file("r.h5"), cases, {}, "x"), std::logic_error);
  cases = sample::results();
  cases[1].states = {1, 2, 3};
  EXPECT_THROW(write_results(folder.file("r.h5"), cases, {}, "x"), std::logic_error);
  EXPECT_FALSE(fs::exists(folder.file("r.h5")));
}

TEST(Results, AFullDiskLeavesTheOlderFileAlone) {
  const sample::Folder folder;
  const std::string path = folder.file("r.h5");
  std::ofstream(path) << "older";
  {
    const sample::FileSizeLimit limit(20000);
    EXPECT_THROW(write_results(path, sample::results(), sample::meta(), "x"), std::runtime_error);
  }
  EXPECT_EQ(fs::file_size(path), 5U);
  EXPECT_FALSE(fs::exists(path + ".part"));
}

TEST(Results, NothingHalfWrittenIsLeftWhereTheFileCannotBePutInPlace) {
  const sample::Folder folder;
  const std::string path = folder.file("r.h5");
  fs::create_directories(path + "/full");
  EXPECT_THROW(write_results(path, sample::results(), sample::meta(), "x"), std::runtime_error);
  EXPECT_FALSE(fs::exists(path + ".part"));
}

TEST(Results, OtherFilesAreRefusedWithAReason) {
  const sample::Folder folder;
  const std::string path = folder.file("r.h5");
  create_file(path).close("close");
  try {
    read_results(path, {"--resume", "", 0});
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("is not a complete Elkhorn results file"));
  }
  EXPECT_THROW(read_results(folder.file("none.h5"), {}), InputError);
}

}  // namespace
}  // namespace elkhorn::record
