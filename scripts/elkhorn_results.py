"""What the scripts share: finding the packages they need, and reading results files (docs/results.md)."""

import importlib.util
import os
import sys

# Exit code of usage errors; a script whose own results need the 2 sets BAD_INPUT before it imports this module.
BAD_INPUT = getattr(sys.modules["__main__"], "BAD_INPUT", 2)
DEBIAN_PYTHON = "/usr/bin/python3"  # Debian's packages live there, whatever `python3` comes first in PATH

try:
    import h5py
    import numpy as np

    # Those that take long to load are left to the scripts that use them; that they are missing is said here all the same.
    for package in ("pandas", "matplotlib", "rich"):
        if importlib.util.find_spec(package) is None:
            raise ImportError(name=package)
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
    sys.exit(BAD_INPUT)

os.environ["MPLBACKEND"] = "Agg"  # pictures go to files; no display is needed


def die(sentence):
    """Ends the script as a usage error: one line on stderr, exit code BAD_INPUT."""
    print(f"{os.path.basename(sys.argv[0])}: {sentence}", file=sys.stderr)
    sys.exit(BAD_INPUT)


def three_digits(value):
    """4.66, 49.0, 348, 12345: three significant digits, and no exponent."""
    return f"{value:.0f}" if value >= 999.5 else f"{value:#.3g}".rstrip(".")


def seconds_text(seconds):
    """4.66 ms; "–" where there is no such time."""
    if not np.isfinite(seconds):
        return "–"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{three_digits(seconds / size)} {unit}"
    return f"{three_digits(seconds / 1e-9)} ns"


def bytes_text(count):
    """39.1 MiB; "–" where there is no such number."""
    if not np.isfinite(count) or count < 0:
        return "–"
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{three_digits(count / size)} {unit}"
    return f"{count:.0f} B"


def count_text(count, noun):
    """1 rank, 2 ranks."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def place_text(ranks, threads):
    """2 ranks × 1 thread."""
    return f"{count_text(ranks, 'rank')} × {count_text(threads, 'thread')}"


def plain(value):
    """Attributes as Python's own types: text, int, float, bool."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value


def parameter_text(value):
    """1e6 for powers of ten from 1e4 on and below 1e-3, as decks write them; otherwise 300, 0.3."""
    power = round(np.log10(value)) if value > 0 else 0
    if abs(power) >= 4 and abs(value / 10.0**power - 1) < 1e-12:
        return f"1e{power}"
    return f"{value:g}"


# Attributes that files of format 1.0 lack, and the value that means "not measured" (docs/results.md).
SINCE_1_1 = {
    **dict.fromkeys(("time_first_s", "time_min_s", "time_q1_s", "time_q3_s", "time_max_s", "time_mad_s", "drift", "dip",
                     "other_cpu", "energy_j", "roof_share", "communication_share", "transfer_share"), float("nan")),
    **dict.fromkeys(("drifting", "bimodal", "interleaved"), False),
    "outliers": -1, "roof_bound": "", "pass": "", "official": None, "unofficial_because": "",
}


# Parts of names that say how a case was measured, not what was solved.
MEASURED = ("time_ranks=", "warmup=", "min=", "max=", "ci=", "limit=", "no-history", "no-states", "history", "states")


def setting_of(case):
    """What the name of a case tells of its problem beside the sizes, seed and precision, which are attributes: options of
    the system, weights, drivers (gain=3). Two problems that differ in these alone are two problems all the same."""
    problem, solver, _ = case.name.partition(f"-{case.solver}")
    if not solver:
        return ""
    told = {f"D{case.state_dim}", f"T{case.length}", f"B{case.batch}", f"seed{case.seed}", "f32", "f64"}
    words = [word for word in problem.split("-")[1:] if word not in told and not word.startswith(MEASURED)]
    return "-".join(words)


class Case:
    """One group of /cases: its attributes as members (case.time_median_s), its arrays as numpy arrays.

    `file` is the results file; arrays that were not recorded are None, attributes that an older file lacks have the
    value of SINCE_1_1. `attributes` are those of the file. States are not read.
    """

    def __init__(self, file, group):
        self.file = file
        for name, value in SINCE_1_1.items():
            setattr(self, name, value)
        for name, value in group.attrs.items():
            setattr(self, name, plain(value))
        self.attributes = {name: plain(value) for name, value in group.attrs.items()}  # in alphabetical order
        self.setting = setting_of(self)
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
    """A results file: `meta` (attributes of /meta), `deck` (text), `cases` (list of Case), `created`, `version` of the
    format, and `roofs` of the machine (attributes and arrays of /roofs; empty where it was not measured)."""

    def __init__(self, path):
        self.path = path
        try:
            with h5py.File(path, "r") as file:
                if file.attrs.get("format") != "elkhorn":
                    die(f"{path}: not an Elkhorn results file")
                version = str(file.attrs.get("format_version"))
                if version.split(".")[0] != "1":
                    die(f"{path}: its format_version is {version}, this script reads 1.x")
                self.version, self.created = version, str(file.attrs.get("created", ""))
                self.meta = {name: plain(value) for name, value in file["meta"].attrs.items()}
                roofs = file.get("roofs")
                self.roofs = {} if roofs is None else {
                    **{name: plain(value) for name, value in roofs.attrs.items()},
                    **{name: data[()] for name, data in roofs.items()},
                }
                self.deck = file["meta/deck"].asstr()[()]
                self.cases = [Case(path, file["cases"][name]) for name in sorted(file["cases"])]
        except FileNotFoundError:
            die(f"{path}: no such file")
        except (OSError, KeyError, AttributeError, ValueError) as problem:
            reason = " ".join(str(problem).split())
            die(f"{path}: cannot be read as a results file ({reason}); `elkhorn check` tells more")


def table(cases):
    """The attributes of cases as a pandas DataFrame, one row a case, and the Case itself in column `case`."""
    rows = [{**vars(case), "label": case.label, "case": case} for case in cases]
    import pandas

    return pandas.DataFrame([{key: value for key, value in row.items() if key != "attributes"} for row in rows])


def name_files(results):
    """Gives each case the shortest name of its file that tells it from the others."""
    stems = [os.path.splitext(os.path.basename(one.path))[0] for one in results]
    for i, one in enumerate(results):
        for case in one.cases:
            case.short_file = stems[i] if stems.count(stems[i]) == 1 else f"{stems[i]} ({i + 1})"


def labels(cases):
    """A label for each case: as short as tells apart, in turn solver, σ², window, scan, file, name."""
    texts = [case.label for case in cases]
    extras = (
        lambda c: f"window {c.window}",
        lambda c: c.scan,
        lambda c: f"{c.ranks}×{c.threads}",
        lambda c: getattr(c, "short_file", os.path.splitext(os.path.basename(c.file))[0]),
        lambda c: c.name,
    )
    for extra in extras:
        seen = {}
        for text, case in zip(texts, cases):
            seen.setdefault(text, set()).add(extra(case))
        texts = [text if len(seen[text]) == 1 else f"{text}, {extra(case)}" for text, case in zip(texts, cases)]
    return texts
