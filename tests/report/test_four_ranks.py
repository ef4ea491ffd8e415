"""A run on four ranks, read by the one-liner of docs/results.md, gives the numbers of the table that the run showed."""

import os
import re
import subprocess
import unittest

ELKHORN, SOURCE, MPIEXEC = (os.environ[name] for name in ("ELKHORN", "ELKHORN_SOURCE", "MPIEXEC"))
PATIENCE = float(os.environ.get("ELKHORN_TEST_PATIENCE", "1"))
DECK = """title = "four ranks"
[system]
kind = "gru"
state_dim = [4, 8]
[problem]
length = [200, 1000]
batch = 4
[[solver]]
kind = "sequential"
[[solver]]
kind = ["deer", "quasi_deer"]
[[solver]]
kind = "quasi_elk"
sigma2 = 1e4
max_iterations = 3      # too few: not_converged has a row as well
[measure]
warmup = 1
repetitions = 7
"""
UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}


class FourRanks(unittest.TestCase):
    def test_the_one_liner_reads_what_the_table_shows(self):
        with open("deck.toml", "w", encoding="utf-8") as file:
            file.write(DECK)
        done = subprocess.run([MPIEXEC, "-n", "4", ELKHORN, "run", "deck.toml", "--out", "results.h5"], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=280 * PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(SOURCE, "docs", "results.md"), encoding="utf-8") as file:
            lines = re.findall(r"<!-- tested -->\n```python\n(.*)\n```", file.read())
        self.assertEqual(len(lines), 1)
        names = {}
        exec(lines[0], names)  # the documented line, as it stands
        table = names["table"]
        self.assertEqual(len(table), 16)
        self.assertEqual(set(table["ranks"]), {4})

        rows = []
        for line in done.stdout.splitlines():
            found = re.match(r" (\w+)(?: σ²=\S+)? +(\d+) +(\d+) +(\d+) +(\w+) +(–|\d+) +([\d.]+) (s|ms|µs|ns) (.*)", line)
            if found:
                rows.append(found.groups())
        self.assertEqual(len(rows), 16, done.stdout)
        for (solver, length, dim, batch, status, iterations, time, unit, rest), (_, case) in zip(rows, table.iterrows()):
            with self.subTest(case["name"]):
                shown = (solver, int(length), int(dim), int(batch), status)
                read = tuple(case[key] for key in ("solver", "length", "state_dim", "batch", "status"))
                self.assertEqual(shown, read)
                if iterations != "–":
                    self.assertEqual(int(iterations), case["iterations"])
                # Three digits are shown.
                self.assertLess(abs(float(time) * UNITS[unit] / case["time_median_s"] - 1), 0.0051)
                memory = re.search(r"([\d.]+) (KiB|MiB|GiB)$", rest)
                self.assertLess(abs(float(memory[1]) * UNITS[memory[2]] / case["peak_memory_bytes"] - 1), 0.0051)
                ratio = re.search(r"([\d.]+)×", rest)
                self.assertEqual(ratio is not None, status == "ok")
                if ratio:
                    digits = len(ratio[1].partition(".")[2])
                    self.assertLessEqual(abs(float(ratio[1]) - case["speedup_over_sequential"]), 0.51 * 10.0**-digits)


if __name__ == "__main__":
    unittest.main(verbosity=2)
