#include "record/check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "record/hdf5_io.hpp"
#include "sample.hpp"

namespace elkhorn::record {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class Check : public testing::Test {
 protected:
  Check() : path_(folder_.file("r.h5")) {
    sample::Options options;
    options.states = true;
    options.lengths = {1000};
    cases_ = sample::results(options);
    for (std::size_t i = 2; i < cases_.size(); ++i) cases_[i].states.clear();
  }
  std::vector<std::string> problems() {
    write_results(path_, cases_, sample::meta(), sample::deck_text());
    return check_results(path_);
  }
  /// Problems after `damage` has been done to the otherwise sound file.
  std::vector<std::string> after(const std::function<void(hid_t)>& damage) {
    write_results(path_, cases_, sample::meta(), sample::deck_text());
    {
      const File file(H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), "open");
      damage(file.id());
    }
    return check_results(path_);
  }
  static void remove_attribute(hid_t file, const char* object, const char* name) {
    check_hdf5(H5Adelete_by_name(file, object, name, H5P_DEFAULT), "delete");
  }
  template <class T>
  static void replace_attribute(hid_t file, const char* object, const char* name, const T& value) {
    remove_attribute(file, object, name);
    const hid_t id = check_hdf5(H5Oopen(file, object, H5P_DEFAULT), "open");
    write_attribute(id, name, value);
    H5Oclose(id);
  }

  sample::Folder folder_;
  std::string path_;
  std::vector<CaseResult> cases_;
};

TEST_F(Check, ASoundFileHasNoProblems) { EXPECT_THAT(problems(), IsEmpty()); }

