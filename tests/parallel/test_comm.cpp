#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "parallel/comm.hpp"
#include "parallel/time_line.hpp"

namespace elkhorn::parallel {
namespace {

/// What the program asked MPI for, counted by the functions below, which stand before MPI's.
struct Calls {
  long sends = 0, sent_bytes = 0, receives = 0, reductions = 0;
};
Calls operator-(const Calls& a, const Calls& b) {
  return {a.sends - b.sends, a.sent_bytes - b.sent_bytes, a.receives - b.receives, a.reductions - b.reductions};
}
Calls calls;

}  // namespace
}  // namespace elkhorn::parallel

extern "C" {
int MPI_Isend(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request* request) {
  ++elkhorn::parallel::calls.sends;
  elkhorn::parallel::calls.sent_bytes += count;
  return PMPI_Isend(data, count, type, to, tag, comm, request);
}
int MPI_Irecv(void* data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request* request) {
  ++elkhorn::parallel::calls.receives;
  return PMPI_Irecv(data, count, type, from, tag, comm, request);
}
int MPI_Allreduce(const void* data, void* out, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  ++elkhorn::parallel::calls.reductions;
  return PMPI_Allreduce(data, out, count, type, op, comm);
}
int MPI_Iallreduce(const void* data, void* out, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                   MPI_Request* request) {
  ++elkhorn::parallel::calls.reductions;
  return PMPI_Iallreduce(data, out, count, type, op, comm, request);
}
}

