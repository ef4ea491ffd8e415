"""What the tests of the paper's decks share: running them and reading what came out."""

import glob
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True

import h5py
import numpy as np

ELKHORN = os.environ["ELKHORN"]
SOURCE = os.environ["ELKHORN_SOURCE"]
PAPER = os.path.join(SOURCE, "scripts", "paper.py")
DECKS = {os.path.splitext(os.path.basename(path))[0]: path
         for path in sorted(glob.glob(os.path.join(SOURCE, "inputs", "paper", "*.toml")))}
UNSTABLE = {"diverged", "not_converged"}  # legitimate results: the published undamped solvers on the AR-GRU


def call(*command, timeout=600):
    """The finished process; stdout and stderr as text."""
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          encoding="utf-8", timeout=timeout, check=False)


def run(name, *options):
    """Runs a deck's quick size with further options into NAME.h5, checks the file, returns its cases."""
    out = name + ".h5"
    done = call(ELKHORN, "run", DECKS[name], "--quick", "--out", out, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    done = call(ELKHORN, "check", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return cases(out)


class Case:
    def __init__(self, group):
        self.__dict__.update({key: value.decode() if isinstance(value, bytes) else value
                              for key, value in group.attrs.items()})
        self.mad = group["history/mad"][()] if "history/mad" in group else None

    def solved_at(self):
        """Of each sequence, the first iteration with MAD < 1e-4; None where never."""
        return [next((int(i) for i in np.nonzero(column < 1e-4)[0]), None) for column in self.mad.T]


def cases(path):
    """name → Case."""
    with h5py.File(path) as file:
        return {case.name: case for case in map(Case, file["cases"].values())}


def one(found, solver, sigma2=None, **attributes):
    """The only case of a solver, trust region and other attributes."""
    fit = [c for c in found.values() if c.solver == solver and (sigma2 is None or c.sigma2 == sigma2)
           and "stop=iterations" not in c.name and all(getattr(c, k) == v for k, v in attributes.items())]
    assert len(fit) == 1, (solver, sigma2, [c.name for c in fit])
    return fit[0]


def assert_finite(found):
    """What tables show of a case that ran is a number, whatever the solver did."""
    for case in found.values():
        for name in ("error_max", "error_mad", "time_median_s"):
            assert np.isfinite(getattr(case, name)), (case.name, name, getattr(case, name))
        if case.solver != "sequential":
            assert np.isfinite(case.residual_max), (case.name, case.residual_max)


def assert_written(folder, *names):
    for name in names:
        path = os.path.join(folder, name)
        assert os.path.exists(path), path
        if name.endswith(".png"):
            assert os.path.getsize(path) > 10_000, path  # an empty figure is smaller
        if name.endswith(".md"):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE), text
