#include "record/guard.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "record/check.hpp"
#include "record/hdf5_io.hpp"
#include "sample.hpp"

namespace elkhorn::record {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Lines = std::vector<std::string>;

Guarded guarded(const std::function<Lines()>& work) { return in_child(1, 1e9, work); }

TEST(Guard, HandsOverLinesOfAnyLength) {
  const std::string large(1 << 20, 'x');
  const Guarded done = guarded([&] { return Lines{"one", "", "σ² \n two", large, std::string("a\0b", 3)}; });
  EXPECT_EQ(done.broken_off, "");
  EXPECT_THAT(done.lines, ElementsAre("one", "", "σ² \n two", large, "a b"));
  EXPECT_THAT(guarded([] { return Lines{}; }).lines, IsEmpty());
}

TEST(Guard, ErrorsAreThrownAgain) {
  const auto input_error = [] { return guarded([]() -> Lines { throw InputError("no such file"); }); };
  EXPECT_THROW(input_error(), InputError);
  const auto other = [] { return guarded([]() -> Lines { throw std::logic_error("a defect"); }); };
  EXPECT_THROW(
      {
        try {
          other();
        } catch (const InputError&) {
          FAIL() << "not the user's mistake";
        }
      },
      std::runtime_error);
}

TEST(Guard, OutlivesACrashAHangAndAnExit) {
  EXPECT_THAT(guarded([]() -> Lines { raise(SIGSEGV), throw 0; }).broken_off, HasSubstr("crashed"));
  EXPECT_THAT(guarded([]() -> Lines {
                for (volatile long i = 0;; i = i + 1) {
                }
              }).broken_off,
              HasSubstr("did not end"));
  EXPECT_THAT(guarded([]() -> Lines { _exit(3); }).broken_off, "ended with code 3");
}

TEST(Guard, MemoryIsBounded) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer needs more address space than any bound";
#endif
  const auto greedy = [] {
    return guarded([] { return Lines{std::to_string(std::vector<char>(3L << 30, 'x').size())}; });
  };
  EXPECT_THROW(greedy(), std::runtime_error);
}

TEST(Guard, AShapeThatTheFileDoesNotHoldIsAProblemAndTakesNoMemory) {
  const sample::Folder folder;
  const std::string path = folder.file("r.h5");
  write_results(path, sample::results(), sample::meta(), sample::deck_text());
  ASSERT_THAT(check_results(path), IsEmpty());
  {
    const File file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), "open");
    // 2^40 times that nobody wrote, and attributes that agree with them.
    const Group group = open_group(file.id(), "cases/000001");
    for (const char* name : {"time_s", "rank_time_s"}) check_hdf5(H5Ldelete(group.id(), name, H5P_DEFAULT), "delete");
    const long claimed = 1L << 40;
    for (const auto& [name, shape] : {std::pair<std::string, std::vector<hsize_t>>{"time_s", {hsize_t(claimed)}},
                                      {"rank_time_s", {hsize_t(claimed), 2}}}) {
      const Dataspace space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), "space");
      const PropertyList chunked(H5Pcreate(H5P_DATASET_CREATE), "properties");
      const std::vector<hsize_t> chunk(shape.size(), 2);
      check_hdf5(H5Pset_chunk(chunked.id(), static_cast<int>(chunk.size()), chunk.data()), "chunk");
      const Dataset made(
          H5Dcreate2(group.id(), name.c_str(), H5T_IEEE_F64LE, space.id(), H5P_DEFAULT, chunked.id(), H5P_DEFAULT),
          "create");
    }
    check_hdf5(H5Adelete(group.id(), "samples"), "delete");
    write_attribute(group.id(), "samples", claimed);
  }
  EXPECT_THAT(check_results_here(path), testing::Contains(HasSubstr("time_s claims shape [1099511627776]")));
  EXPECT_THAT(check_results(path), testing::Contains(HasSubstr("far more than the file holds")));
  EXPECT_THROW(read_results(path, {}), InputError);
}

}  // namespace
}  // namespace elkhorn::record