TEST_F(Check, EachInconsistencyIsFoundAndNamed) {
  struct Mistake {
    const char* expected;  // in the only problem
    std::function<void(std::vector<CaseResult>&)> make;
  };
  // Case 1 is deer on the GRU, four sequences; case 7 not_converged; case 8 diverged; case 9 failed.
  const std::vector<Mistake> mistakes = {
      {"/cases/000001: time_median_s is", [](auto& c) { c[1].time_median_s *= 1.00001; }},
      {"does not hold the median", [](auto& c) { std::swap(c[1].time_ci_low_s, c[1].time_ci_high_s); }},
      {"does not hold the median", [](auto& c) { c[1].time_ci_low_s = not_a_number; }},
      {"time_s holds a time that is not", [](auto& c) { c[1].time_s[2] = -c[1].time_s[2]; }},
      {"time_s holds a time that is not", [](auto& c) { c[1].time_s[2] = not_a_number; }},
      {"time_s holds a time that is not", [](auto& c) { c[1].time_s[2] = INFINITY; }},
      {"ranks and threads must be", [](auto& c) { c[1].ranks = c[1].batch_ranks = 0, c[1].rank_time_s.clear(); }},
      {"rank_time_s holds a time", [](auto& c) { c[1].rank_time_s[3] = 0; }},
      {"the largest over ranks is", [](auto& c) { c[1].rank_time_s[4] *= 1.5; }},
      {"stopped_because is \"tired\"", [](auto& c) { c[1].stopped_because = "tired"; }},
      {"only ok carries a speed-up", [](auto& c) { c[7].speedup_over_sequential = 2; }},
      {"only ok carries a speed-up", [](auto& c) { c[8].speedup_over_sequential = INFINITY; }},
      {"speedup_over_sequential is -2", [](auto& c) { c[1].speedup_over_sequential = -2; }},
      {"which is the ratio to no sequential case", [](auto& c) { c[1].speedup_over_sequential *= 1.001; }},
      {"which is the ratio to no sequential case",
       [](auto& c) {
         c[1].ranks = c[1].batch_ranks = 1;
         c[1].rank_time_s = c[1].time_s;
       }},
      {"the largest of batch_iterations is 9", [](auto& c) { c[1].batch_iterations[0] = 9; }},
      {"batch_iterations holds a negative", [](auto& c) { c[1].batch_iterations[3] = -3; }},
      {"history/residual[5, 0] is a number", [](auto& c) { c[1].history.residual[20] = 1e-3; }},
      {"history/elapsed_s is not a growing",
       [](auto& c) { std::swap(c[1].history.elapsed_s[1], c[1].history.elapsed_s[2]); }},
      {"batch_iterations is empty", [](auto& c) { c[1].batch_iterations.clear(); }},
      {"status is ok but converged is false", [](auto& c) { c[1].converged = false; }},
      {"status is wrong but converged is false",
       [](auto& c) {
         c[1].status = Status::wrong;
         sample::judge(c[1]);
         c[1].converged = false, c[1].speedup_over_sequential = not_a_number;
       }},
      {"status is not_converged but converged is true", [](auto& c) { c[7].converged = true; }},
      {"status is failed without a message", [](auto& c) { c[9].message.clear(); }},
      {"status is skipped without a message", [](auto& c) { c[10].message.clear(); }},
      {"is used by another case", [](auto& c) { c[2].name = c[1].name; }},
      {"name is empty", [](auto& c) { c[2].name.clear(); }},
      {"precision is \"double\"", [](auto& c) { c[7].precision = "double"; }},
      {"sigma2 is 0", [](auto& c) { c[7].sigma2 = 0; }},
      {"batch_ranks × time_ranks is 4, ranks is 2", [](auto& c) { c[7].time_ranks = 2; }},
      {"error_max is -1", [](auto& c) { c[7].error_max = -1; }},
      {"status is ok but states holds", [](auto& c) { c[1].states[77] = not_a_number; }},
      {"there are no samples, but a median", [](auto& c) { c[9].time_median_s = 1; }},
      {"official is true, but unofficial_because is", [](auto& c) { c[1].unofficial_because = "no reason"; }},
      {"official is false without a reason", [](auto& c) { c[1].official = false; }},
      {"official is true for status not_converged",
       [](auto& c) {
         c[7].official = true;
         c[7].unofficial_because.clear();
       }},
      {"roof_bound is \"luck\"", [](auto& c) { c[1].roof_bound = "luck"; }},
      {"roof_share is nan", [](auto& c) { c[1].roof_share = not_a_number; }},
      {"roof_share is -1", [](auto& c) { c[1].roof_share = -1; }},
      {"communication_share is 2", [](auto& c) { c[1].communication_share = 2; }},
      {"transfer_share is -0.5", [](auto& c) { c[1].transfer_share = -0.5; }},
      {"pass is \"both\"", [](auto& c) { c[1].pass = "both"; }},
      {"other_cpu is -1", [](auto& c) { c[1].other_cpu = -1; }},
      {"energy_j is -1", [](auto& c) { c[1].energy_j = -1; }},
      {"drifting is true without", [](auto& c) { c[1].drifting = true, c[1].drift = not_a_number; }},
      {"bimodal is true without", [](auto& c) { c[1].bimodal = true, c[1].dip = not_a_number; }},
      {"outliers is 16 of 15 samples", [](auto& c) { c[1].outliers = 16; }},
      {"time_first_s is 0", [](auto& c) { c[1].time_first_s = 0; }},
      {"quartiles and median are not in order", [](auto& c) { std::swap(c[1].time_q1_s, c[1].time_q3_s); }},
      {"time_min_s and time_max_s are not those", [](auto& c) { c[1].time_max_s *= 1.01; }},
      {"time_mad_s is -1", [](auto& c) { c[1].time_mad_s = -1; }},
      {"without a timing sample",
       [](auto& c) {
         c[0].samples = 0, c[0].outliers = -1, c[0].official = false, c[0].unofficial_because = "no sample",
         c[0].time_s.clear(), c[0].rank_time_s.clear();
         c[0].time_median_s = c[0].time_ci_low_s = c[0].time_ci_high_s = not_a_number;
       }},
  };
  const auto sound = cases_;
  for (const Mistake& mistake : mistakes) {
    cases_ = sound;
    mistake.make(cases_);
    EXPECT_THAT(problems(), testing::Contains(HasSubstr(mistake.expected)));
    EXPECT_THAT(check_results(path_), SizeIs(1)) << mistake.expected;
  }
}

