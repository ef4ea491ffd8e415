// Rank 1 fails in a section that communicates while the others wait for it; see test_abort.sh.
#include <cstdio>
#include <stdexcept>

#include "parallel/comm.hpp"

int main(int argc, char** argv) {
  const elkhorn::parallel::Session session(argc, argv);
  const elkhorn::parallel::Comm comm;
  comm.or_abort([&] {
    if (comm.rank() == 1) throw std::runtime_error("the sea is too rough");
    comm.barrier();
  });
  std::printf("never reached\n");
  return 0;
}
