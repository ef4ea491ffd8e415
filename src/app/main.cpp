/// elkhorn: benchmarks of the parallel-in-time evaluation of recurrences.
#include <fmt/format.h>
#include <hdf5.h>

#include <CLI/CLI.hpp>
#include <Kokkos_Core.hpp>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "app/commands.hpp"
#include "core/version.hpp"

namespace {

using namespace elkhorn;

int dispatch(int argc, char** argv, const parallel::Comm& comm) {
  app::RunOptions options;
  options.argv.assign(argv, argv + argc);
  std::vector<std::string> what, files;
  std::string roofs = "on";
  int code = app::success;

  CLI::App cli{"Benchmarks of the parallel-in-time evaluation of recurrences.", "elkhorn"};
  cli.require_subcommand(1);
  cli.set_version_flag("--version", std::string("elkhorn ") + build::version);

  const auto add_overrides = [&](CLI::App* command) {
    command->add_option("--set", options.overrides.set, "override a key of the decks: section.key=value")
        ->take_all()
        ->allow_extra_args(false);
    command->add_option("--filter", options.overrides.filter, "only cases whose name this regular expression matches");
    command->add_flag("--quick", options.overrides.quick, "apply the decks' [quick] tables: smaller sizes");
  };
  CLI::App* run = cli.add_subcommand("run", "run the cases of decks; also under mpirun or srun");
  run->add_option("decks", options.decks, "decks (TOML)")->required();
  add_overrides(run);
  run->add_option("--out", options.out, "results file (default: the first deck's name with .h5)");
  run->add_flag("--resume", options.resume, "go on where an interrupted run of the same decks stopped");
  run->add_option(
      "--time-limit", options.time_limit,
      "end in good order before this long is over (90, 15m, 2h, 1:30:00 or none; default: the scheduler's)");
  run->add_flag("--interleave", options.interleave,
                "let cases take turns, a sample each, so that slow changes of the machine meet all of them alike");
  run->add_option("--roofs", roofs, "measure first what the machine can do: on (the default) or off")
      ->check(CLI::IsMember({"on", "off"}));
  run->add_flag("--dry-run", options.dry_run, "list the cases with their modelled memory; run nothing");
  run->add_flag("--json", options.json, "one JSON object a case on stdout instead of the table");
  run->callback([&] {
    options.roofs = roofs == "on";
    code = app::run(comm, options);
  });

  CLI::App* list = cli.add_subcommand("list", "list systems, solvers, scans, or the cases of decks");
  list->add_option("what", what, "systems | solvers | scans | decks")->required();
  add_overrides(list);
  list->callback([&] { code = app::list(comm, what, options.overrides); });

  cli.add_subcommand("info", "version, build, libraries, machine and placement")->callback([&] {
    code = app::info(comm, options.argv);
  });

  CLI::App* check = cli.add_subcommand("check", "validate results files");
  check->add_option("files", files, "results files")->required();
  check->callback([&] { code = app::check(comm, files); });

  app::AnalyzeOptions analysis;
  CLI::App* analyze = cli.add_subcommand("analyze", "say which solvers will work on a deck's problems, and why");
  analyze->add_option("decks", analysis.decks, "decks (TOML)")->required();
  add_overrides(analyze);
  analyze->add_option("--sequences", analysis.sequences, "how many sequences of each batch (default: the first one)");
  analyze->add_flag("--json", analysis.json, "one JSON object a problem on stdout instead of the page");
  analyze->callback([&] {
    analysis.overrides = options.overrides;
    code = app::analyze(comm, analysis);
  });

  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return comm.is_root() ? cli.exit(error) : 0;
    std::string what_is_wrong = error.what();
    if (cli.get_subcommands().empty() && !cli.remaining().empty() && cli.remaining()[0][0] != '-')
      what_is_wrong = fmt::format("there is no command \"{}\"", cli.remaining()[0]);
    if (comm.is_root()) fmt::print(stderr, "elkhorn: {} (elkhorn --help shows the usage)\n", what_is_wrong);
    return app::bad_input;
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  // Kokkos' advice on thread binding is ours to give, with the placement actually observed (elkhorn info).
  setenv("KOKKOS_DISABLE_WARNINGS", "1", 0);
  // A file that may not grow any further (ulimit -f) is an error to report, not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
  // Files that matter are closed long before; those left open are the ones that could not be written (record/hdf5.hpp).
  H5dont_atexit();
  try {
    const parallel::Session mpi(argc, argv);
    // Kokkos gets its own options only (--kokkos-threads=…): it would answer --help first, and at length.
    std::vector<char*> own{argv[0]}, for_kokkos{argv[0]};
    for (int i = 1; i < argc; ++i) (std::strncmp(argv[i], "--kokkos-", 9) == 0 ? for_kokkos : own).push_back(argv[i]);
    const auto n_own = static_cast<int>(own.size());
    auto n_for_kokkos = static_cast<int>(for_kokkos.size());
    own.push_back(nullptr);
    for_kokkos.push_back(nullptr);
    const Kokkos::ScopeGuard kokkos(n_for_kokkos, for_kokkos.data());
    const parallel::Comm comm;
    try {
      return dispatch(n_own, own.data(), comm);
    } catch (const std::exception& error) {
      // Known on this rank only: the others may be waiting for it.
      comm.abort(fmt::format("elkhorn: {}", error.what()), app::some_case_failed);
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "elkhorn: {}\n", error.what());
    return app::some_case_failed;
  }
}
