"""The paper's decks are of the published size, and small parts of them give the published verdicts."""

import os
import re
import sys
import unittest

import experiments as ex
import numpy as np

# (cases of the published size, D, T, σ²); METHOD: the paper's T = 10,000 and T = 1,000 count s_0.
AR_GRU_SIGMA2 = "1 10 100 1e3 1e4 1e5 1e6 1e7 3e7 1e8 3e8"
PUBLISHED = {
    "accuracy": (10, "4", "10000", ""),
    "ar_gru": (20 * 2 * 5, "4", "9999", "1e6 100"),
    "extended_sweep": (7 * 7 * 20 * 3, "1 2 4 8 16 32 64", "1000 3000 10000 30000 100000 300000 1000000", ""),
    "lambda_sweep": (1 + 2 * 11, "4", "9999", AR_GRU_SIGMA2),
    "lorenz96": (1 + 4 + 2 * 10 + 1 + 8, "5", "999", "0.3 10 30 100 300 1e3 3e3 1e4 1e5 1e6"),
    "time_memory": (4 * 4 * 20 * 3, "8 16 32 64", "30000 100000 300000 1000000", ""),
}


class Decks(unittest.TestCase):
    def test_published_sizes(self):
        self.assertEqual(set(ex.DECKS), set(PUBLISHED))
        for name, (count, dims, lengths, sigma2) in PUBLISHED.items():
            with self.subTest(deck=name):
                done = ex.call(ex.ELKHORN, "list", ex.DECKS[name])
                self.assertEqual(done.returncode, 0, done.stderr)
                names = [line for line in done.stdout.splitlines() if re.search(r"-D\d+-T\d+-B\d+-", line)]
                self.assertEqual(len(names), count)
                for pattern, expected in ((r"-D(\d+)-", dims), (r"-T(\d+)-", lengths), (r"-s2=([\d.e]+)", sigma2)):
                    found = {match[1] for line in names for match in [re.search(pattern, line)] if match}
                    self.assertEqual(found, set(expected.split()))

    def test_quick_is_smaller(self):
        for name, path in ex.DECKS.items():
            with self.subTest(deck=name):
                done = ex.call(ex.ELKHORN, "list", path, "--quick")
                self.assertEqual(done.returncode, 0, done.stderr)
                quick = [line for line in done.stdout.splitlines() if re.search(r"-D\d+-T\d+-B\d+-", line)]
                self.assertTrue(0 < len(quick) <= 30, len(quick))


class Verdicts(unittest.TestCase):
    def test_untrained_gru(self):
        found = ex.run("accuracy", "--set", "problem.length=2000", "--set", "measure.repetitions=1")
        ex.assert_finite(found)
        self.assertEqual({c.status for c in found.values()}, {"ok"})
        for case in found.values():
            if case.solver == "deer" and case.precision == "float64":  # quadratic: far beyond its tolerance
                self.assertLess(case.error_max, 1e-12, case.name)
        found = ex.run("time_memory", "--set", "system.state_dim=8", "--set", "problem.length=1000")
        ex.assert_finite(found)
        self.assertEqual({c.status for c in found.values()}, {"ok"})
        ratio = ex.one(found, "quasi_deer").iterations / ex.one(found, "deer").iterations
        self.assertTrue(1.8 <= ratio <= 3.2, ratio)  # published: 2 to 2.5

    def test_trust_regions(self):
        # Batch 1 of the sweep; ELK: best near 1e7, overflow above; quasi-ELK: useless from 1e3 on.
        found = ex.run("lambda_sweep", "--set", "problem.batch=1", "--set", "solver.max_iterations=100",
                       "--set", "solver.sigma2=[1e3, 1e5, 1e7, 3e8]",
                       "--filter", "-(elk-s2=(1e5|1e7|3e8)|quasi_elk-s2=1e3|sequential)$")
        ex.assert_finite(found)
        best = ex.one(found, "elk", 1e7)
        self.assertEqual(best.status, "ok")
        self.assertTrue(50 <= best.solved_at()[0] <= 95, best.solved_at())
        self.assertEqual(ex.one(found, "elk", 1e5).status, "not_converged")
        self.assertEqual(ex.one(found, "elk", 3e8).status, "diverged")
        self.assertIn(ex.one(found, "quasi_elk", 1e3).status, ex.UNSTABLE)

    def test_lorenz96(self):
        # The first 300 steps only: there all damped and guarded solvers are quick.
        found = ex.run("lorenz96", "--set", "problem.length=300",
                       "--filter", "deer-guard=guess$|-elk-s2=300|quasi_elk-s2=10$|sequential")
        ex.assert_finite(found)
        for case in found.values():
            expected = "not_converged" if case.name.endswith("stop=iterations") else "ok"
            if case.name.endswith("stop=iterations") and case.status == "ok":
                continue  # solved before the chosen number of iterations
            self.assertEqual(case.status, expected, case.name)


class Script(unittest.TestCase):
    def test_ar_gru(self):
        command = [sys.executable, ex.PAPER, "--quick", "--only", "ar_gru", "--out", "ar_gru", "--set", "problem.seed=1",
                   "--set", "solver.max_iterations=230"]
        done = ex.call(*command)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        ex.assert_written("ar_gru", "ar_gru_mad_float32.png", "ar_gru_table.md", "ar_gru_table.csv", "ar_gru.log")
        found = ex.cases("ar_gru/ar_gru.h5")
        ex.assert_finite(found)
        for solver in ("deer", "quasi_deer"):
            self.assertIn(ex.one(found, solver).status, ex.UNSTABLE)
        elk = ex.one(found, "elk")
        self.assertEqual(elk.status, "ok")
        self.assertLess(elk.error_mad, 5e-5)
        self.assertTrue(150 <= elk.solved_at()[0] <= 225, elk.solved_at())
        quasi_elk = ex.one(found, "quasi_elk")  # needs about 1,500: the nightly test runs them
        self.assertEqual(quasi_elk.status, "not_converged")
        self.assertTrue(np.all(quasi_elk.mad < 20), "it should stay near the states: damped")

        before = os.stat("ar_gru/ar_gru.h5").st_mtime_ns
        done = ex.call(*command)  # nothing is left to run
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(os.stat("ar_gru/ar_gru.h5").st_mtime_ns, before)

        done = ex.call(sys.executable, ex.PAPER, "--draw-only", "--only", "lorenz96", "--out", "ar_gru")
        self.assertEqual((done.returncode, "lorenz96.h5" in done.stderr), (2, True), done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
