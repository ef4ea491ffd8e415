"""What the commands print and return: list, info, check, and run with its options; every status a case can have."""

import json
import math
import os
import re
import unittest

import program

import h5py
import numpy as np

MEASURE = "warmup = 0\nrepetitions = 6"
MORE = "[quick.problem]\nlength = 20"


def one_solver(text, length=50, system='kind = "gru"\nstate_dim = 2'):
    return f"[system]\n{system}\n[problem]\nlength = {length}\n[measure]\nwarmup = 0\nrepetitions = 1\n[[solver]]\n{text}\n"


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.write("deck.toml", 'title = "Commands"' + program.sweep([2, 3], "length = 60", MEASURE, MORE))
        cls.whole = program.run("run", "deck.toml", "--out", "deck.h5")

    def succeed(self, *arguments, code=0, **options):
        done = program.run(*arguments, **options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    # --- run

    def test_run(self):
        self.assertEqual(self.whole.returncode, 0, self.whole.stderr)
        lines = self.whole.stdout.splitlines()
        self.assertEqual(lines[0], "Commands")
        self.assertEqual(lines[-1], "results: deck.h5")
        self.assertEqual(lines[-2], "10 cases: 10 ok")
        self.assertIn("deck.h5: sound", self.succeed("check", "deck.h5").stdout)
        self.assertNotIn("\r", self.whole.stderr, "a progress bar, though stderr is no terminal")
        # What happened is told on stderr, a line a case; results on stdout only.
        self.assertEqual(len([line for line in self.whole.stderr.splitlines() if line.startswith("[")]), 10)
        cases = program.cases("deck.h5")
        for c in cases.values():
            self.assertEqual(c["status"], "ok")
            sequential = cases[re.sub(r"(f32)-.*", r"\1-sequential", c["name"])]
            self.assertAlmostEqual(c["speedup_over_sequential"], sequential["time_median_s"] / c["time_median_s"])

    def test_the_file_says_how_it_was_made(self):
        with h5py.File("deck.h5") as file:
            meta = file["meta"].attrs
            self.assertIn("run deck.toml --out deck.h5", meta["argv"])
            program.write("resolved.toml", file["meta/deck"].asstr()[()])
        again = self.succeed("list", "resolved.toml").stdout
        self.assertEqual(again, self.succeed("list", "deck.toml").stdout)

    def test_json(self):
        done = self.succeed("run", "deck.toml", "--json", "--out", "json.h5", "--set", "measure.repetitions=1")
        objects = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([o["name"] for o in objects], list(program.cases("json.h5")))
        for o in objects:
            self.assertEqual(o["status"], "ok")
            self.assertIsNone(o["time_ci_low_s"])  # one sample has no interval: null, never NaN
            self.assertEqual(len(o["time_s"]), 1)

    def test_filter_set_quick(self):
        done = self.succeed("run", "deck.toml", "--out", "some.h5", "--quick", "--filter", "D3.*(deer|elk)",
                            "--set", "measure.precision=float64", "--set", "solver.tolerance=1e-8")
        self.assertIn("4 cases: 4 ok", done.stdout)
        for c in program.cases("some.h5").values():
            self.assertEqual((c["length"], c["state_dim"], c["precision"]), (20, 3, "float64"))
            self.assertLessEqual(c["residual_max"], 1e-8)

    def test_default_output_is_named_after_the_deck(self):
        os.makedirs("elsewhere", exist_ok=True)
        self.succeed("run", "../deck.toml", "--filter", "D2.*-deer", cwd="elsewhere")
        self.assertEqual(os.listdir("elsewhere"), ["deck.h5"])

    def test_dry_run(self):
        before = sorted(os.listdir())
        done = self.succeed("run", "deck.toml", "--dry-run")
        self.assertEqual(sorted(os.listdir()), before)
        names = self.succeed("list", "deck.toml").stdout.split()
        head, *lines = done.stdout.splitlines()
        self.assertRegex(head, rf"^{len(names)} cases on 1 rank of \d+ threads?; [\d.]+ .iB a rank are free beside [\d.]+ .iB of the program itself$")
        self.assertEqual([line.split()[-1] for line in lines], names)
        self.assertEqual(done.stderr, "")

    def test_dry_run_tells_passes_apart(self):
        # At this size DEER's iterations are fused, quasi-DEER's are not.
        program.write("long.toml", one_solver('kind = ["quasi_deer", "deer"]', "1_000_000\nbatch = 4",
                                              'kind = "gru"\nstate_dim = 16'))
        lines = self.succeed("run", "long.toml", "--dry-run").stdout.splitlines()[1:]
        self.assertRegex(lines[0], r"^ +[\d.]+ .iB  separate  gru-D\d+-T1000000-.*quasi_deer")
        self.assertRegex(lines[1], r"^ +[\d.]+ .iB  fused     gru-D\d+-T1000000-.*deer")

    def test_no_base_for_speed_ups_is_told(self):
        told = "no sequential case to name speed-ups over"
        program.write("alone.toml", one_solver('kind = ["deer", "quasi_deer"]'))
        done = self.succeed("run", "alone.toml")
        self.assertEqual(done.stderr.count(told), 1, done.stderr)
        self.assertIn("the plan has " + told, done.stderr)
        self.assertIn("no sequential time, so no speed-ups", done.stdout)
        self.assertIn("the plan has " + told, self.succeed("run", "alone.toml", "--dry-run").stderr)
        program.write("half.toml", one_solver('kind = ["sequential", "deer"]', "[7, 50]"))
        done = self.succeed("run", "half.toml", "--filter", "T7-|deer", "--dry-run")
        self.assertIn("1 of 2 problems have " + told, done.stderr)
        self.assertNotIn(told, self.succeed("run", "half.toml", "--dry-run").stderr)

    def test_no_speed_up_over_a_base_on_other_ranks(self):
        deck = ('[system]\nkind = "gru"\nstate_dim = 4\n[problem]\nlength = 500\nbatch = 2\n[measure]\nrepetitions = 3\n'
                '[[solver]]\nkind = ["sequential", "deer"]\n')
        program.write("moved.toml", deck)
        for ranks, compared in ((None, True), (2, False)):
            file = f"moved-{ranks}.h5"
            self.succeed("run", "moved.toml", "--out", file, code=1, ELKHORN_FAULT="throw:0:1")
            self.succeed("run", "moved.toml", "--out", file, "--resume", ranks=ranks)
            base, deer = program.cases(file).values()
            self.assertEqual((base["ranks"], deer["ranks"], deer["status"]), (1, ranks or 1, "ok"))
            self.assertEqual(deer["speedup_over_sequential"] == deer["speedup_over_sequential"], compared)
            self.assertTrue(program.is_sound(file))

    def test_drivers_count_in_the_memory_model(self):
        program.write("inputs.toml", one_solver('kind = "quasi_deer"', 10000,
                                                'kind = "gru"\nstate_dim = 2\ninput_dim = [1, 101]'))
        self.succeed("run", "inputs.toml")
        one, many = (c["model_memory_bytes"] for c in program.cases("inputs.h5").values())
        self.assertGreaterEqual(many - one, 2 * 100 * 10000 * 4)  # as read, and as laid out for the solver

    @unittest.skipIf(program.SANITIZED, "the memory of a sanitizer is not the program's")
    def test_the_memory_model_is_what_a_case_takes(self):
        deck = ('[system]\nkind = "gru"\nstate_dim = 8\n[problem]\nlength = 40000\nbatch = 16\n'
                '[measure]\nwarmup = 0\nrepetitions = 1\n[output]\nhistory = false\n[[solver]]\nkind = "sequential"\n')
        fixed = 'stop = "iterations"\nmax_iterations = 1\n'
        for text in ('kind = ["deer", "quasi_deer"]\npass = ["fused", "separate"]\n' + fixed,
                     'kind = ["elk", "quasi_elk"]\nsigma2 = 1e2\npass = ["fused", "separate"]\n' + fixed,
                     'kind = "quasi_deer"\nscan = ["serial", "flat", "chunked:4"]\n' + fixed,
                     'kind = ["deer", "quasi_deer"]\nwindow = ["auto", 1024]\ntolerance = 1e-3\nmax_iterations = 100_000\n'):
            deck += "[[solver]]\n" + text
        program.write("memory.toml", deck)
        program.run("run", "memory.toml")  # a single iteration converges nowhere: the exit code says so
        with h5py.File("memory.h5") as file:
            if "-fsanitize" in file["meta"].attrs["flags"]:
                self.skipTest("sanitizers take memory of their own")
        cases = program.cases("memory.h5").values()
        self.assertEqual(len(cases), 16)
        for c in cases:
            self.assertGreater(c["model_memory_bytes"], 100e6, c["name"])
            self.assertLess(abs(c["peak_memory_bytes"] / c["model_memory_bytes"] - 1), 0.15, c["name"])
        # Jacobians, which separate passes store, are most of it: a model of one size for all would not pass.
        fused, separate = (c["model_memory_bytes"] for c in cases if "-deer" in c["name"] and "pass=" in c["name"]
                           and "window=full" in c["name"])
        self.assertGreater(separate, 1.5 * fused)
        first = self.succeed("run", "memory.toml", "--dry-run").stdout.splitlines()[1].split()
        self.assertLess(abs(float(first[0]) * {"MiB": 2**20}[first[1]] / next(iter(cases))["peak_memory_bytes"] - 1), 0.15)

    # --- every status

    def test_skipped(self):
        program.write("huge.toml", program.sweep([2, 3], "length = [60, 2_000_000_000]", MEASURE, MORE))
        done = self.succeed("run", "huge.toml", "--filter", "D3.*deer")
        statuses = {}
        for c in program.cases("huge.h5").values():
            statuses.setdefault(c["length"], set()).add(c["status"])
            if c["status"] == "skipped":
                self.assertRegex(c["message"], r"^needs [\d.]+ [GT]iB a rank by the memory model, [\d.]+ .iB are free$")
                self.assertIn(c["message"], done.stdout)
                self.assertGreater(c["model_memory_bytes"], 2e9 * 3 * 4)
        self.assertEqual(statuses, {60: {"ok"}, 2_000_000_000: {"skipped"}})
        self.succeed("check", "huge.h5")
        self.assertNotIn("no case", done.stderr)
        done = self.succeed("run", "huge.toml", "--dry-run")
        self.assertIn("would be skipped", done.stdout)
        self.assertNotIn("no case", done.stderr)

    def test_a_plan_of_which_nothing_fits_is_a_result_with_a_warning(self):
        program.write("too_huge.toml", one_solver('kind = ["sequential", "deer"]', 2_000_000_000_000 // 10))
        warning = "elkhorn: warning: no case %s: all 2 need more memory than is free"
        self.assertIn(warning % "ran", self.succeed("run", "too_huge.toml").stderr)
        self.assertIn(warning % "would run", self.succeed("run", "too_huge.toml", "--dry-run").stderr)
        self.assertEqual({c["status"] for c in program.cases("too_huge.h5").values()}, {"skipped"})
        done = self.succeed("run", "too_huge.toml", "--filter", "-deer", "--dry-run")
        self.assertIn("no case would run: it needs more memory than is free", done.stderr)

    def test_ar_gru_defeats_deer(self):
        program.write("ar.toml", one_solver('kind = ["deer", "quasi_deer"]\nmax_iterations = 15', 2000,
                                            f'kind = "ar_gru"\nweights = "{program.ARGRU_WEIGHTS}:/"'))
        done = self.succeed("run", "ar.toml")
        table = done.stdout.lower()
        for word in (" nan", " inf", "-inf"):
            self.assertNotIn(word, table)
        for c in program.cases("ar.h5").values():
            self.assertIn(c["status"], ("diverged", "not_converged"))
            self.assertEqual(c["iterations"], 15)
            self.assertNotEqual(c["message"], "")
            for number in ("residual_max", "error_max", "error_mad", "time_median_s"):
                self.assertTrue(math.isfinite(c[number]), f"{number} = {c[number]}")
            self.assertTrue(math.isnan(c["speedup_over_sequential"]))
        self.succeed("check", "ar.h5")

    def test_not_converged(self):
        program.write("few.toml", one_solver('kind = "quasi_deer"\nmax_iterations = 2'))
        self.succeed("run", "few.toml")
        (c,) = program.cases("few.h5").values()
        self.assertEqual((c["status"], c["iterations"], c["message"]),
                         ("not_converged", 2, "1 of 1 sequences did not converge"))

    def test_wrong(self):
        # A trust region this tight hardly moves, so "the update is small" holds far from the solution.
        program.write("wrong.toml", one_solver('kind = ["elk", "quasi_elk"]\nsigma2 = 1e-9\nstop = "update"'))
        done = self.succeed("run", "wrong.toml", code=1)
        for c in program.cases("wrong.h5").values():
            self.assertEqual((c["status"], c["converged"], c["iterations"]), ("wrong", True, 1))
            self.assertGreater(c["error_max"], 0.1)
            self.assertIn("differs from the sequential states", c["message"])
            self.assertIn(c["message"], done.stdout)
            self.assertTrue(math.isnan(c["speedup_over_sequential"]))
        self.succeed("check", "wrong.h5")
        # The residual is not deceived.
        self.succeed("run", "wrong.toml", "--out", "honest.h5", "--set", "solver.stop=residual",
                     "--set", "solver.max_iterations=5")
        self.assertEqual({c["status"] for c in program.cases("honest.h5").values()}, {"not_converged"})

    # --- check

    def test_check_refuses_files_cut_short(self):
        with open("deck.h5", "rb") as file:
            whole = file.read()
        for kept in (0, 7, len(whole) // 4, len(whole) // 2, len(whole) - 1):
            with open("short.h5", "wb") as file:
                file.write(whole[:kept])
            with self.subTest(kept=kept):
                done = self.succeed("check", "short.h5", code=1)
                self.assertRegex(done.stdout, "^short.h5: ")
                self.assertNotIn("sound", done.stdout)
        # one bad file spoils the verdict on both
        done = self.succeed("check", "deck.h5", "short.h5", code=1)
        self.assertIn("deck.h5: sound\n", done.stdout)

    def test_check_finds_a_changed_number(self):
        with open("deck.h5", "rb") as file, open("changed.h5", "wb") as copy:
            copy.write(file.read())
        with h5py.File("changed.h5", "r+") as file:
            file["cases/000003"].attrs["time_median_s"] *= np.float64(1.5)
        self.assertRegex(self.succeed("check", "changed.h5", code=1).stdout, "(?m)^changed.h5: /cases/000003: .*median")

    # --- list and info

    def test_list(self):
        systems = self.succeed("list", "systems").stdout
        for name in ("gru", "ar_gru", "linear"):
            self.assertRegex(systems, rf"(?m)^{name} ")
        solvers = self.succeed("list", "solvers").stdout
        for name in ("sequential", "deer", "quasi_deer", "elk", "quasi_elk"):
            self.assertRegex(solvers, rf"(?m)^{name} ")
        scans = self.succeed("list", "scans").stdout
        for name in ("auto", "serial", "flat", "chunked"):
            self.assertRegex(scans, rf"(?m)^{name}\b")
        names = self.succeed("list", "deck.toml").stdout.splitlines()
        self.assertEqual(names, list(program.cases("deck.h5")))
        self.assertEqual(self.succeed("list", "deck.toml", ranks=2).stdout.splitlines(), names)
        quick = self.succeed("list", "deck.toml", "--quick", "--filter", "-elk").stdout.splitlines()
        self.assertEqual(quick, ["gru-D2-T20-B1-f32-elk-s2=1e4-chunked3", "gru-D3-T20-B1-f32-elk-s2=1e4-chunked3"])

    def test_info(self):
        for ranks in (None, 2):
            text = self.succeed("info", ranks=ranks).stdout
            for word in ("version", "git_sha", "compiler", "flags", "kokkos", "mpi", "hdf5", "blas", "host", "cpu"):
                self.assertRegex(text, rf"(?mi)^\s*{word}")
        self.assertRegex(text, r"(?m)^\s*ranks\s*:?\s*2$")

    def test_help_and_version(self):
        self.assertRegex(self.succeed("--version").stdout, r"^elkhorn \d+\.\d+\.\d+$")
        for arguments in (["--help"], ["run", "--help"]):
            self.assertEqual(self.succeed(*arguments, ranks=2).stdout.count("OPTIONS") +
                             self.succeed(*arguments, ranks=2).stdout.count("Options:"), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
