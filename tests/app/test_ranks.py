"""Results do not depend on the number of ranks: statuses, iterations, histories and states are the same bit for bit."""

import unittest

import program

import h5py
import numpy as np

DECK = """
[system]
kind = "gru"
state_dim = 5
[problem]
length = 130                       # not a multiple of any block or chunk
batch = 5                          # fewer sequences than the largest number of ranks
initial_state = "random"
[[solver]]
kind = "sequential"
[[solver]]
kind = ["deer", "quasi_deer"]
scan = ["serial", "flat", "chunked", "auto"]
max_iterations = 50
tolerance = 1e-6
[[solver]]
kind = ["elk", "quasi_elk"]
sigma2 = 1e4
scan = ["serial", "flat", "chunked", "auto"]
max_iterations = 50
tolerance = 1e-6
[measure]
precision = ["float32", "float64"]
warmup = 0
repetitions = 1
[output]
states = true
"""
SAME_ATTRIBUTES = ("name", "status", "converged", "iterations", "residual_max", "error_max", "error_mad", "message", "scan")
SAME_DATASETS = ("batch_iterations", "history/residual", "history/update", "history/mad", "history/resets", "states")


class Ranks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.write("ranks.toml", DECK)
        cls.run_on(1)

    @classmethod
    def run_on(cls, ranks):
        done = program.run("run", "ranks.toml", "--out", f"np{ranks}.h5", ranks=ranks, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_the_sweep_is_worth_comparing(self):
        with h5py.File("np1.h5") as file:
            groups = list(file["cases"].values())
            self.assertEqual(len(groups), 2 * (1 + 16))
            self.assertEqual({group.attrs["solver"] for group in groups},
                             {"sequential", "deer", "quasi_deer", "elk", "quasi_elk"})
            self.assertEqual({group.attrs["status"] for group in groups}, {"ok"})
            self.assertTrue(any(len(set(group["batch_iterations"][()])) > 1 for group in groups),
                            "all sequences take the same number of iterations: histories then have no ragged ends")
            self.assertTrue(any(group.attrs["scan"].startswith("chunked") for group in groups))

    def test_same_bits(self):
        for ranks in (2, 3, 4, 7):
            with self.subTest(ranks=ranks):
                self.run_on(ranks)
                self.compare("np1.h5", f"np{ranks}.h5", ranks)

    def compare(self, one, other, ranks):
        with h5py.File(one) as first, h5py.File(other) as second:
            self.assertEqual(list(first["cases"]), list(second["cases"]))
            for name, a in first["cases"].items():
                b = second["cases"][name]
                self.assertEqual((b.attrs["ranks"], b["rank_time_s"].shape[1]), (ranks, ranks))
                for attribute in SAME_ATTRIBUTES:
                    np.testing.assert_array_equal(a.attrs[attribute], b.attrs[attribute],
                                                  f"{attribute} of {a.attrs['name']}")
                for dataset in SAME_DATASETS:
                    self.assertEqual(dataset in a, dataset in b)
                    if dataset in a:  # sequential has no history
                        # bytes, so that NaN equals NaN and +0 differs from -0
                        self.assertEqual(a[dataset].shape, b[dataset].shape)
                        self.assertTrue(a[dataset][()].tobytes() == b[dataset][()].tobytes(),
                                        f"{dataset} of {a.attrs['name']} differs on {ranks} ranks")


if __name__ == "__main__":
    unittest.main(verbosity=2)
