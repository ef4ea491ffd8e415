"""What a run says about its own measurements: statistics, roofs, the verdict, and cases that take turns."""

import json
import re
import shutil
import statistics
import subprocess
import sys
import unittest

import program

import h5py
import numpy as np

MEASURE = "warmup = 1\nrepetitions = 12\nci_width = 1e-9"


def results(name):
    return program.cases(name, "time_s", "rank_time_s")


class Measure(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.write("deck.toml", program.sweep([2, 3], "length = 60\nbatch = 2", MEASURE))
        cls.plain = program.run("run", "deck.toml", "--out", "plain.h5", "--roofs", "on")
        cls.turns = program.run("run", "deck.toml", "--out", "turns.h5", "--interleave", "--roofs", "on", ranks=2)

    def test_statistics_are_those_of_the_samples(self):
        for file in ("plain.h5", "turns.h5"):
            self.assertIn("sound", program.run("check", file).stdout)
            for c in results(file).values():
                times = c["time_s"]
                self.assertEqual(len(times), 12)
                self.assertEqual((c["time_min_s"], c["time_max_s"]), (times.min(), times.max()))
                q1, median, q3 = np.quantile(times, [0.25, 0.5, 0.75])
                np.testing.assert_allclose([c["time_q1_s"], c["time_median_s"], c["time_q3_s"]], [q1, median, q3])
                self.assertAlmostEqual(c["time_mad_s"], statistics.median(abs(times - median)), places=12)
                reach = 1.5 * (q3 - q1)
                self.assertEqual(c["outliers"], np.sum((times < q1 - reach) | (times > q3 + reach)))
                self.assertGreater(c["time_first_s"], 0)
                self.assertGreaterEqual(c["dip"], 1 / 24)  # no dip is below 1/(2n)
                self.assertTrue(np.isfinite(c["drift"]))

    def test_turns(self):
        """Taking turns changes when samples are taken, and nothing else."""
        self.assertEqual(self.turns.returncode, 0, self.turns.stderr)
        plain, turns = results("plain.h5"), results("turns.h5")
        self.assertEqual(list(plain), list(turns))
        for name, c in turns.items():
            self.assertTrue(c["interleaved"])
            self.assertFalse(plain[name]["interleaved"])
            self.assertEqual((c["status"], c["iterations"]), (plain[name]["status"], plain[name]["iterations"]))
            self.assertEqual(c["rank_time_s"].shape, (12, 2))
            # All of them have it, though samples of the sequential case were complete when theirs were.
            self.assertGreater(c["speedup_over_sequential"], 0)
        # A case is done as soon as its samples are complete; all have as many, so in plan order.
        done = [line for line in self.turns.stderr.splitlines() if line.startswith("[")]
        self.assertEqual([re.search(r"gru-\S+", line)[0] for line in done], list(turns))

    def test_all_are_warm_before_any_is_sampled(self):
        """A process that ends in the last case's first solve: nothing is complete by then but where cases do not take turns."""
        for options, complete in (((), 9), (("--interleave",), 0)):
            done = program.run("run", "deck.toml", "--out", "ended.h5", *options, ELKHORN_FAULT="exit:0:9")
            self.assertNotEqual(done.returncode, 0)
            self.assertEqual(len(program.journal("ended.h5")), complete)

    def test_turns_of_unequal_length(self):
        """A case that is complete leaves the others to go on; later ones get their ratio all the same."""
        deck = program.sweep(2, "length = 60", "warmup = 0\nrepetitions = 3")
        deck = deck.replace('kind = "sequential"', 'kind = "picard"\n[[solver]]\nkind = "sequential"')
        program.write("unequal.toml", deck)
        done = program.run("run", "unequal.toml", "--out", "unequal.h5", "--interleave", "--set", "solver.tolerance=1e-5")
        self.assertEqual(done.returncode, 0, done.stderr)
        for c in results("unequal.h5").values():
            if c["status"] == "ok":  # picard, before the sequential case in the plan, included
                self.assertGreater(c["speedup_over_sequential"], 0, c["name"])

    def test_an_answer_that_another_case_starts_from_is_there_in_time(self):
        deck = program.write("previous.toml", """
[system]
kind = "gru"
state_dim = 2
[problem]
length = 50
[measure]
warmup = 0
repetitions = 2
[[solver]]
kind = "sequential"
[[solver]]
kind = "deer"
tolerance = 1e-5
[[solver]]
kind = "deer"
tolerance = 1e-5
guess = "previous"
""")
        done = program.run("run", deck, "--out", "previous.h5", "--interleave")
        self.assertEqual(done.returncode, 0, done.stderr)
        cases = list(results("previous.h5").values())
        self.assertGreater(cases[1]["iterations"], 1)
        self.assertLessEqual(cases[2]["iterations"], 1, "it starts from the answer")

    def test_roofs(self):
        with h5py.File("turns.h5") as file:
            roofs = file["roofs"]
            rates = ("triad", "fma", "gemm", "exponential")
            self.assertEqual(set(roofs.attrs), {"launch_s", "message_s", "message_bytes_s",
                                                *(f"{rate}_float32" for rate in rates)})
            self.assertEqual(list(roofs["latency_ranks"]), [1, 2])
            for name in ("allreduce_s", "exscan_s"):
                self.assertTrue(np.all(roofs[name][()] > 0), name)
            triad, gemm = roofs.attrs["triad_float32"], roofs.attrs["gemm_float32"]
        for c in results("turns.h5").values():
            bound = max(c["bytes"] / triad, c["flops"] / gemm)
            self.assertAlmostEqual(c["roof_share"], bound / c["time_median_s"], places=12)
            self.assertEqual(c["roof_bound"], "bandwidth" if bound == c["bytes"] / triad else "flops")

    def test_roofs_off(self):
        done = program.run("run", "deck.toml", "--filter", "D2.*sequential", "--out", "off.h5", "--roofs", "off")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("sound", program.run("check", "off.h5").stdout)
        with h5py.File("off.h5") as file:
            self.assertNotIn("roofs", file)
            self.assertEqual(file["cases/000000"].attrs["roof_bound"], "")
        done = program.run("run", "deck.toml", "--roofs", "perhaps")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--roofs", done.stderr)

    def test_verdict(self):
        """Reasons stand in the file, by case and for all, and once each in the table; the samples here are too short."""
        cases = results("plain.h5")
        with h5py.File("plain.h5") as file:
            meta = dict(file["meta"].attrs)
        self.assertEqual(meta["official"], 0)
        for c in cases.values():
            self.assertFalse(c["official"])
            reasons = c["unofficial_because"].split("; ")
            self.assertIn("sampled for less than 0.1 s in all", reasons)
            self.assertEqual(len(reasons), len(set(reasons)))
            for reason in reasons:
                self.assertEqual(self.plain.stdout.count(reason), 1)
                self.assertIn(reason, meta["unofficial_because"])
        self.assertIn("unofficial: ", self.plain.stdout)
        self.assertIn(" 10 cases: sampled for less than 0.1 s in all\n", self.plain.stdout)
        self.assertGreater(meta["timer_resolution_s"], 0)
        self.assertGreater(meta["timer_overhead_s"], 0)
        for name in ("cpu_governor", "cpu_throttling", "energy"):
            self.assertTrue(meta[name])

    def test_only_the_machine_and_the_build_speak_against_the_official_deck(self):
        """So on a machine that nobody else uses, with a build of committed sources, it is official."""
        done = program.run("run", f"{program.SOURCE}/inputs/official.toml", "--out", "official.h5", "--filter", "seq|quasi")
        self.assertEqual(done.returncode, 0, done.stderr)
        with h5py.File("official.h5") as file:
            meta = dict(file["meta"].attrs)
        of_the_load = {"other programs kept processors busy meanwhile", "times drifted while they were taken",
                       "the 95 % interval is wider than 5 % of the median", "processors were throttled meanwhile"}
        of_the_build = set()
        if meta["git_dirty"]:
            of_the_build.add("built from sources with changes that are not committed")
        if meta["git_sha"] == "unknown":
            of_the_build.add("provenance is incomplete: git_sha unknown")
        if meta["build_type"] not in ("Release", "RelWithDebInfo"):
            of_the_build.add(f"not an optimised build: build_type is {meta['build_type']}")
        cases = results("official.h5").values()
        self.assertEqual(len(cases), 3)
        for c in cases:
            reasons = set(filter(None, c["unofficial_because"].split("; ")))
            self.assertLessEqual(reasons, of_the_load | of_the_build | {f"the frequency governor is {meta['cpu_governor']}"})
            self.assertLessEqual(of_the_build, reasons)
            self.assertEqual(c["official"], not reasons)
            # Nothing else against it, so the watch has had the time it takes to tell.
            busy = c["other_cpu"]
            self.assertTrue(reasons or busy >= 0, busy)
            if "other programs kept processors busy meanwhile" in reasons:
                self.assertGreater(busy, 0.1)
        self.assertEqual(bool(meta["official"]), all(c["official"] for c in cases))
        self.assertEqual("unofficial" not in done.stdout, bool(meta["official"]))

    def test_a_busy_machine_is_noticed(self):
        """What another program does meanwhile is seen, with its share; a short case is watched long enough for that."""
        burn = [sys.executable, "-c", "while True: pass"]
        with subprocess.Popen(burn) as other:
            try:
                done = program.run("run", f"{program.SOURCE}/inputs/official.toml", "--out", "busy.h5", "--filter", "sequential",
                                   "--set", "measure.ci_width=1")
            finally:
                other.kill()
        self.assertEqual(done.returncode, 0, done.stderr)
        (case,) = results("busy.h5").values()
        if np.isnan(case["other_cpu"]):
            self.assertGreater(len(case["unofficial_because"]), 0, "unknown, and nothing else against it")
        else:
            self.assertGreater(case["other_cpu"], 0.1)
            self.assertIn("other programs kept processors busy meanwhile", case["unofficial_because"])
        self.assertFalse(case["official"])

    def test_resumed_turns(self):
        """A case whose samples were complete is not measured again, whoever shared its turns."""
        before = results("turns.h5")
        shutil.copy("turns.h5", "half.h5")
        with h5py.File("half.h5", "r+") as file:  # a failed case runs again
            file["cases/000003"].attrs["status"] = "failed"
        done = program.run("run", "deck.toml", "--out", "half.h5", "--interleave", "--resume", ranks=2)
        self.assertEqual(done.returncode, 0, done.stderr)
        after = results("half.h5")
        same = [np.array_equal(after[name]["time_s"], c["time_s"]) for name, c in before.items()]
        self.assertEqual(same, [i != 3 for i in range(10)])


if __name__ == "__main__":
    unittest.main(verbosity=2)
