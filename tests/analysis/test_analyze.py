"""`elkhorn analyze`: a page for people, JSON for programs, exit codes; one analysis a problem, however many solvers."""

import json
import math
import os
import subprocess
import unittest

ELKHORN = os.environ["ELKHORN"]
MPIEXEC = os.environ["MPIEXEC"]
PATIENCE = float(os.environ.get("ELKHORN_TEST_PATIENCE", "1"))

DECK = """
[system]
kind = "linear"
state_dim = 3
radius = [0.9, 1.02]
[problem]
length = 300
batch = 3
[[solver]]
kind = "sequential"
[[solver]]
kind = ["deer", "quasi_deer"]
tolerance = [1e-3, 1e-5]
"""


def analyze(*arguments, ranks=None):
    launcher = [MPIEXEC, "-n", str(ranks)] if ranks else []
    return subprocess.run(
        [*launcher, ELKHORN, "analyze", *arguments],
        capture_output=True, text=True, encoding="utf-8", timeout=120 * PATIENCE, stdin=subprocess.DEVNULL, check=False,
    )


class Analyze(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open("deck.toml", "w", encoding="utf-8") as file:
            file.write(DECK)

    def objects(self, *arguments, **options):
        done = analyze("deck.toml", "--json", *arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_json_has_one_object_a_problem(self):
        stable, unstable = self.objects("--set", "measure.precision=[float32, float64]")
        for problem, radius in [(stable, 0.9), (unstable, 1.02)]:
            self.assertEqual(problem["tolerance"], 1e-5)
            self.assertEqual(len(problem["sequences"]), 1)
            numbers = problem["sequences"][0]
            self.assertEqual(len(numbers["lyapunov_spectrum"]), 3)
            self.assertAlmostEqual(numbers["lyapunov_exponent"], math.log(radius), places=10)
            self.assertAlmostEqual(numbers["jacobian_norm"]["max"], radius, places=6)
            self.assertEqual(numbers["growth"]["dense"]["window"], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300])
            solvers = [advice["solver"] for advice in problem["advice"]["solvers"]]
            self.assertEqual(solvers, ["deer", "quasi_deer", "elk", "quasi_elk"])
        self.assertTrue(stable["advice"]["summary"].startswith("predictable"))
        self.assertTrue(unstable["advice"]["summary"].startswith("unpredictable"))

    def test_sequences_and_filter(self):
        (problem,) = self.objects("--sequences", "5", "--filter", "radius=0.9")
        self.assertEqual([s["sequence"] for s in problem["sequences"]], [0, 1, 2])

    def test_page_names_numbers_solvers_and_source(self):
        done = analyze("deck.toml", "--filter", "radius=1.02")
        self.assertEqual(done.returncode, 0, done.stderr)
        for wanted in ("+0.0198", "quasi_elk", "‖A_t‖₂", "arXiv 2508.16817", "sequence 0 of 3"):
            self.assertIn(wanted, done.stdout)
        self.assertNotIn("nan", done.stdout)

    def test_ranks_print_once(self):
        self.assertEqual(self.objects(), self.objects(ranks=2))

    def test_bad_input_is_exit_code_2_and_one_line(self):
        for arguments in (["missing.toml"], ["deck.toml", "--filter", "nothing"], ["deck.toml", "--sequences", "0"],
                          ["deck.toml", "--set", "problem.length=0"], ["deck.toml", "--no-such-option"], []):
            done = analyze(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertEqual(done.stdout, "", arguments)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
