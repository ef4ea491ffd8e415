/// Writes a sample results file for the tests of the scripts: write_sample FILE.h5 [slower] [noise seed] [small].
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
    std::vector<elkhorn::record::CaseResult> results = elkhorn::sample::results(options);
    // Small: a case with and one without a history, and one that never ran. Each byte counts for those who damage them.
    if (argc > 4) results = {results[0], results[1], results.back()};
    elkhorn::record::write_results(argv[1], results, elkhorn::sample::meta(), elkhorn::sample::deck_text());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
