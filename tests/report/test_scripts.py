"""scripts/plot.py and scripts/compare.py on files the C++ writer made: test_scripts.py WRITE_SAMPLE_PROGRAM."""

import copy
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from scripts_under_test import WRITE_SAMPLE, script
import elkhorn_results as er  # noqa: E402
import compare  # noqa: E402
import elkhorn_statistics as es  # noqa: E402
import pandas  # noqa: E402
import plot  # noqa: E402
from matplotlib import image  # noqa: E402


class ScriptTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="elkhorn-scripts-")
        for name, *options in (("base", "1", "1"), ("again", "1", "2"), ("slower", "1.12", "3")):
            subprocess.run([WRITE_SAMPLE, cls.path(f"{name}.h5"), *options], check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    def changed(self, name, change):
        """A copy of base.h5 after change(file)."""
        path = self.path(name)
        shutil.copy(self.path("base.h5"), path)
        with er.h5py.File(path, "r+") as file:
            change(file)
        return path

    def expect_usage_error(self, result, pattern):
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertRegex(result.stderr, pattern)
        self.assertEqual(result.stdout, "")


class Reader(ScriptTest):
    def test_reads_what_was_written(self):
        results = er.Results(self.path("base.h5"))
        self.assertEqual(results.meta["blas"], "OpenBLAS")
        self.assertEqual(results.meta["cpu"], "some µ-architecture")
        self.assertIn("σ²", results.deck)
        self.assertEqual(len(results.cases), 16)
        deer = results.cases[1]
        self.assertEqual((deer.solver, deer.status, deer.length, deer.iterations), ("deer", "ok", 1000, 5))
        self.assertIs(deer.converged, True)
        self.assertEqual(deer.seed, 18446744073709551557)
        self.assertEqual(deer.residual.shape, (6, 4))
        self.assertEqual(deer.elapsed_s.shape, (5,))
        self.assertEqual(deer.rank_time_s.shape, (15, 2))
        self.assertAlmostEqual(float(er.np.median(deer.time_s)), deer.time_median_s)
        self.assertIsNone(results.cases[0].residual)

    def test_summary_is_a_table_for_pandas(self):
        with er.h5py.File(self.path("base.h5")) as file:
            frame = pandas.DataFrame(file["summary"][()])
        self.assertEqual(len(frame), 16)
        self.assertEqual(frame["solver"][1].decode(), "deer")
        self.assertEqual(frame["status"][15].decode(), "skipped")
        self.assertEqual(frame["message"][14].decode(), 'rank 1: the matrix of step 17 is singular – "no\n pivot"')
        self.assertEqual(frame["converged"].tolist()[:2], [True, True])
        self.assertTrue(er.np.isnan(frame["sigma2"][1]))
        self.assertEqual(frame["sigma2"][3], 1e4)

    def test_labels_tell_cases_apart(self):
        cases = er.Results(self.path("base.h5")).cases
        self.assertEqual(er.labels(cases[:4]), ["sequential", "deer", "quasi-deer", "elk, σ² = 1e4"])
        both = cases[1:2] + er.Results(self.path("again.h5")).cases[1:2]
        self.assertEqual(er.labels(both), ["deer, base", "deer, again"])


class Plot(ScriptTest):
    def test_draws_every_kind_of_picture(self):
        out = self.path("plots")
        result = script("plot.py", self.path("base.h5"), "--out", out)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        names = sorted(os.listdir(out))
        self.assertEqual(sorted(os.path.basename(line) for line in result.stdout.split()), names)
        self.assertEqual([n.split("_")[0] for n in names], ["convergence"] * 3 + ["scaling"] + ["times"] * 3)
        for name in names:
            with open(os.path.join(out, name), "rb") as file:
                self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")
            self.assertGreater(image.imread(os.path.join(out, name)).std(), 0.01, f"{name} is blank")

    def test_pictures_say_what_they_show(self):
        out = self.path("svg")
        result = script("plot.py", self.path("base.h5"), "--out", out, "--format", "svg")
        self.assertEqual(result.returncode, 0, result.stderr)

        def text_of(start):
            (name,) = [n for n in os.listdir(out) if n.startswith(start)]
            with open(os.path.join(out, name), encoding="utf-8") as file:
                return re.sub(r"<[^>]*>", "", file.read())

        convergence = text_of("convergence_ar_gru")
        for part in ("ar-gru, T = 9,999, D = 4, B = 1, float64", "iteration", "elapsed time (s)", "MAD", "residual",
                     "elk, σ² = 1e6", "quasi-elk, σ² = 100 (not converged)", "deer (diverged)", "sequential solve ("):
            self.assertIn(part, convergence)
        times = text_of("times_gru_T1000_")
        for part in ("time of one solve (s)", "faster than sequential", "slower than sequential", "quasi-deer"):
            self.assertIn(part, times)
        scaling = text_of("scaling_gru")
        for part in ("length T", "time of one solve (s)", "D = 8", "quasi-elk"):
            self.assertIn(part, scaling)

    def test_labels_do_not_overlap(self):
        cases = [case for case in er.Results(self.path("base.h5")).cases if case.system == "gru"]
        drawn = []
        for dim in (4, 8, 32):  # three panels side by side are the narrowest
            for length in (1000, 1200, 2000, 3000, 4000, 5000, 8000):
                for case in cases[:2]:
                    case = copy.copy(case)
                    case.state_dim, case.length, case.status, case.time_median_s = dim, length, "ok", length * 1e-6
                    drawn.append(case)
        figure = plot.draw_scaling(drawn)
        figure.canvas.draw()
        for axis in figure.axes:
            ticks = [t for t in axis.get_xticklabels(which="both") if t.get_text()]
            boxes = [t.get_window_extent() for t in ticks]
            self.assertGreaterEqual(len(boxes), 3)
            self.assertFalse(any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2)), [str(t) for t in ticks])
        roofs = {"triad_float32": 32e9, "fma_float32": 234e9, "gemm_float32": 182e9}
        roofline = plot.draw_roofline([c for c in cases if c.precision == "float32"], roofs)
        # What names the roofs stands in the legend, where nothing is drawn.
        self.assertEqual([t.get_text() for t in roofline.axes[0].texts], [])
        named = [t.get_text() for t in roofline.legends[0].get_texts()]
        self.assertIn("triad 32 GB/s, multiply-add 234 Gflop/s", named)
        self.assertIn("matrix product 182 Gflop/s", named)
        plot.plt.close("all")

    def test_several_files_share_a_picture(self):
        out = self.path("both")
        result = script("plot.py", self.path("base.h5"), self.path("slower.h5"), "--out", out, "--format", "svg")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(len(os.listdir(out)), 7)
        with open(os.path.join(out, [n for n in os.listdir(out) if n.startswith("scaling")][0]), encoding="utf-8") as f:
            text = f.read()
        self.assertIn("deer, base", text)
        self.assertIn("deer, slower", text)

    def test_a_history_with_gaps_is_drawn(self):
        def all_broken(file):
            history = file["cases/000013/history"]
            history["residual"][...] = float("nan")
            history["mad"][...] = 0.0

        path = self.changed("gaps.h5", all_broken)
        result = script("plot.py", path, "--out", self.path("gaps"))
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_errors_are_one_line(self):
        self.expect_usage_error(script("plot.py", self.path("none.h5")), "none.h5: no such file")
        cut = self.path("cut.h5")
        shutil.copy(self.path("base.h5"), cut)
        os.truncate(cut, os.path.getsize(cut) // 2)
        self.expect_usage_error(script("plot.py", cut), "cannot be read as a results file")
        taken = script("plot.py", self.path("base.h5"), "--out", self.path("base.h5"))
        self.expect_usage_error(taken, "cannot make folder")
        other = self.changed("other.h5", lambda file: file.attrs.modify("format", "other"))
        self.expect_usage_error(script("plot.py", other), "not an Elkhorn results file")
        newer = self.changed("newer.h5", lambda file: file.attrs.modify("format_version", "2.0"))
        self.expect_usage_error(script("plot.py", newer), "format_version is 2.0")
        torn = self.changed("torn.h5", lambda file: file["cases/000003"].__delitem__("time_s"))
        self.expect_usage_error(script("plot.py", torn), "time_s")


class Compare(ScriptTest):
    def compare(self, old, new, *options):
        result = script("compare.py", old, new, *options)
        self.assertEqual(result.stderr, "")
        return result.returncode, result.stdout

    def line(self, text, name):
        (found,) = [line for line in text.splitlines() if line.startswith(name + " ")]
        return found

    def expect_bad_input(self, pattern, *arguments):
        result = script("compare.py", *arguments)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertRegex(result.stderr, pattern)
        self.assertEqual(result.stdout, "")

    def with_times(self, name, change):
        """base.h5 where the times of case 1 (deer) are change(times)."""

        def replace(file):
            group = file["cases/000001"]
            times = change(group["time_s"][()])
            del group["time_s"]
            group["time_s"] = times

        return self.changed(name, replace)

    def test_noise_is_no_regression(self):
        code, text = self.compare(self.path("base.h5"), self.path("again.h5"))
        self.assertEqual(code, 0, text)
        self.assertIn("13 same", text)

    def test_slower_is_a_regression_and_faster_is_none(self):
        code, text = self.compare(self.path("base.h5"), self.path("slower.h5"))
        self.assertEqual(code, 1)
        self.assertIn("slower", self.line(text, "gru/deer/T=1000/float32"))
        self.assertIn("same", self.line(text, "gru/sequential/T=1000/float32"))
        code, text = self.compare(self.path("slower.h5"), self.path("base.h5"))
        self.assertEqual(code, 0)
        self.assertIn("faster", self.line(text, "gru/deer/T=1000/float32"))

    def test_the_threshold_decides(self):
        for threshold in ("0.3", "30%", "time=30%"):
            code, text = self.compare(self.path("base.h5"), self.path("slower.h5"), "--threshold", threshold,
                                      "--resolution", "30%")
            self.assertEqual(code, 0, text)
        both = (self.path("base.h5"), self.path("again.h5"))
        self.expect_bad_input("--threshold.*share", *both, "--threshold", "-1")
        self.expect_bad_input("--threshold.*not 'much'", *both, "--threshold", "much")
        self.expect_bad_input("no metric 'speed', only time, iterations, error, memory", *both, "--threshold", "speed=1")

    def test_what_noise_hides_is_inconclusive(self):
        noise = er.np.random.default_rng(3)
        for seed in (1, 2):
            self.with_times(f"loud{seed}.h5", lambda t: t * er.np.exp(noise.normal(0, 0.5, len(t))))
        code, text = self.compare(self.path("loud1.h5"), self.path("loud2.h5"))
        self.assertIn("inconclusive", self.line(text, "gru/deer/T=1000/float32"))
        self.assertEqual(code, 2, text)

    def test_a_lost_status_is_a_regression(self):
        path = self.changed("lost.h5", lambda file: file["cases/000001"].attrs.modify("status", "not_converged"))
        code, text = self.compare(self.path("base.h5"), path)
        self.assertEqual(code, 1)
        self.assertRegex(self.line(text, "gru/deer/T=1000/float32"), "worse +status ok → not_converged")
        code, text = self.compare(path, self.path("base.h5"))
        self.assertEqual(code, 0, "getting better is no regression: " + text)

    def test_iterations(self):
        def with_iterations(count):
            name = f"iterations{count}.h5"
            return self.changed(name, lambda file: file["cases/000001"].attrs.modify("iterations", count))

        code, text = self.compare(self.path("base.h5"), with_iterations(6))
        self.assertEqual(code, 0, "one more may be rounding")
        self.assertIn("iterations 5 → 6", text)
        code, text = self.compare(self.path("base.h5"), with_iterations(7))
        self.assertEqual(code, 1)
        self.assertIn("worse", self.line(text, "gru/deer/T=1000/float32"))
        code, _ = self.compare(self.path("base.h5"), with_iterations(6), "--threshold", "iterations=0")
        self.assertEqual(code, 1)
        code, _ = self.compare(self.path("base.h5"), with_iterations(4), "--exact")
        self.assertEqual(code, 1, "with --exact fewer are a difference, too")
        code, text = self.compare(self.path("base.h5"), with_iterations(7), "--threshold", "iterations=50%")
        self.assertEqual(code, 0, text)

    def test_error_and_memory(self):
        def with_attribute(name, factor):
            def change(file):
                attributes = file["cases/000001"].attrs
                attributes.modify(name, attributes[name] * factor)

            return self.changed(f"{name}{factor}.h5", change)

        for name, small, large, remark in (("error_mad", 2.0, 30.0, "error "), ("peak_memory_bytes", 1.1, 1.5, "memory ")):
            code, text = self.compare(self.path("base.h5"), with_attribute(name, small))
            self.assertEqual(code, 0, text)
            code, text = self.compare(self.path("base.h5"), with_attribute(name, large))
            self.assertEqual(code, 1, text)
            self.assertRegex(self.line(text, "gru/deer/T=1000/float32"), f"worse +{remark}")
        code, _ = self.compare(self.path("base.h5"), with_attribute("error_mad", 1.0001), "--exact")
        self.assertEqual(code, 1)

    def test_few_samples_need_a_clear_gap(self):
        old = self.with_times("few1.h5", lambda t: t[:3])
        for factor, expected in ((1.01, "same"), (1.5, "slower")):
            new = self.with_times("few2.h5", lambda t, f=factor: t[:3] * f)
            _, text = self.compare(old, new)
            self.assertIn(expected, self.line(text, "gru/deer/T=1000/float32"))
        one = self.with_times("one.h5", lambda t: t[:1])
        code, text = self.compare(old, one)
        self.assertIn("inconclusive", self.line(text, "gru/deer/T=1000/float32"))
        self.assertEqual(code, 2)

    def test_cases_are_matched_by_their_parameters(self):
        def change(file):
            file["meta"].attrs.modify("host", "node2")
            file["cases/000001"].attrs.modify("name", "new one")
            file["cases/000002"].attrs.modify("length", 1001)

        code, text = self.compare(self.path("base.h5"), self.changed("moved.h5", change))
        self.assertEqual(code, 0, text)
        self.assertIn("note: host differs: node1 → node2", text)
        self.assertRegex(self.line(text, "new one"), "same +named gru/deer/T=1000/float32 in .*base.h5")
        self.assertIn("base.h5: gru/quasi_deer/T=1000/float32", text)
        self.assertIn("moved.h5: gru/quasi_deer/T=1000/float32", text)

    def test_a_choice_is_settled_by_placement(self):
        def twice(file, threads):
            file.copy("cases/000001", "cases/000016")
            file["cases/000016"].attrs.modify("name", "more threads")
            file["cases/000016"].attrs.modify("threads", threads)

        old = self.changed("twice1.h5", lambda file: twice(file, 7))
        new = self.changed("twice2.h5", lambda file: twice(file, 7))
        _, text = self.compare(old, new)
        self.assertIn("same", self.line(text, "more threads"))
        other = self.changed("twice3.h5", lambda file: twice(file, 9))
        _, text = self.compare(old, other)
        self.assertIn("only in", text)
        self.assertIn("same", self.line(text, "gru/deer/T=1000/float32"))

    def test_folders_are_repeated_runs(self):
        for side, slower in (("left", 1), ("right", 1.05), ("equal", 1)):
            os.makedirs(self.path(side), exist_ok=True)
            for run in range(8):
                target = os.path.join(self.path(side), f"run-{run}.h5")
                seed = 100 + run + 50 * (side != "left")
                subprocess.run([WRITE_SAMPLE, target, str(slower), str(seed)], check=True)
                # The machine drifts by a third over the rounds: pairs do not care.
                with er.h5py.File(target, "r+") as file:
                    for group in file["cases"].values():
                        group["time_s"][...] = group["time_s"][()] * (1 + 0.05 * run)
        code, text = self.compare(self.path("left"), self.path("right"))
        self.assertEqual(code, 1, text)
        self.assertIn("8 + 8 runs", text)
        self.assertIn("3 not timed, 3 same, 10 slower", text)
        code, text = self.compare(self.path("left"), self.path("equal"))
        self.assertEqual(code, 0, text)
        os.makedirs(self.path("nothing"), exist_ok=True)
        self.expect_bad_input("no results file in this folder", self.path("left"), self.path("nothing"))

    def test_relative_looks_past_what_all_cases_share(self):
        noise = er.np.random.default_rng(7)
        for side, slower in (("calm", 1), ("one", 1.06), ("all", 1)):
            os.makedirs(self.path(side), exist_ok=True)
            for run in range(10):
                target = os.path.join(self.path(side), f"run-{run}.h5")
                subprocess.run([WRITE_SAMPLE, target, "1", str(300 + run + 50 * (side != "calm"))], check=True)
                # A run as a whole is off by a third; that hides any change of single cases.
                factor = er.np.exp(noise.normal(0, 0.3)) * (3 if side == "all" else 1)
                with er.h5py.File(target, "r+") as file:
                    for i, group in enumerate(file["cases"].values()):
                        group["time_s"][...] = group["time_s"][()] * factor * (slower if i == 1 else 1)
        code, text = self.compare(self.path("calm"), self.path("one"))
        self.assertIn("13 inconclusive", text)
        code, text = self.compare(self.path("calm"), self.path("one"), "--relative")
        self.assertEqual(code, 1, text)
        self.assertIn("12 same, 1 slower", text)
        self.assertIn("slower", self.line(text, "gru/deer/T=1000/float32"))
        self.assertIn("note: all cases together: inconclusive", text)
        code, text = self.compare(self.path("calm"), self.path("all"), "--relative")
        self.assertEqual(code, 1, "three times slower is an alarm, too: " + text)
        self.assertIn("13 same", text)
        self.assertIn("note: all cases together: slower", text)
        self.expect_bad_input("--relative takes two folders", self.path("base.h5"), self.path("again.h5"), "--relative")

    def test_what_the_program_chose_otherwise_is_told(self):
        def change(file):
            file["meta"].attrs.modify("interleaved", 1 - int(file["meta"].attrs.get("interleaved", 0)))
            file["cases/000001"].attrs.modify("scan", "chunked:64")

        old = self.changed("turns0.h5", lambda file: file["meta"].attrs.modify("interleaved", 0))
        code, text = self.compare(old, self.changed("turns1.h5", change))
        self.assertEqual(code, 0, text)
        self.assertRegex(text, "note: interleaved differs: 0 → 1")
        self.assertRegex(self.line(text, "gru/deer/T=1000/float32"), "same +scan .* → chunked:64")

    def test_other_settings_are_other_experiments(self):
        def with_gain(gain):
            return lambda file: file["cases/000001"].attrs.modify("name", f"gru-D8-gain={gain}-T1000-B4-f32-deer")

        _, text = self.compare(self.changed("gain2.h5", with_gain(2)), self.changed("gain3.h5", with_gain(3)))
        self.assertIn("only in " + self.path("gain2.h5") + ": gru-D8-gain=2-T1000-B4-f32-deer", text)
        self.assertIn("only in " + self.path("gain3.h5") + ": gru-D8-gain=3-T1000-B4-f32-deer", text)

    def test_json(self):
        code, text = self.compare(self.path("base.h5"), self.path("slower.h5"), "--json")
        told = json.loads(text)
        self.assertEqual((code, told["exit_code"]), (1, 1))
        deer = told["cases"][1]
        self.assertEqual((deer["name"], deer["verdict"]), ("gru/deer/T=1000/float32", "slower"))
        self.assertTrue(deer["low"] < 1.12 < deer["high"])
        self.assertIsNone(told["cases"][13]["ratio"])

    def test_machines(self):
        picture = self.path("machines.svg")
        result = script("compare.py", self.path("base.h5"), self.path("again.h5"), self.path("slower.h5"), "--out", picture)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("ar-gru, T = 9,999, D = 4, B = 1, float64", result.stdout)
        (row,) = [line for line in result.stdout.splitlines() if line.startswith("  quasi-deer") and "× seq.)" in line][:1]
        self.assertEqual(row.count("*"), 3, "the fastest on each machine")
        self.assertRegex(result.stdout, "base +again +slower")
        with open(picture, encoding="utf-8") as file:
            text = re.sub(r"<[^>]*>", "", file.read())
        for part in ("quasi-deer", "again", "time of one solve (s)"):
            self.assertIn(part, text)
        two = script("compare.py", "--machines", self.path("base.h5"), self.path("slower.h5"))
        self.assertEqual(two.returncode, 0)
        self.assertNotIn("verdict", two.stdout)

    def test_nothing_to_compare_is_bad_input(self):
        def move(file):
            for name in file["cases"]:
                file["cases"][name].attrs.modify("system", "other")

        other = self.changed("other-system.h5", move)
        self.expect_bad_input("no case in common", self.path("base.h5"), other)
        self.expect_bad_input("no such file", self.path("base.h5"), self.path("none.h5"))
        self.expect_bad_input("expected OLD and NEW", self.path("base.h5"))
        self.expect_bad_input("--out goes with --machines", self.path("base.h5"), other, "--out", "x.svg")


class Statistics(unittest.TestCase):
    """The numbers behind compare.py, and whether they say "same" of what is the same."""

    def test_students_t(self):
        # Tables, e.g. Abramowitz and Stegun 26.10.
        for degrees, quantile in ((1, 12.7062), (2, 4.3027), (10, 2.2281), (30, 2.0423), (1000, 1.9623)):
            self.assertAlmostEqual(es.t_quantile(0.05, degrees), quantile, places=4)
            self.assertAlmostEqual(es.t_tail(quantile, degrees), 0.05, places=5)

    def test_holm(self):
        self.assertEqual(es.holm([0.01, 0.04, 0.03]).tolist(), [0.03, 0.06, 0.06])
        self.assertTrue(er.np.isnan(es.holm([float("nan"), 0.5])[0]))
        self.assertEqual(es.holm([float("nan"), 0.5])[1], 0.5)

    def test_intervals_cover_for_independent_samples(self):
        random = er.np.random.default_rng(5)
        held = 0
        for _ in range(500):
            old, new = (er.np.exp(random.normal(0, 0.05, 30)) for _ in range(2))
            effect = es.compare_samples(old, new * 1.2)
            held += effect.low <= 1.2 <= effect.high
        self.assertTrue(465 <= held <= 495, held)

    @staticmethod
    def run_of(random, samples, seconds):
        """Times of one run on a shared machine: the run as a whole off by 1 %, a drift that is correlated over ten
        samples (2 %), delays to the right (3 %), now and then a long one."""
        phi, age = 0.9, er.np.subtract.outer(er.np.arange(samples), er.np.arange(samples))
        memory = er.np.where(age >= 0, phi ** er.np.maximum(age, 0), 0)  # the autoregression as a matrix
        shocks = random.normal(0, 0.02, samples) * er.np.where(er.np.arange(samples) == 0, 1, (1 - phi * phi) ** 0.5)
        drift = memory @ shocks
        delay = random.gamma(1.0, 0.03, samples) + (random.random(samples) < 0.03) * random.exponential(1.0, samples)
        return seconds * er.np.exp(random.normal(0, 0.01) + drift) * (1 + delay)

    def verdicts(self, trials, slower, rounds, samples=50, cases=5):
        """Of `trials` comparisons of `cases` cases each, those of the first one, which is slower, and of the others."""
        random = er.np.random.default_rng(11)
        first, others = [], []
        for _ in range(trials):
            effects = []
            for case in range(cases):
                factor = slower if case == 0 else 1.0
                runs = [[self.run_of(random, samples, seconds) for _ in range(rounds)] for seconds in (1.0, factor)]
                if rounds == 1:
                    effects.append(es.compare_samples(runs[0][0], runs[1][0], 0.01))
                else:
                    effects.append(es.compare_runs(*([er.np.median(t) for t in side] for side in runs)))
            corrected = es.holm([effect.p for effect in effects])
            told = [compare.verdict_of(e, p, False, compare.THRESHOLDS["time"], 0.15) for e, p in zip(effects, corrected)]
            first.append(told[0])
            others.extend(told[1:])
        return first, others

    def test_the_same_program_is_called_the_same(self):
        # 200 trials each: single runs, and eight rounds in turns. A wrong alarm is worse than no verdict.
        for rounds in (1, 8):
            first, others = self.verdicts(200, 1.0, rounds)
            told = first + others
            self.assertGreaterEqual(first.count("same"), 190, {v: first.count(v) for v in set(first)})
            self.assertGreaterEqual(told.count("same"), 0.95 * len(told), {v: told.count(v) for v in set(told)})

    def test_no_same_by_correction_alone(self):
        slow = es.Effect(1.08, 1.04, 1.12, 0.0005)
        self.assertEqual(compare.verdict_of(slow, 0.0005, False, 0.03, 0.15), "slower")
        # Among a hundred cases that is no alarm, and it is not "same" either.
        self.assertEqual(compare.verdict_of(slow, 0.05, False, 0.03, 0.15), "inconclusive")
        self.assertEqual(compare.verdict_of(es.Effect(1.02, 1.01, 1.03, 0.0005), 0.05, False, 0.03, 0.15), "same")

    def test_five_per_cent_are_found_in_rounds(self):
        first, others = self.verdicts(100, 1.05, 16)
        self.assertGreaterEqual(first.count("slower"), 90, {v: first.count(v) for v in set(first)})
        self.assertLessEqual(others.count("slower") + others.count("faster"), 4)


class Packages(ScriptTest):
    def test_a_missing_package_is_one_sentence(self):
        with open(self.path("h5py.py"), "w", encoding="utf-8") as file:
            file.write("raise ImportError('gone', name='h5py')\n")
        # Also where starting again with Debian's Python does not help: no endless loop.
        for again in ("1", ""):
            result = script("plot.py", "x.h5", PYTHONPATH=self.folder, ELKHORN_PYTHON_AGAIN=again)
            self.expect_usage_error(result, "package h5py is missing; install python3-h5py")

    def test_help(self):
        for name in ("plot.py", "compare.py"):
            result = script(name, "--help")
            self.assertEqual(result.returncode, 0)
            self.assertIn("usage:", result.stdout)


if __name__ == "__main__":
    unittest.main()
