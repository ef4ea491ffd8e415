/// Fails in various ways on MPI rank 1, for test_harness.sh.
#include <gtest/gtest.h>
#include <mpi.h>

#include <stdexcept>

static int rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

TEST(Failing, expectation) {
  EXPECT_NE(rank(), 1);
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(Failing, exception) {
  if (rank() == 1) throw std::runtime_error("thrown on purpose");
  MPI_Barrier(MPI_COMM_WORLD);  // never completes
}

TEST(Passing, barrier) { MPI_Barrier(MPI_COMM_WORLD); }
