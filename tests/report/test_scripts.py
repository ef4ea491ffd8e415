"""scripts/plot.py and scripts/compare.py on files the C++ writer made: test_scripts.py WRITE_SAMPLE_PROGRAM."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.environ.get("ELKHORN_SOURCE") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)
SCRIPTS = os.path.join(ROOT, "scripts")
sys.dont_write_bytecode = True
sys.path.insert(0, SCRIPTS)
import elkhorn_results as er  # noqa: E402  (finds a Python with h5py, if need be by starting this file again)
from matplotlib import image  # noqa: E402

WRITE_SAMPLE = os.path.abspath(sys.argv.pop(1))


def script(name, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-B", os.path.join(SCRIPTS, name), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        check=False,
    )


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
            frame = er.pd.DataFrame(file["summary"][()])
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
        for threshold in ("0.3", "30%"):
            code, text = self.compare(self.path("base.h5"), self.path("slower.h5"), "--threshold", threshold)
            self.assertEqual(code, 0, text)
        self.expect_usage_error_of_argparse("--threshold", "-1")
        self.expect_usage_error_of_argparse("--threshold", "much")

    def expect_usage_error_of_argparse(self, *options):
        result = script("compare.py", self.path("base.h5"), self.path("again.h5"), *options)
        self.assertEqual(result.returncode, 2)
        self.assertIn("--threshold", result.stderr)

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

    def test_few_samples_need_a_clear_gap(self):
        def keep_three(file, factor):
            group = file["cases/000001"]
            times = group["time_s"][:3] * factor
            del group["time_s"]
            group["time_s"] = times

        old = self.changed("few1.h5", lambda file: keep_three(file, 1))
        for factor, expected in ((1.01, "same"), (1.5, "slower")):
            new = self.changed("few2.h5", lambda file, f=factor: keep_three(file, f))
            _, text = self.compare(old, new)
            self.assertIn(expected, self.line(text, "gru/deer/T=1000/float32"))

    def test_other_cases_and_other_machines_are_told(self):
        def change(file):
            file["meta"].attrs.modify("host", "node2")
            file["cases/000001"].attrs.modify("name", "new one")

        code, text = self.compare(self.path("base.h5"), self.changed("moved.h5", change))
        self.assertEqual(code, 0)
        self.assertIn("note: host differs: node1 → node2", text)
        self.assertIn("base.h5: gru/deer/T=1000/float32", text)
        self.assertIn("moved.h5: new one", text)

    def test_nothing_to_compare_is_a_usage_error(self):
        def rename(file):
            for name in file["cases"]:
                file["cases"][name].attrs.modify("name", "other " + name)

        other = self.changed("renamed.h5", rename)
        self.expect_usage_error(script("compare.py", self.path("base.h5"), other), "no case in common")
        self.expect_usage_error(script("compare.py", self.path("base.h5"), self.path("none.h5")), "no such file")


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