TEST_F(Check, MissingAndMistypedPartsAreFoundAndNamed) {
  struct Damage {
    const char* expected;
    std::function<void(hid_t)> make;
  };
  const std::vector<Damage> damages = {
      {"/: attribute format is missing", [](hid_t f) { remove_attribute(f, "/", "format"); }},
      {"/: format is \"other\"", [](hid_t f) { replace_attribute(f, "/", "format", std::string("other")); }},
      {"/: format_version is \"2.0\"",
       [](hid_t f) { replace_attribute(f, "/", "format_version", std::string("2.0")); }},
      {"/: format_version is \"\"", [](hid_t f) { replace_attribute(f, "/", "format_version", std::string()); }},
      {"/: created is \"today\"", [](hid_t f) { replace_attribute(f, "/", "created", std::string("today")); }},
      {"/meta: attribute git_sha is missing", [](hid_t f) { remove_attribute(f, "/meta", "git_sha"); }},
      {"/meta: attribute ranks is text", [](hid_t f) { replace_attribute(f, "/meta", "ranks", std::string("2")); }},
      {"/meta: dataset deck", [](hid_t f) { H5Ldelete(f, "/meta/deck", H5P_DEFAULT); }},
      {"/meta: the group is missing", [](hid_t f) { H5Ldelete(f, "/meta", H5P_DEFAULT); }},
      {"/cases: the group is missing", [](hid_t f) { H5Ldelete(f, "/cases", H5P_DEFAULT); }},
      {"/summary: the table is missing", [](hid_t f) { H5Ldelete(f, "/summary", H5P_DEFAULT); }},
      {"/cases/000001: attribute solver is missing", [](hid_t f) { remove_attribute(f, "/cases/000001", "solver"); }},
      {"/cases/000001: attribute length is a floating-point number, expected an integer",
       [](hid_t f) { replace_attribute(f, "/cases/000001", "length", 1000.0); }},
      {"/cases/000001: status is \"fine\"",
       [](hid_t f) { replace_attribute(f, "/cases/000001", "status", std::string("fine")); }},
      {"/cases/000001: time_s is missing", [](hid_t f) { H5Ldelete(f, "/cases/000001/time_s", H5P_DEFAULT); }},
      {"/cases/000001: history/mad is missing",
       [](hid_t f) { H5Ldelete(f, "/cases/000001/history/mad", H5P_DEFAULT); }},
      {"/cases/000001: rank_time_s has shape [15, 1], the attributes say [15, 2]",
       [](hid_t f) {
         H5Ldelete(f, "/cases/000001/rank_time_s", H5P_DEFAULT);
         write_dataset(f, "/cases/000001/rank_time_s", std::vector<double>(15, 1.0), {15, 1});
       }},
      {"/cases/000001: history/resets holds elements an integer, expected a floating-point number",
       [](hid_t f) {
         H5Ldelete(f, "/cases/000001/history/resets", H5P_DEFAULT);
         write_dataset(f, "/cases/000001/history/resets", std::vector<long>(20, 0), {5, 4});
       }},
      {"/cases/000001: states has shape [1, 1, 1]",
       [](hid_t f) {
         H5Ldelete(f, "/cases/000001/states", H5P_DEFAULT);
         write_dataset(f, "/cases/000001/states", std::vector<double>{0}, {1, 1, 1});
       }},
      {"/summary: row 1, window differs",
       [](hid_t f) { replace_attribute(f, "/cases/000001", "window", std::string("64")); }},
      {"/summary: row 1, error_mad differs", [](hid_t f) { replace_attribute(f, "/cases/000001", "error_mad", 0.5); }},
      {"/summary: it has shape [10], there are 11 cases",
       [](hid_t f) {
         H5Ldelete(f, "/summary", H5P_DEFAULT);
         write_dataset(f, "/summary", std::vector<double>(10, 0.0), {10});
       }},
      {"/summary: /summary is not a compound table",
       [](hid_t f) {
         H5Ldelete(f, "/summary", H5P_DEFAULT);
         write_dataset(f, "/summary", std::vector<double>(11, 0.0), {11});
       }},
      {"/summary: /summary holds values of variable length",
       [](hid_t f) {
         H5Ldelete(f, "/summary", H5P_DEFAULT);
         const Datatype text(H5Tcopy(H5T_C_S1), "make a type"),
             row(H5Tcreate(H5T_COMPOUND, sizeof(char*)), "make a type");
         H5Tset_size(text.id(), H5T_VARIABLE);
         H5Tinsert(row.id(), "name", 0, text.id());
         create_dataset(f, "/summary", row.id(), {11});
       }},
      {"/cases: group 000010 stands where 000003 is expected",
       [](hid_t f) {
         for (const char* name : {"3", "4", "5", "6", "7", "8", "9"})
           H5Ldelete(f, (std::string("/cases/00000") + name).c_str(), H5P_DEFAULT);
       }},
  };
  for (const Damage& damage : damages) EXPECT_THAT(after(damage.make), testing::Contains(HasSubstr(damage.expected)));
}

