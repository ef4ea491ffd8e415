"""Everything the README shows is true: its commands run, its deck expands, its script reads what they wrote, its table
is the one of the results file that is kept in git."""

import os
import re
import stat
import subprocess
import unittest

import program

README = os.path.join(program.SOURCE, "README.md")
REFERENCE = os.path.join(program.SOURCE, "results", "reference")


def readme():
    with open(README, encoding="utf-8") as file:
        return file.read()


def blocks(language):
    """Fenced blocks that follow a line "<!-- tested -->", in order."""
    return re.findall(rf"^<!-- tested -->\n```{language}\n(.*?)^```$", readme(), re.MULTILINE | re.DOTALL)


def wrapper(name, target):
    """`name` on the PATH runs the program that this build uses."""
    path = os.path.join("bin", name)
    program.write(path, f'#!/bin/sh\nexec "{target}" "$@"\n')
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # A folder that looks like the repository with a build in it; what the commands write stays here.
        for name in ("inputs", "scripts"):
            os.symlink(os.path.join(program.SOURCE, name), name)
        os.mkdir("build")
        os.symlink(program.ELKHORN, os.path.join("build", "elkhorn"))
        os.mkdir("bin")
        wrapper("mpirun", program.MPIEXEC)
        wrapper("python3", os.environ["ELKHORN_PYTHON"])
        cls.environment = {**os.environ, "PATH": os.path.abspath("bin") + os.pathsep + os.environ["PATH"]}
        (deck,) = blocks("toml")
        program.write("my.toml", deck)
        (script,) = blocks("python")
        program.write("read.py", script)

    def test_the_deck_expands(self):
        done = program.run("list", "my.toml")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(len(done.stdout.splitlines()), 8, "the README speaks of eight cases")

    def test_the_commands_run_in_the_order_shown(self):
        commands = [line for block in blocks("sh") for line in block.splitlines()]
        self.assertGreaterEqual(len(commands), 8)
        for line in commands:
            with self.subTest(line):
                done = subprocess.run(["bash", "-ec", line], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                      timeout=program.TIMEOUT_S, env=self.environment, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_two_scripts_exist(self):
        for script in ("scripts/quickstart.sh", "scripts/test.sh"):
            self.assertIn(script, readme())
            done = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(script, done.stdout)

    def test_links(self):
        links = re.findall(r"\]\(([^)#:]+)\)", readme())
        self.assertGreater(len(links), 5)
        for link in links:
            self.assertTrue(os.path.exists(os.path.join(program.SOURCE, link)), link)

    def test_every_solver_is_explained(self):
        for line in program.run("list", "solvers").stdout.splitlines():
            self.assertIn(f"`{line.split()[0]}`", readme())

    def test_the_table_is_that_of_the_reference_results(self):
        with open(os.path.join(REFERENCE, "quickstart.txt"), encoding="utf-8") as file:
            table = file.read()
        self.assertIn(f"```text\n{table}```\n", readme())
        results = os.path.join(REFERENCE, "quickstart.h5")
        self.assertLess(os.path.getsize(results), 1e6)
        done = program.run("check", results)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for name, case in program.cases(results).items():
            # the row of the case: its status and its number of iterations
            iterations = "–" if case["solver"] == "sequential" else case["iterations"]
            row = rf"(?m)^ {re.escape(self.label(case))} .* {case['status']} +{iterations} "
            self.assertRegex(table, row, name)

    @staticmethod
    def label(case):
        sigma2 = case["sigma2"]
        return case["solver"] + (f" σ²={sigma2:.0e}".replace("e+0", "e") if sigma2 == sigma2 else "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