namespace elkhorn::parallel {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST(Comm, IsACommunicatorOfItsOwn) {
  const Comm comm;
  int relation = MPI_UNEQUAL;
  ASSERT_EQ(MPI_Comm_compare(comm.handle(), MPI_COMM_WORLD, &relation), MPI_SUCCESS);
  EXPECT_EQ(relation, MPI_CONGRUENT);
  int rank = -1, size = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  EXPECT_EQ(comm.rank(), rank);
  EXPECT_EQ(comm.size(), size);
  EXPECT_EQ(comm.is_root(), rank == 0);
}

TEST(Comm, MovesAndLeavesNothingBehind) {
  Comm first;
  const MPI_Comm handle = first.handle();
  Comm second = std::move(first);
  EXPECT_EQ(second.handle(), handle);
  EXPECT_EQ(first.handle(), MPI_COMM_NULL);  // NOLINT(bugprone-use-after-move): that is the point
  first = Comm();
  second = std::move(first);
  EXPECT_EQ(second.sum(1L), second.size());
}

TEST(Comm, MpiErrorsAreExceptions) {
  const Comm comm;
  try {
    comm.broadcast(1, comm.size() + 5);  // no such root
    FAIL() << "a root that does not exist was accepted";
  } catch (const MpiError& error) {
    EXPECT_NE(std::string(error.what()).find("MPI_Bcast"), std::string::npos) << error.what();
  }
}

TEST(Comm, SplitsByColourAndNode) {
  const Comm comm;
  const Comm half = comm.split(comm.rank() % 2);
  EXPECT_EQ(half.size(), (comm.size() + 1 - comm.rank() % 2) / 2);
  EXPECT_EQ(half.rank(), comm.rank() / 2);
  const Comm node = comm.split_by_node();
  EXPECT_GE(node.size(), 1);
  EXPECT_LE(node.size(), comm.size());
}

TEST(Comm, BroadcastsFromEveryRoot) {
  const Comm comm;
  struct Pod {
    int a;
    double b;
  };
  for (int root = 0; root < comm.size(); ++root) {
    const bool mine = comm.rank() == root;
    const Pod pod = comm.broadcast(mine ? Pod{root, 0.5 * root} : Pod{-1, -1}, root);
    EXPECT_EQ(pod.a, root);
    EXPECT_EQ(pod.b, 0.5 * root);
    EXPECT_EQ(comm.broadcast(mine ? std::string("text of ") + std::to_string(root) : std::string("other"), root),
              "text of " + std::to_string(root));
    EXPECT_EQ(comm.broadcast(std::string(mine ? "" : "not empty"), root), "");
    const std::vector<long> values{root, root + 1, root + 2};
    EXPECT_EQ(comm.broadcast(mine ? values : std::vector<long>{}, root), values);
  }
}

TEST(Comm, Reduces) {
  const Comm comm;
  const double r = comm.rank();
  const double last = comm.size() - 1;
  EXPECT_EQ(comm.max(-r), 0);
  EXPECT_EQ(comm.max(r), last);
  EXPECT_EQ(comm.min(r), 0);
  EXPECT_EQ(comm.min(-r), -last);
  EXPECT_EQ(comm.sum(r), last * (last + 1) / 2);
  EXPECT_EQ(comm.max(static_cast<long>(comm.rank())), comm.size() - 1);
  EXPECT_EQ(comm.min(static_cast<long>(comm.rank())), 0);
  EXPECT_EQ(comm.sum(2L), 2L * comm.size());
  EXPECT_EQ(comm.max(std::vector<double>{r, -r}), (std::vector<double>{last, 0}));
  EXPECT_EQ(comm.sum(std::vector<double>{1, 2, 3}),
            (std::vector<double>{1.0 * comm.size(), 2.0 * comm.size(), 3.0 * comm.size()}));
  EXPECT_TRUE(comm.max(std::vector<double>{}).empty());
  EXPECT_EQ(comm.max(-std::numeric_limits<double>::infinity()), -std::numeric_limits<double>::infinity());
}

TEST(Comm, NanOnAnyOneRankSurvives) {
  const Comm comm;
  for (int bad = 0; bad < comm.size(); ++bad) {
    const double value = comm.rank() == bad ? nan : 1.0;
    EXPECT_TRUE(std::isnan(comm.max(value))) << "rank " << bad;
    EXPECT_TRUE(std::isnan(comm.min(value))) << "rank " << bad;
    EXPECT_TRUE(std::isnan(comm.sum(value))) << "rank " << bad;
    const std::vector<double> pair = comm.max({value, 2.0});
    EXPECT_TRUE(std::isnan(pair[0]));
    EXPECT_EQ(pair[1], 2.0);
  }
}

TEST(Comm, ExchangesAlongARowAndCountsIt) {
  const Comm comm;
  const int next = comm.rank() + 1 < comm.size() ? comm.rank() + 1 : -1, previous = comm.rank() - 1;
  // Long enough for the protocol that waits for the receiver.
  const std::vector<double> mine(100000, comm.rank());
  std::vector<double> theirs(100000, -5.0);
  comm.exchange_bytes(mine.data(), 800000, next, theirs.data(), 800000, previous);
  for (const double x : {theirs.front(), theirs.back()}) EXPECT_EQ(x, previous >= 0 ? previous : -5);
  EXPECT_EQ(comm.traffic().messages, next >= 0 ? 1 : 0);
  EXPECT_EQ(comm.traffic().bytes, next >= 0 ? 800000 : 0);
  const Traffic before = comm.traffic();
  comm.sum(std::vector<double>{1, 2, 3});
  EXPECT_EQ((comm.traffic() - before).messages, 1);
  EXPECT_EQ((comm.traffic() - before).bytes, 24);
}

TEST(Comm, ExchangesPartsBetweenAllPairs) {
  const Comm comm;
  const int P = comm.size(), me = comm.rank();
  // Rank p has p + q numbers for rank q, but none for the next one.
  const auto numbers = [&](int from, int to) { return to == from + 1 ? 0 : from + to; };
  std::vector<long> sent, expected;
  std::vector<std::size_t> bytes, incoming_bytes;
  long leaving = 0, messages = 0;
  for (int other = 0; other < P; ++other) {
    for (int i = 0; i < numbers(me, other); ++i) sent.push_back(10000 * me + 100 * other + i);
    for (int i = 0; i < numbers(other, me); ++i) expected.push_back(10000 * other + 100 * me + i);
    bytes.push_back(static_cast<std::size_t>(numbers(me, other)) * sizeof(long));
    incoming_bytes.push_back(static_cast<std::size_t>(numbers(other, me)) * sizeof(long));
    if (other == me || numbers(me, other) == 0) continue;
    leaving += static_cast<long>(bytes.back());
    ++messages;
  }
  std::vector<long> received(expected.size(), -1);
  const Traffic before = comm.traffic();
  comm.exchange_all(sent.data(), bytes, received.data(), incoming_bytes);
  EXPECT_EQ(received, expected);
  const Traffic used = comm.traffic() - before;
  EXPECT_EQ(used.bytes, leaving);
  EXPECT_EQ(used.messages, messages);
}

TEST(Comm, MessagesTravelWhileRanksDoSomethingElse) {
  const Comm comm;
  const int next = (comm.rank() + 1) % comm.size(), previous = (comm.rank() + comm.size() - 1) % comm.size();
  std::vector<double> incoming(100000, 0), data(incoming.size());
  std::iota(data.begin(), data.end(), 1000.0 * comm.rank());
  Pending arrives = comm.start_receiving(incoming.data(), incoming.size() * sizeof(double), previous);
  Pending leaves = comm.start_sending(data.data(), data.size() * sizeof(double), next);
  Pending moved = std::move(arrives);
  arrives.wait();  // it has nothing to wait for
  moved.wait();
  leaves.wait();
  for (std::size_t i = 0; i < incoming.size(); ++i) ASSERT_EQ(incoming[i], 1000.0 * previous + double(i));
}

TEST(Comm, DoesTheSameAgain) {
  const Comm comm;
  const int next = comm.rank() + 1 < comm.size() ? comm.rank() + 1 : -1, previous = comm.rank() - 1;
  std::vector<double> mine(100000, comm.rank()), theirs(mine.size());
  comm.exchange_bytes(mine.data(), 8, next, theirs.data(), 8, previous);  // before: not to be repeated
  comm.record();
  const Calls before = calls;
  for (const std::size_t bytes : {8u, 800000u, 0u}) {
    comm.exchange_bytes(mine.data(), bytes, next, theirs.data(), bytes, previous);
    comm.max(std::vector<double>(3, 1.0));
  }
  Pending arrives, leaves;
  if (previous >= 0) arrives = comm.start_receiving(theirs.data(), 400000, previous);
  if (next >= 0) leaves = comm.start_sending(mine.data(), 400000, next);
  comm.sum(std::vector<double>(5, 1.0));  // both are under way meanwhile
  leaves.wait();
  arrives.wait();
  const std::vector<std::size_t> some(static_cast<std::size_t>(comm.size()), 16);
  comm.exchange_all(mine.data(), some, theirs.data(), some);
  const Calls recorded = calls - before;
  const Traffic traffic = comm.traffic();

  for (int time = 0; time < 2; ++time) {
    const Calls start = calls;
    const double seconds = comm.replay();
    const Calls again = calls - start;
    EXPECT_EQ(again.sends, recorded.sends);
    EXPECT_EQ(again.sent_bytes, recorded.sent_bytes);
    EXPECT_EQ(again.receives, recorded.receives);
    EXPECT_EQ(again.reductions, recorded.reductions + 2);  // whether all can, and who was last
    EXPECT_GT(seconds, 0);
    EXPECT_EQ(comm.min(seconds), comm.max(seconds));
    comm.sum(std::vector<double>{1});  // after: not to be repeated either
  }
  EXPECT_EQ(comm.traffic().messages, traffic.messages + 2 + 2 * 2);  // those of min and max, and sums
  // Nothing is left under way.
  theirs[0] = -1;
  comm.exchange_bytes(mine.data(), 8, next, theirs.data(), 8, previous);
  EXPECT_EQ(theirs[0], previous >= 0 ? previous : -1);
}

TEST(Comm, DoesNotRepeatWhatIsTooLongToKeep) {
  const Comm comm;
  comm.record();
  for (std::size_t i = 0; comm.is_root() && i <= Tape::longest; ++i) comm.start_sending(nullptr, 0, 0);
  EXPECT_TRUE(std::isnan(comm.replay()));
  comm.record();
  EXPECT_EQ(comm.replay(), 0);  // nothing was asked for
}

TEST(TimeLine, RunsBackwardAsWell) {
  const Comm comm;
  const TimeLine line(comm, 2L * comm.size() - 1), back = line.reversed();
  EXPECT_EQ(back.steps(), line.steps());
  EXPECT_EQ(back.has_next(), line.has_previous());
  EXPECT_EQ(back.has_previous(), line.has_next());
  EXPECT_EQ(back.reversed().has_next(), line.has_next());
  const long mine = comm.rank();
  long from_later = -1;
  Pending arrives = back.start_receiving(&from_later, sizeof(long)), leaves = back.start_sending(&mine, sizeof(long));
  arrives.wait();
  leaves.wait();
  EXPECT_EQ(from_later, comm.rank() + 1 < comm.size() ? comm.rank() + 1 : -1);
}

TEST(TimeLine, SegmentsCoverTimeInOrder) {
  const Comm comm;
  for (const long T : {0L, 1L, 2L, 7L, 1000L}) {
    const TimeLine line(comm, T);
    EXPECT_EQ(line.whole(), comm.size() == 1);
    EXPECT_EQ(comm.sum(line.steps().size()), T);
    EXPECT_EQ(line.longest(), comm.max(line.steps().size()));
    // The end of a segment is where the next begins; ranks without steps are out of the chain.
    const double end = double(line.steps().end);
    double incoming = 0;
    Pending arrives = line.start_receiving(&incoming, sizeof(double));
    line.start_sending(&end, sizeof(double)).wait();
    arrives.wait();
    EXPECT_EQ(line.has_previous(), line.steps().begin > 0 && !line.steps().empty());
    EXPECT_EQ(line.has_next(), line.steps().end < T);
    if (!line.steps().empty()) {
      EXPECT_EQ(incoming, double(line.steps().begin));
    }
  }
}

TEST(Comm, GathersVariableLengthsInRankOrder) {
  const Comm comm;
  // Rank r has r values, so rank 0 none.
  std::vector<double> mine(static_cast<std::size_t>(comm.rank()));
  std::iota(mine.begin(), mine.end(), 10.0 * comm.rank());
  std::vector<double> expected;
  for (int r = 0; r < comm.size(); ++r)
    for (int i = 0; i < r; ++i) expected.push_back(10.0 * r + i);
  const std::vector<double> all = comm.gather(mine);
  if (comm.is_root())
    EXPECT_EQ(all, expected);
  else
    EXPECT_TRUE(all.empty());

  const std::vector<std::string> texts = comm.gather(std::string(static_cast<std::size_t>(comm.rank()), 'x'));
  ASSERT_EQ(texts.size(), comm.is_root() ? static_cast<std::size_t>(comm.size()) : 0u);
  for (std::size_t r = 0; r < texts.size(); ++r) EXPECT_EQ(texts[r], std::string(r, 'x'));

  const std::vector<long> ranks = comm.allgather(static_cast<long>(comm.rank()));
  ASSERT_EQ(ranks.size(), static_cast<std::size_t>(comm.size()));
  for (std::size_t r = 0; r < ranks.size(); ++r) EXPECT_EQ(ranks[r], static_cast<long>(r));
}

std::string with_rank(const Comm& comm, int rank, const std::string& text) {
  return comm.size() > 1 ? "rank " + std::to_string(rank) + ": " + text : text;
}

TEST(Agree, NothingWhereNoRankFails) {
  const Comm comm;
  EXPECT_EQ(comm.agree(std::optional<std::string>()), std::nullopt);
  EXPECT_EQ(comm.agree(std::exception_ptr()), std::nullopt);
  EXPECT_EQ(comm.attempt([] {}), std::nullopt);
  EXPECT_NO_THROW(comm.agree_or_throw(nullptr));
}

TEST(Agree, EveryRankLearnsOfAnExceptionOnAnyOne) {
  const Comm comm;
  for (int bad = 0; bad < comm.size(); ++bad) {
    const auto message = comm.attempt([&] {
      if (comm.rank() == bad) throw std::runtime_error("no luck on " + std::to_string(bad));
    });
    EXPECT_EQ(message, with_rank(comm, bad, "no luck on " + std::to_string(bad)));
    // In step afterwards: the next collective is matched by all.
    EXPECT_EQ(comm.sum(1L), comm.size());
  }
}

TEST(Agree, LowestRankWins) {
  const Comm comm;
  for (int first = 0; first < comm.size(); ++first) {
    std::optional<std::string> mine;
    if (comm.rank() >= first) mine = "error " + std::to_string(comm.rank());
    EXPECT_EQ(comm.agree(mine), with_rank(comm, first, "error " + std::to_string(first)));
  }
}

TEST(Agree, EmptyMessagesAndForeignExceptionsCount) {
  const Comm comm;
  const int last = comm.size() - 1;
  EXPECT_EQ(comm.agree(comm.rank() == last ? std::optional<std::string>("") : std::nullopt), with_rank(comm, last, ""));
  const auto message = comm.attempt([&] {
    if (comm.rank() == last) throw 42;
  });
  ASSERT_TRUE(message);
  EXPECT_NE(message->find("no std::exception"), std::string::npos);
}

TEST(Agree, AnAgreedErrorKeepsItsText) {
  const Comm comm;
  const int last = comm.size() - 1;
  const auto message = comm.attempt([&] {
    comm.agree_or_throw(caught([&] {
      if (comm.rank() == last) throw std::runtime_error("inner");
    }));
    FAIL() << "went on after an error on another rank";
  });
  EXPECT_EQ(message, with_rank(comm, last, "inner"));
}

}  // namespace
}  // namespace elkhorn::parallel