TEST_F(Check, FilesOfVersion1_0LackWhatCameLater) {
  const auto strip = [](hid_t f, const char* version) {
    replace_attribute(f, "/", "format_version", std::string(version));
    for (const char* group : {"/cases/000001", "/cases/000007"})
      for (const char* name : {"time_first_s", "outliers", "bimodal", "official", "unofficial_because", "roof_bound"})
        remove_attribute(f, group, name);
  };
  EXPECT_THAT(after([&](hid_t f) { strip(f, "1.0"); }), testing::IsEmpty());
  EXPECT_THAT(after([&](hid_t f) { strip(f, "1.1"); }),
              testing::Contains(HasSubstr("/cases/000001: attribute official is missing")));
  const auto read = [&](const char* version) {
    after([&](hid_t f) { strip(f, version); });
    return read_results(path_, {});
  };
  EXPECT_FALSE(read("1.0").cases[1].official);
  EXPECT_EQ(read("1.0").cases[1].unofficial_because, "not judged");
  EXPECT_EQ(read("1.0").cases[1].outliers, -1);
  EXPECT_THROW(read("1.1"), InputError);
}

TEST_F(Check, RoofsAreCheckedWhereTheyAre) {
  const auto with = [&](const std::function<void(Roofs&)>& change) {
    Roofs roofs;
    roofs.attributes = {{"triad_float32", 1.9e10}};
    roofs.arrays = {{"latency_ranks", {1, 2}}, {"allreduce_s", {1e-7, 5e-6}}, {"exscan_s", {1e-7, 4e-6}}};
    change(roofs);
    write_results(path_, cases_, sample::meta(), sample::deck_text(), {}, roofs);
    return check_results(path_);
  };
  EXPECT_THAT(with([](Roofs&) {}), testing::IsEmpty());
  EXPECT_THAT(with([](Roofs& r) { r.attributes["triad_float32"] = 0; }),
              ElementsAre(HasSubstr("/roofs: attribute triad_float32 is 0")));
  EXPECT_THAT(with([](Roofs& r) { r.arrays.erase("latency_ranks"); }),
              ElementsAre(HasSubstr("/roofs: latency_ranks is missing")));
  EXPECT_THAT(with([](Roofs& r) { r.arrays["exscan_s"].pop_back(); }),
              ElementsAre(HasSubstr("exscan_s has shape [1]")));
}

TEST_F(Check, ReportsEveryProblemNotOnlyTheFirst) {
  cases_[1].converged = false;
  cases_[7].error_max = -1;
  cases_[9].message.clear();
  EXPECT_THAT(problems(),
              ElementsAre(HasSubstr("/cases/000001"), HasSubstr("/cases/000007"), HasSubstr("/cases/000009")));
}

TEST_F(Check, AFileCutShortAnywhereIsRefused) {
  write_results(path_, cases_, sample::meta(), sample::deck_text());
  const auto size = fs::file_size(path_);
  for (const std::uintmax_t bytes : {std::uintmax_t{0}, std::uintmax_t{7}, std::uintmax_t{96}, std::uintmax_t{2048},
                                     size / 4, size / 2, size * 9 / 10, size - 4096, size - 1}) {
    const std::string cut = folder_.file("cut.h5");
    fs::copy_file(path_, cut, fs::copy_options::overwrite_existing);
    fs::resize_file(cut, bytes);
    EXPECT_THAT(check_results(cut), ElementsAre(HasSubstr("is not an HDF5 file or is damaged"))) << bytes;
  }
}

TEST_F(Check, AFileWithZeroedBlocksNeverCrashesIt) {
  write_results(path_, cases_, sample::meta(), sample::deck_text());
  const auto size = fs::file_size(path_);
  const std::string hurt = folder_.file("hurt.h5");
  long found = 0;
  for (std::uintmax_t at = 0; at + 2048 < size; at += 8192) {
    fs::copy_file(path_, hurt, fs::copy_options::overwrite_existing);
    std::fstream stream(hurt, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(at));
    stream << std::string(2048, '\0');
    stream.close();
    found += check_results(hurt).empty() ? 0 : 1;
  }
  EXPECT_GT(found, 5);
}

TEST_F(Check, OtherFilesAndNoFiles) {
  std::ofstream(folder_.file("text")) << "no HDF5";
  EXPECT_THAT(check_results(folder_.file("text")), ElementsAre(HasSubstr("is not an HDF5 file")));
  create_file(folder_.file("empty.h5")).close("close");
  EXPECT_THAT(check_results(folder_.file("empty.h5")), testing::Contains(HasSubstr("format is missing")));
  EXPECT_THROW(check_results(folder_.file("none.h5")), InputError);
  EXPECT_THROW(check_results(folder_.file("")), InputError);
}

}  // namespace
}  // namespace elkhorn::record
