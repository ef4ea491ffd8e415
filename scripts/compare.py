#!/usr/bin/env python3
"""Has anything become slower? Compares two results files case by case, by name, from their timing samples.

The ratio is the median time in NEW over the median time in OLD; its 95 % interval comes from resampling both
sets of samples (bootstrap), or, below five samples in either, from their extremes. A case is

  slower      the ratio is above 1 + threshold and the whole interval above 1
  faster      the ratio is below 1 / (1 + threshold) and the whole interval below 1
  unclear     the ratio is beyond the threshold, but the interval holds 1: more samples would tell
  same        otherwise
  worse       its status was ok and no longer is, or it needs clearly more iterations (by more than one, and by
              more than the threshold)

Exit code: 0 no regression, 1 some case is slower or worse, 2 usage.
"""

import argparse

import elkhorn_results as er
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

MACHINE = ["host", "cpu", "compiler", "flags", "kokkos_version", "kokkos_backend", "mpi", "blas", "ranks", "threads"]
RESAMPLES = 10000


def ratio_interval(old, new, random):
    """The ratio of medians new/old and its 95 % interval (low, high)."""
    ratio = np.median(new) / np.median(old)
    if min(len(old), len(new)) < 5:
        return ratio, np.min(new) / np.max(old), np.max(new) / np.min(old)
    medians = [
        np.median(times[random.integers(0, len(times), (RESAMPLES, len(times)))], axis=1) for times in (old, new)
    ]
    low, high = np.quantile(medians[1] / medians[0], [0.025, 0.975])
    return ratio, low, high


def verdict_of(old, new, threshold, random):
    """(verdict, remark, (ratio, low, high) or None) of one case."""
    ratio = None
    if len(old.time_s) and len(new.time_s):
        ratio = ratio_interval(old.time_s, new.time_s, random)
    remarks = []
    worse = False
    if old.status != new.status:
        remarks.append(f"status {old.status} → {new.status}")
        worse = old.status == "ok" or new.status in ("wrong", "failed")
    more = new.iterations - old.iterations
    if more and old.iterations >= 0 and new.iterations >= 0:
        remarks.append(f"iterations {old.iterations} → {new.iterations}")
        worse = worse or more > max(1, threshold * old.iterations)
    remark = ", ".join(remarks)
    if worse:
        return "worse", remark, ratio
    if ratio is None:
        return "not timed", remark, None
    middle, low, high = ratio
    if middle > 1 + threshold:
        return ("slower" if low > 1 else "unclear"), remark, ratio
    if middle < 1 / (1 + threshold):
        return ("faster" if high < 1 else "unclear"), remark, ratio
    return "same", remark, ratio


def seconds_text(seconds):
    if not np.isfinite(seconds):
        return "–"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def threshold_type(text):
    value = float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    if not 0 <= value < 10:
        raise argparse.ArgumentTypeError("expected a share such as 0.05 or 5%")
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD.h5")
    parser.add_argument("new", metavar="NEW.h5")
    parser.add_argument("--threshold", type=threshold_type, default=0.05, metavar="SHARE",
                        help="what still counts as the same, e.g. 0.05 or 5%% (default: 5%%)")
    arguments = parser.parse_args()
    old, new = er.Results(arguments.old), er.Results(arguments.new)
    before = {case.name: case for case in old.cases}
    after = {case.name: case for case in new.cases}
    common = [case for case in new.cases if case.name in before]
    if not common:
        er.die(f"{arguments.old} and {arguments.new} have no case in common")

    # A pipe has no width: names are not to be broken there.
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    for key in MACHINE:
        if str(old.meta.get(key)) != str(new.meta.get(key)):
            console.print(Text(f"note: {key} differs: {old.meta.get(key)} → {new.meta.get(key)}"))

    colours = {"slower": "red", "worse": "red", "faster": "green", "unclear": "yellow"}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, justify in (("case", "left"), ("old", "right"), ("new", "right"), ("new/old [95 %]", "left"),
                           ("verdict", "left"), ("", "left")):
        table.add_column(title, justify=justify, overflow="fold")
    counts = {}
    random = np.random.default_rng(1)  # the same two files give the same verdict
    for case in common:
        verdict, remark, ratio = verdict_of(before[case.name], case, arguments.threshold, random)
        counts[verdict] = counts.get(verdict, 0) + 1
        table.add_row(
            Text(case.name),
            seconds_text(before[case.name].time_median_s),
            seconds_text(case.time_median_s),
            "–" if ratio is None else Text("{:.3f} [{:.3f}, {:.3f}]".format(*ratio)),
            Text(verdict, style=colours.get(verdict, "")),
            Text(remark),
        )
    console.print(table)
    for names, others, file in ((before, after, arguments.old), (after, before, arguments.new)):
        for name in names:
            if name not in others:
                console.print(Text(f"only in {file}: {name}"))
    total = ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))
    console.print(Text(f"{len(common)} cases compared, threshold {arguments.threshold:.3g}: {total}"))
    return 1 if counts.get("slower") or counts.get("worse") else 0


if __name__ == "__main__":
    er.sys.exit(main())
