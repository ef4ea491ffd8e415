"""What the scripts share: finding the packages they need, and reading results files (docs/results.md)."""

import os
import sys

DEBIAN_PYTHON = "/usr/bin/python3"  # Debian's packages live there, whatever `python3` comes first in PATH

try:
    import h5py
    import matplotlib
    import numpy as np
    import pandas as pd
    import rich  # noqa: F401
except ImportError as error:
    again = "ELKHORN_PYTHON_AGAIN"
    if os.path.exists(DEBIAN_PYTHON) and not os.environ.get(again):
        os.execve(DEBIAN_PYTHON, [DEBIAN_PYTHON, *sys.argv], {**os.environ, again: "1"})
    print(
        f"{os.path.basename(sys.argv[0])}: Python package {error.name} is missing; install "
        "python3-h5py python3-numpy python3-pandas python3-matplotlib python3-rich (Debian) or "
        "h5py numpy pandas matplotlib rich (pip)",
        file=sys.stderr,
    )
    sys.exit(2)

matplotlib.use("Agg")  # pictures go to files; no display is needed


def die(sentence):
    """Ends the script as a usage error: one line on stderr, exit code 2."""
    print(f"{os.path.basename(sys.argv[0])}: {sentence}", file=sys.stderr)
    sys.exit(2)


def parameter_text(value):
    """1e6 for powers of ten from 1e4 on and below 1e-3, as decks write them; otherwise 300, 0.3."""
    power = round(np.log10(value)) if value > 0 else 0
    if abs(power) >= 4 and abs(value / 10.0**power - 1) < 1e-12:
        return f"1e{power}"
    return f"{value:g}"


class Case:
    """One group of /cases: its attributes as members (case.time_median_s), its arrays as numpy arrays.

    `file` is the results file; arrays that were not recorded are None. States are not read.
    """

    def __init__(self, file, group):
        self.file = file
        for name, value in group.attrs.items():
            if isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            setattr(self, name, value.item() if hasattr(value, "item") else value)
        self.time_s = group["time_s"][()]
        self.rank_time_s = group["rank_time_s"][()]
        self.batch_iterations = group["batch_iterations"][()]
        history = group.get("history")
        for name in ("residual", "update", "mad", "elapsed_s", "resets", "bounded", "sigma2", "rejected"):
            there = history is not None and name in history
            setattr(self, "sigma2_history" if name == "sigma2" else name, history[name][()] if there else None)

    @property
    def label(self):
        """The solver and its trust region; see `labels` for what tells equal ones apart."""
        text = self.solver.replace("_", "-")
        if getattr(self, "sigma2_adaptive", False):
            return f"{text}, σ² adaptive"
        return text if not np.isfinite(self.sigma2) else f"{text}, σ² = {parameter_text(self.sigma2)}"


class Results:
    """A results file: `meta` (attributes of /meta), `deck` (text), `cases` (list of Case)."""

    def __init__(self, path):
        self.path = path
        try:
            with h5py.File(path, "r") as file:
                if file.attrs.get("format") != "elkhorn":
                    die(f"{path}: not an Elkhorn results file")
                version = str(file.attrs.get("format_version"))
                if version.split(".")[0] != "1":
                    die(f"{path}: its format_version is {version}, this script reads 1.x")
                self.meta = dict(file["meta"].attrs)
                self.deck = file["meta/deck"].asstr()[()]
                self.cases = [Case(path, file["cases"][name]) for name in sorted(file["cases"])]
        except FileNotFoundError:
            die(f"{path}: no such file")
        except (OSError, KeyError, AttributeError, ValueError) as problem:
            reason = " ".join(str(problem).split())
            die(f"{path}: cannot be read as a results file ({reason}); `elkhorn check` tells more")


def table(cases):
    """The attributes of cases as a pandas DataFrame, one row a case, and the Case itself in column `case`."""
    return pd.DataFrame([{**vars(case), "label": case.label, "case": case} for case in cases])


def labels(cases):
    """A label for each case: as short as tells apart, in turn solver, σ², window, scan, file, name."""
    texts = [case.label for case in cases]
    extras = (
        lambda c: f"window {c.window}",
        lambda c: c.scan,
        lambda c: f"{c.ranks}×{c.threads}",
        lambda c: os.path.splitext(os.path.basename(c.file))[0],
        lambda c: c.name,
    )
    for extra in extras:
        seen = {}
        for text, case in zip(texts, cases):
            seen.setdefault(text, set()).add(extra(case))
        texts = [text if len(seen[text]) == 1 else f"{text}, {extra(case)}" for text, case in zip(texts, cases)]
    return texts
