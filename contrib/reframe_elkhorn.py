"""A ReFrame check (reframe-hpc.readthedocs.io): builds Elkhorn with CMake, runs a deck, and takes as figures of merit
the median times of its cases from the results file.

    reframe -C your_site.py -c contrib/reframe_elkhorn.py -r --performance-report

Sanity is the program's own: exit code 0, so no case is wrong or failed, and `elkhorn check` finds the file sound.
References per system belong into your copy; without them ReFrame reports the times and judges nothing.
"""

import json
import os

import reframe as rfm
import reframe.utility.sanity as sn
from reframe.core.builtins import fixture, parameter, run_after, run_before, sanity_function, variable

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class BuildElkhorn(rfm.CompileOnlyRegressionTest):
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    build_system = "CMake"
    sourcesdir = ROOT

    @run_before("compile")
    def configure(self):
        self.build_system.builddir = "build"
        self.build_system.config_opts = ["-DELKHORN_TESTS=OFF", "-DELKHORN_BENCHMARKS=OFF"]
        self.build_system.max_concurrency = 8

    @sanity_function
    def was_built(self):
        return sn.path_isfile(os.path.join(self.stagedir, "build", "elkhorn"))


@rfm.simple_test
class ElkhornDeck(rfm.RunOnlyRegressionTest):
    descr = "Parallel-in-time evaluation of recurrences: every case validated, medians as figures of merit"
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    build = fixture(BuildElkhorn, scope="environment")
    deck = variable(str, value="inputs/quickstart.toml")
    ranks = parameter([1, 2])
    threads = variable(int, value=1)
    sourcesdir = None

    @run_after("setup")
    def place(self):
        self.num_tasks = self.ranks
        self.num_cpus_per_task = self.threads
        self.env_vars = {"OMP_NUM_THREADS": self.threads, "OMP_PROC_BIND": "close", "OMP_PLACES": "cores"}
        root = self.build.stagedir
        elkhorn = os.path.join(root, "build", "elkhorn")
        self.executable = elkhorn
        self.executable_opts = ["run", os.path.join(root, self.deck), "--interleave", "--out", "results.h5"]
        self.postrun_cmds = [
            f"{elkhorn} check results.h5",
            f"python3 {os.path.join(root, 'scripts', 'export.py')} results.h5 -o results.json",
        ]

    @sanity_function
    def no_case_is_wrong(self):
        return sn.all([sn.assert_eq(self.job.exitcode, 0), sn.assert_found(r"results\.h5: sound", self.stdout)])

    @run_before("performance")
    def times(self):
        with open(os.path.join(self.stagedir, "results.json"), encoding="utf-8") as file:
            cases = json.load(file)["files"][0]["cases"]
        self.perf_variables = {
            case["name"]: sn.make_performance_function(sn.defer(case["time_median_s"]), "s")
            for case in cases if case["time_median_s"] is not None
        }
