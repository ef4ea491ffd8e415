#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "measure/environment.hpp"
#include "record/schema.hpp"

namespace elkhorn::measure {
namespace {

std::string text_of(const Environment& env, const std::string& name) {
  const Value* value = env.find(name);
  return value && std::holds_alternative<std::string>(*value) ? std::get<std::string>(*value) : "(no text)";
}

TEST(Environment, HoldsWhatEveryResultsFileNeeds) {
  const parallel::Comm comm;
  setenv("OMP_ELKHORN_TEST", "yes", 1);
  setenv("ELKHORN_UNRELATED_SECRET", "hidden", 1);
  const Environment env = collect_environment(comm, {"elkhorn", "run", "a deck.toml", "--set", "it's"});
  unsetenv("OMP_ELKHORN_TEST");
  unsetenv("ELKHORN_UNRELATED_SECRET");

  for (const std::string& name : record::required_meta()) EXPECT_NE(env.find(name), nullptr) << name;
  std::set<std::string> names;
  for (const auto& [name, value] : env.attributes) {
    EXPECT_TRUE(names.insert(name).second) << name << " is there twice";
    // A variable may be set to nothing.
    const std::string* const text = std::get_if<std::string>(&value);
    EXPECT_FALSE(text && text->empty() && name.rfind("env.", 0) != 0) << name;
  }
  EXPECT_EQ(std::get<long>(*env.find("ranks")), comm.size());
  EXPECT_GE(std::get<long>(*env.find("threads")), 1);
  EXPECT_GE(std::get<long>(*env.find("nodes")), 1);
  EXPECT_GE(std::get<long>(*env.find("cpu_hardware_threads")), 1);
  EXPECT_GT(std::get<double>(*env.find("memory_bytes")), std::get<double>(*env.find("memory_free_per_rank_bytes")));
  EXPECT_EQ(text_of(env, "argv"), "elkhorn run 'a deck.toml' --set 'it'\\''s'");
  EXPECT_EQ(text_of(env, "env.OMP_ELKHORN_TEST"), "yes");
  EXPECT_EQ(env.find("env.ELKHORN_UNRELATED_SECRET"), nullptr);
  EXPECT_NE(text_of(env, "kokkos_configuration").find("Kokkos"), std::string::npos);
  EXPECT_EQ(env.find("nonsense"), nullptr);

  ASSERT_EQ(env.placement.size(), comm.is_root() ? static_cast<std::size_t>(comm.size()) : 0u);
  for (const Placement& rank : env.placement) {
    EXPECT_FALSE(rank.host.empty());
    EXPECT_FALSE(rank.allowed.empty());
    EXPECT_GE(rank.cores, 1);
    EXPECT_GE(rank.threads, 1);
  }
}

TEST(Environment, RendersEveryAttributeForPeople) {
  Environment env;
  env.attributes = {{"version", std::string("1.2.3")},
                    {"memory_bytes", 3.0 * 1024 * 1024 * 1024},
                    {"ranks", 4L},
                    {"kokkos_configuration", std::string("one\ntwo")},
                    {"warnings", std::string("beware")}};
  env.warnings = {"beware"};
  EXPECT_EQ(render(env),
            "version               1.2.3\n"
            "memory_bytes          3 GiB\n"
            "ranks                 4\n"
            "kokkos_configuration\n    one\n    two\n"
            "warning: beware\n");
}

TEST(Environment, TimestampsAreUtc) {
  EXPECT_EQ(utc_timestamp(std::chrono::system_clock::from_time_t(1700000000)), "2023-11-14T22:13:20Z");
  EXPECT_EQ(utc_timestamp().size(), 20u);
}

Placement rank_on(const std::string& host, long threads, const std::string& allowed) {
  return {host, threads, allowed, "", 1, 0, ""};
}

TEST(Placement, SaysWhatSpoilsTimings) {
  EXPECT_TRUE(placement_warnings({}).empty());
  EXPECT_TRUE(placement_warnings({rank_on("a", 2, "0-1"), rank_on("a", 2, "2-3"), rank_on("b", 4, "0-3")}).empty());

  // mpirun's default binds two ranks to a core each; two threads a rank then take turns.
  const auto bound = placement_warnings({rank_on("a", 2, "0"), rank_on("a", 2, "1")});
  ASSERT_EQ(bound.size(), 1u);
  EXPECT_NE(bound[0].find("4 threads on 2 hardware threads (0-1)"), std::string::npos) << bound[0];

  const auto crowded = placement_warnings({rank_on("a", 1, "0-3"), rank_on("a", 3, "4-5")});
  ASSERT_EQ(crowded.size(), 1u);
  EXPECT_NE(crowded[0].find("rank 1 has 3 threads"), std::string::npos) << crowded[0];

  const auto shared = placement_warnings({rank_on("a", 1, "0-3"), rank_on("a", 1, "0-3"), rank_on("b", 1, "0")});
  ASSERT_EQ(shared.size(), 1u);
  EXPECT_NE(shared[0].find("host a: ranks overlap"), std::string::npos) << shared[0];
}

TEST(Placement, KnowsLimitsOfContainersAndSharedDevices) {
  // Eight threads on eight processors, but the container may use the time of four.
  std::vector<Placement> limited{rank_on("a", 4, "0-3"), rank_on("a", 4, "4-7")};
  for (Placement& rank : limited) rank.quota = 8;
  EXPECT_TRUE(placement_warnings(limited).empty());
  for (Placement& rank : limited) rank.quota = 4;
  const auto warnings = placement_warnings(limited);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("oversubscribed: 2 ranks with 8 threads"), std::string::npos) << warnings[0];
  EXPECT_NE(placement_table(limited).find("quota"), std::string::npos);

  std::vector<Placement> devices{rank_on("a", 1, "0"), rank_on("a", 1, "1"), rank_on("b", 1, "0")};
  devices[0].device = devices[2].device = "0000:01:00.0";
  devices[1].device = "0000:02:00.0";
  EXPECT_TRUE(placement_warnings(devices).empty()) << "the same address on another host is another device";
  devices[1].device = devices[0].device;
  const auto shared = placement_warnings(devices);
  ASSERT_EQ(shared.size(), 1u);
  EXPECT_NE(shared[0].find("2 ranks share the device 0000:01:00.0"), std::string::npos) << shared[0];
}

TEST(Placement, TableHasALineARankUpToALimit) {
  const std::vector<Placement> ranks(5, rank_on("node-17", 2, "0-1"));
  const std::string all = placement_table(ranks);
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 5);
  EXPECT_NE(all.find("node-17"), std::string::npos);
  const std::string some = placement_table(ranks, 3);
  EXPECT_EQ(std::count(some.begin(), some.end(), '\n'), 4);
  EXPECT_NE(some.find("and 2 more ranks"), std::string::npos) << some;
}

TEST(Placement, OfThisRank) {
  const Placement here = local_placement();
  EXPECT_GE(here.threads, 1);
  EXPECT_FALSE(here.observed.empty());
  EXPECT_FALSE(here.allowed.empty());
}

}  // namespace
}  // namespace elkhorn::measure
