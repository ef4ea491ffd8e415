"""What surrounds the code agrees with it: citation, licence, changes, contrib/, help texts, comparing two builds."""

import ast
import glob
import os
import re
import subprocess
import sys
import unittest

ELKHORN, SOURCE = os.environ["ELKHORN"], os.environ["ELKHORN_SOURCE"]
SCRIPTS = os.path.join(SOURCE, "scripts")
PATIENCE = float(os.environ.get("ELKHORN_TEST_PATIENCE", "1"))


def text_of(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
                          timeout=280 * PATIENCE, **options)


class Papers(unittest.TestCase):
    def test_one_version_and_one_licence(self):
        (version,) = re.findall(r"project\(elkhorn VERSION ([\d.]+)", text_of("CMakeLists.txt"))
        citation = text_of("CITATION.cff")
        self.assertIn(f"\nversion: {version}\n", citation)
        self.assertIn(f"\n## {version}", text_of("CHANGELOG.md"))
        self.assertTrue(text_of("LICENSE").startswith("MIT License"))
        self.assertIn("\nlicense: MIT\n", citation)

    def test_links_lead_somewhere(self):
        pages = glob.glob(os.path.join(SOURCE, "*.md")) + glob.glob(os.path.join(SOURCE, "docs", "*.md"))
        self.assertGreater(len(pages), 15)
        for page in pages:
            with open(page, encoding="utf-8") as file:
                for link in re.findall(r"\]\(([^)#:\s]+)[^):]*\)", file.read()):
                    self.assertTrue(os.path.exists(os.path.join(os.path.dirname(page), link)), f"{page}: {link}")


class Contrib(unittest.TestCase):
    def test_spack_names_every_dependency(self):
        specs = re.findall(r"^  - ([\w-]+)", text_of("contrib", "spack.yaml"), re.MULTILINE)
        names = {"Kokkos": "kokkos", "HDF5": "hdf5", "MPI": "mpi", "fmt": "fmt", "CLI11": "cli11", "tomlplusplus": "tomlplusplus",
                 "nlohmann_json": "nlohmann-json", "PkgConfig": "pkgconf", "GTest": "googletest", "benchmark": "benchmark"}
        cmake = "".join(text_of(*path) for path in (("CMakeLists.txt",), ("tests", "CMakeLists.txt"),
                                                    ("benchmarks", "CMakeLists.txt"), ("cmake", "ElkhornKokkos.cmake")))
        found = set(re.findall(r"find_package\((\w+)", cmake))
        self.assertGreater(len(found), 7)
        for package in found:
            if package not in ("KokkosKernels", "Threads"):
                self.assertIn(names.get(package), specs, package)
        for other in ("kokkos-kernels", "hwloc", "random123", "py-h5py", "py-numpy", "py-pandas", "py-matplotlib", "py-rich"):
            self.assertIn(other, specs)

    def test_the_reframe_check_is_python_and_names_what_exists(self):
        text = text_of("contrib", "reframe_elkhorn.py")
        ast.parse(text)
        (deck,) = re.findall(r'deck = variable\(str, value="([^"]+)"\)', text)
        self.assertTrue(os.path.exists(os.path.join(SOURCE, deck)))
        told = run(ELKHORN, "run", "--help").stdout
        for option in re.findall(r'"(--[a-z]+)"', text):
            self.assertIn(option, told)


class Help(unittest.TestCase):
    def test_every_command_explains_itself(self):
        done = run(sys.executable, "-B", os.path.join(SCRIPTS, "man_pages.py"), "--elkhorn", ELKHORN, "--out", "man")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        pages = sorted(os.listdir("man"))
        for name in ("elkhorn", "elkhorn-run", "elkhorn-check", "elkhorn-compare", "elkhorn-report", "elkhorn-hygiene"):
            self.assertIn(f"{name}.1", pages)
        for page in pages:
            with open(os.path.join("man", page), encoding="utf-8") as file:
                text = file.read()
            self.assertRegex(text, r'(?s)^\.TH .*\.SH NAME\nelkhorn[\w\\-]* \\- \S.{10,}\n\.SH DESCRIPTION\n\.nf\n.{100,}')
            self.assertNotIn("Kokkos command line", text)
            (summary,) = re.findall(r"\.SH NAME\nelkhorn[\w\\-]* \\- (.*)", text)
            self.assertNotRegex(summary, r"^\[|Usage|[A-Z]_[A-Z]|,$| (on|with|and)$", "a sentence, no usage and no piece of one")

    def test_scripts_are_documented(self):
        pages = "".join(text_of(*path) for path in [("README.md",)] + [
            ("docs", name) for name in os.listdir(os.path.join(SOURCE, "docs")) if name.endswith(".md")])
        for script in glob.glob(os.path.join(SCRIPTS, "*.py")) + glob.glob(os.path.join(SCRIPTS, "*.sh")):
            if os.access(script, os.X_OK):
                self.assertTrue("scripts/" + os.path.basename(script) in pages, f"no page names {script}")


class Builds(unittest.TestCase):
    DECK = """[system]
kind = "linear"
state_dim = 2
[problem]
length = 50
[[solver]]
kind = ["sequential", "deer"]
[measure]
repetitions = 3
"""

    def compare(self, *arguments):
        return run(sys.executable, "-B", os.path.join(SCRIPTS, "compare_builds.py"), *arguments)

    def test_two_builds_run_in_turns(self):
        with open("deck.toml", "w", encoding="utf-8") as file:
            file.write(self.DECK)
        done = self.compare(ELKHORN, ELKHORN, "deck.toml", "--rounds", "2", "--out", "turns", "--resolution", "1000%",
                            "--threshold", "1000%", "--", "--set", "problem.batch=3")
        self.assertIn(done.returncode, (0, 2), done.stderr)  # nothing of 11 times the time; two rounds may leave all open
        self.assertIn("2 cases compared in 2 + 2 runs", done.stdout)
        self.assertIn("B3", done.stdout)
        files = [re.search(r"turns/\S+", line)[0] for line in done.stderr.splitlines()]
        self.assertEqual(files, ["turns/old/run-000.h5", "turns/new/run-000.h5", "turns/new/run-001.h5", "turns/old/run-001.h5"])
        again = self.compare(ELKHORN, ELKHORN, "deck.toml", "--out", "turns")
        self.assertEqual(again.returncode, 3)
        self.assertIn("is not empty", again.stderr)

    def test_a_build_that_fails_is_an_error(self):
        with open("bad.toml", "w", encoding="utf-8") as file:
            file.write("[system]\n")
        done = self.compare(ELKHORN, ELKHORN, "bad.toml", "--rounds", "2", "--out", "bad")
        self.assertEqual(done.returncode, 3)
        self.assertIn("ended with code 2", done.stderr)
        done = self.compare("/nowhere/elkhorn", ELKHORN, "bad.toml", "--out", "bad2")
        self.assertEqual((done.returncode, done.stdout), (3, ""))


if __name__ == "__main__":
    unittest.main(verbosity=2)
