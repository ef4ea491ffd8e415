"""Everything the pages show is true: commands run, decks expand, scripts read what the commands wrote, the table of the
README is the one of the results file that is kept in git, and what else they name exists."""

import glob
import os
import re
import shlex
import stat
import subprocess
import unittest

import program

REFERENCE = os.path.join(program.SOURCE, "results", "reference")
PAGES = sorted(os.path.relpath(path, program.SOURCE) for pattern in ("*.md", "docs/*.md", "results/*.md")
               for path in glob.glob(os.path.join(program.SOURCE, pattern)))
# compare.py ends with 1 where something became slower and 2 where it cannot tell: both are what two short runs may show.
CODES = {"scripts/compare.py": (0, 1, 2), "scripts/compare_builds.py": (0, 1, 2)}


def text_of(page):
    with open(os.path.join(program.SOURCE, page), encoding="utf-8") as file:
        return file.read()


def blocks(page, language):
    """Fenced blocks of a page in order, each with the comment in the line before it ("" where there is none):
    "tested" for those that are run here as they stand, "tested: SED" for those in which sed makes them quicker first,
    "not tested: WHY"."""
    return re.findall(rf"(?:^<!-- ([^\n]*) -->\n)?^```{language}\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)


def tested(page, language):
    return [block for mark, block in blocks(page, language) if mark.startswith("tested")]


def wrapper(name, target):
    """`name` on the PATH runs the program that this build uses."""
    path = os.path.join("bin", name)
    program.write(path, f'#!/bin/sh\nexec "{target}" "$@"\n')
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # A folder that looks like the repository with a build in it; what the commands write stays here.
        for name in ("inputs", "scripts"):
            os.symlink(os.path.join(program.SOURCE, name), name)
        for build in ("build", "build-old"):
            os.mkdir(build)
            os.symlink(program.ELKHORN, os.path.join(build, "elkhorn"))
        os.mkdir("bin")
        wrapper("mpirun", program.MPIEXEC)
        wrapper("python3", os.environ["ELKHORN_PYTHON"])
        cls.environment = {**os.environ, "PATH": os.path.abspath("bin") + os.pathsep + os.environ["PATH"]}
        (deck,) = tested("README.md", "toml")
        program.write("my.toml", deck)
        (script,) = tested("README.md", "python")
        program.write("read.py", script)

    def shell(self, line):
        return subprocess.run(["bash", "-ec", line], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=program.TIMEOUT_S, env=self.environment, check=False)

    def test_the_deck_of_the_readme_expands(self):
        done = program.run("list", "my.toml")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(len(done.stdout.splitlines()), 8, "the README speaks of eight cases")

    def test_every_block_of_commands_is_run_or_says_why_not(self):
        for page in PAGES:
            for mark, block in [*blocks(page, "sh"), *blocks(page, "python")]:
                self.assertRegex(mark, r"^(tested$|tested: s\W|not tested: \S{2,} \S)", f"{page}:\n{block}")

    def test_the_commands_run_in_the_order_shown(self):
        count = 0
        for page in PAGES:
            for mark, block in blocks(page, "sh"):
                if not mark.startswith("tested"):
                    continue
                sed = mark.partition(": ")[2]
                for line in block.splitlines():
                    if sed:
                        line = subprocess.run(["sed", "-e", sed], input=line, capture_output=True, text=True, check=True).stdout
                    with self.subTest(page=page, line=line):
                        done = self.shell(line)
                        self.assertIn(done.returncode, CODES.get(line.split()[0], (0,)), done.stdout + done.stderr)
                        count += 1
        self.assertGreaterEqual(count, 15)

    def test_scripts_shown_in_other_pages_run(self):
        program.run("run", "my.toml", "--set", "problem.length=100", "--out", "results.h5")
        count = 0
        for page in PAGES:
            for script in tested(page, "python") if page != "README.md" else ():
                with self.subTest(page=page, script=script):
                    done = self.shell(f"python3 -c {shlex.quote(script)}")
                    self.assertEqual(done.returncode, 0, done.stderr)
                    count += 1
        self.assertGreaterEqual(count, 2)

    def test_what_pages_name_exists(self):
        """Scripts, their options and those of the program, tests, decks: as they stand anywhere in the pages."""
        helps = {}

        def help_of(*command):
            if command not in helps:
                done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False,
                                      timeout=program.SOON_S, env={**self.environment, **program.ALONE})
                helps[command] = done.stdout
            return helps[command]

        names = subprocess.run(["ctest", "--test-dir", os.environ["ELKHORN_BUILD"], "-N"], capture_output=True, text=True,
                               check=False).stdout
        count = 0
        for page in PAGES:
            if page == "CHANGELOG.md":
                continue
            pieces = re.findall(r"`([^`\n]+)`", text_of(page)) + [
                line.partition("  #")[0] for mark, block in blocks(page, "sh") for line in block.splitlines()]
            for piece in pieces:
                for file in re.findall(r"(?<![\w/])(?:scripts|inputs)/[\w/]+\.\w+", piece):
                    self.assertTrue(os.path.exists(os.path.join(program.SOURCE, file)), f"{page}: {file}")
                match = re.search(r"(scripts/\w+\.(?:py|sh)|\belkhorn (?:run|list|check|info|analyze))\b([^|]*)", piece)
                if not match or (match[1].startswith("scripts") and not os.access(match[1], os.X_OK)):
                    continue
                command = ("build/elkhorn", match[1].split()[1]) if match[1].startswith("elkhorn") else (match[1],)
                told = help_of(*command)
                if command[0].endswith(".py"):  # which may have commands of their own, and options only these explain
                    told += text_of(command[0])
                # What follows " -- " is passed on.
                options = match[2].partition(" -- ")[0]
                for option in re.findall(r"(?<=\s)--[a-z][\w-]*", options):
                    self.assertIn(option, told, f"{page}: {piece}")
                    count += 1
                if command[0] == "scripts/test.sh":
                    for regex in re.findall(r"-R (\S+)", options):
                        self.assertRegex(names, regex.strip("'\""), f"{page}: {piece}")
                        count += 1
        self.assertGreater(count, 20)

    def test_the_two_scripts_exist(self):
        for script in ("scripts/quickstart.sh", "scripts/test.sh"):
            self.assertIn(script, text_of("README.md"))
            done = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=program.SOON_S, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(script, done.stdout)

    def test_every_solver_is_explained(self):
        for line in program.run("list", "solvers").stdout.splitlines():
            self.assertIn(f"`{line.split()[0]}`", text_of("README.md"))

    def test_the_table_is_that_of_the_reference_results(self):
        with open(os.path.join(REFERENCE, "quickstart.txt"), encoding="utf-8") as file:
            table = file.read()
        self.assertIn(f"```text\n{table}```\n", text_of("README.md"))
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
