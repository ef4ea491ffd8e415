/// Writes a sample results file for the tests of the scripts: write_sample FILE.h5 [slower] [noise seed].
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "sample.hpp"

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  try {
    elkhorn::sample::Options options;
    if (argc > 2) options.slower = std::atof(argv[2]);
    if (argc > 3) options.noise = static_cast<unsigned>(std::atoi(argv[3]));
    elkhorn::record::write_results(argv[1], elkhorn::sample::results(options), elkhorn::sample::meta(),
                                   elkhorn::sample::deck_text());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
