"""All decks of the paper in their quick size, with the pictures and tables made of them: the published shapes."""

import sys
import unittest

import experiments as ex
import numpy as np


class Quick(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = ex.call(sys.executable, ex.PAPER, "--quick", "--out", ".", timeout=2300)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        done = ex.call(ex.ELKHORN, "check", *(name + ".h5" for name in ex.DECKS))
        assert done.returncode == 0, done.stdout + done.stderr
        cls.cases = {name: ex.cases(name + ".h5") for name in ex.DECKS}

    def test_tables_and_pictures(self):
        for name, found in self.cases.items():
            ex.assert_finite(found)
            self.assertTrue({c.status for c in found.values()} <= {"ok", "not_converged", "diverged"}, name)
            ex.assert_written(".", f"{name}_table.md", f"{name}_table.csv")
        pictures = ["accuracy_float32", "accuracy_float64", "ar_gru_mad_float32", "lambda_sweep_iterations",
                    "lorenz96_mad", "lorenz96_traces", "lorenz96_trust_regions"]
        for sweep in ("time_memory", "extended_sweep"):
            pictures += [f"{sweep}_{kind}" for kind in ("time", "memory", "speedup")]
        ex.assert_written(".", *(picture + ".png" for picture in pictures))

    def test_untrained(self):
        for name in ("accuracy", "time_memory", "extended_sweep"):
            for case in self.cases[name].values():
                self.assertEqual(case.status, "ok", case.name)

    def test_ar_gru(self):
        for case in self.cases["ar_gru"].values():
            with self.subTest(case=case.name):
                if case.solver in ("deer", "quasi_deer"):
                    self.assertIn(case.status, ex.UNSTABLE)
                else:
                    self.assertEqual(case.status, "ok")
                    self.assertLess(case.error_mad, 5e-5)

    def test_lambda_sweep(self):
        found = self.cases["lambda_sweep"]
        solved = {}
        for sigma2 in (1e5, 1e6, 1e7):
            case = ex.one(found, "elk", sigma2)
            counts = [np.inf if n is None else n for n in case.solved_at()]
            solved[sigma2] = np.median(counts)
        self.assertTrue(50 <= solved[1e7] <= 95, solved)
        self.assertTrue(solved[1e7] < solved[1e6] < solved[1e5], solved)
        self.assertIn(ex.one(found, "elk", 1e8).status, ex.UNSTABLE)
        self.assertEqual(ex.one(found, "quasi_elk", 1e2).status, "ok")
        self.assertIn(ex.one(found, "quasi_elk", 1e3).status, ex.UNSTABLE)

    def test_lorenz96(self):
        found = self.cases["lorenz96"]
        for solver, sigma2, low, high in (("elk", 300.0, 140, 225), ("elk", 30.0, 300, 420),
                                          ("quasi_elk", 10.0, 460, 560)):
            case = ex.one(found, solver, sigma2)
            self.assertEqual(case.status, "ok", case.name)
            for n in case.solved_at():
                self.assertTrue(n is not None and low <= n <= high, (case.name, n))
        for case in found.values():
            if case.name.endswith("deer-guard=guess") or case.name.endswith("deer"):
                self.assertEqual(case.status, "ok", case.name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
