#!/usr/bin/env python3
"""Has anything become slower? And: how do the same solvers do on several machines?

Two versions:    compare.py OLD NEW
  OLD and NEW are results files, or folders with those of repeated runs (best taken in turns: old, new, old, new …;
  the files of the two folders are then pairs in the order of their names). Cases are matched by their parameters.
  The effect is the ratio of the median times new/old with its 95 % interval. Within one run it comes from the samples,
  as many as are independent, and from --run-noise; between repeated runs from their medians. A case is

    slower         by more than the threshold, with a p-value below 1 % after correction for the number of cases (Holm);
                   faster: likewise
    same           not so, nor would it be without that correction, and the interval excludes a change by more than the
                   resolution
    inconclusive   neither can be said: more samples, or more runs, would tell
    worse          its status was ok and no longer is, it needs more iterations, its error or its memory grew, by more
                   than the thresholds; with --exact: iterations or errors are not the same number

  On a noisy machine, for folders of runs with --interleave: --relative judges each case against the median of the
  others in its run. What disturbs a run disturbs all of them; a change of all of them is a note, and an alarm only
  where it is significant.

  Exit code: 0 all same or faster, 1 some case slower or worse, 2 none, but some inconclusive, 3 bad input.

Several machines: compare.py --machines A.h5 B.h5 … [--out FILE.svg]
  A table with a row a case and a column a file: median time, and the speed-up over sequential on that machine; the
  fastest solver of each problem is marked *. --out draws it. Three or more files mean this without --machines.
"""

import argparse
import json
import math
import os
import sys

BAD_INPUT = 3  # 2 means inconclusive here
import elkhorn_results as er  # noqa: E402
import numpy as np  # noqa: E402
from elkhorn_results import bytes_text, seconds_text  # noqa: E402
from elkhorn_statistics import compare_relative, compare_runs, compare_samples, holm  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from rich.text import Text  # noqa: E402

MACHINE = ["host", "cpu", "compiler", "flags", "kokkos_version", "kokkos_backend", "mpi", "blas", "ranks", "threads"]
# What must agree for two cases to be the same experiment; then, only where that leaves a choice, what a machine or a
# version may choose differently.
PARAMETERS = ["system", "solver", "state_dim", "length", "batch", "precision", "seed", "sigma2", "sigma2_adaptive",
              "step_bound", "window", "setting"]
REFINEMENTS = [("ranks", "batch_ranks", "time_ranks"), ("threads",), ("scan",), ("name",)]
THRESHOLDS = {"time": 0.03, "iterations": 0.05, "error": 2.0, "memory": 0.2}
SIGNIFICANCE = 0.01  # after correction; a wrong alarm costs more trust than another run
BAD, OPEN = ("slower", "worse"), ("inconclusive",)
COLOURS = {"slower": "red", "worse": "red", "faster": "green", "inconclusive": "yellow"}
WORST_LAST = ["ok", "not_converged", "skipped", "diverged", "wrong", "failed"]
# Differences from the oracle below these are rounding.
ROUNDING = {"float32": 1e-5, "float64": 1e-12}


class Side:
    """One side of the comparison: the runs (er.Results) of a file or a folder, and their cases run by run."""

    def __init__(self, path):
        self.path = path
        files = [path]
        if os.path.isdir(path):
            files = sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(".h5"))
            if not files:
                er.die(f"{path}: there is no results file in this folder")
        self.runs = [er.Results(file) for file in files]
        self.meta, self.deck = self.runs[0].meta, self.runs[0].deck
        names = [case.name for case in self.runs[0].cases]
        for run in self.runs[1:]:
            if [case.name for case in run.cases] != names:
                er.die(f"{run.path}: has other cases than {self.runs[0].path}; a folder holds runs of one deck")
        self.cases = [Repeated([run.cases[i] for run in self.runs]) for i in range(len(names))]


class Repeated:
    """A case over the runs of a side: the attributes of the first, what is judged from all."""

    def __init__(self, cases):
        self.cases, self.first = cases, cases[0]
        self.status = max((case.status for case in cases), key=WORST_LAST.index)
        self.iterations = max(case.iterations for case in cases)
        self.error = max(case.error_mad for case in cases)
        self.memory = float(np.median([case.peak_memory_bytes for case in cases]))
        self.medians = [float(np.median(case.time_s)) for case in cases if len(case.time_s)]
        self.median = float(np.median(self.medians)) if self.medians else math.nan

    def key(self, names):
        # NaN (no sigma2) must equal NaN.
        values = (getattr(self.first, name, None) for name in names)
        return tuple("nan" if isinstance(v, float) and math.isnan(v) else v for v in values)


def match(old, new):
    """Pairs (old, new) of cases with the same parameters, in the order of `new`, and what is left of each."""

    def pair_up(olds, news, names, refinements, pairs):
        groups = {}
        for side, cases in enumerate((olds, news)):
            for case in cases:
                groups.setdefault(case.key(names), ([], []))[side].append(case)
        for left, right in groups.values():
            if len(left) == 1 and len(right) == 1:
                pairs.append((left[0], right[0]))
            elif left and right and refinements:
                pair_up(left, right, refinements[0], refinements[1:], pairs)

    pairs = []
    pair_up(old, new, PARAMETERS, REFINEMENTS, pairs)
    order = {id(case): i for i, case in enumerate(new)}
    pairs.sort(key=lambda pair: order[id(pair[1])])
    taken = {id(case) for pair in pairs for case in pair}
    return pairs, [c for c in old if id(c) not in taken], [c for c in new if id(c) not in taken]


def effect_of(old, new, run_noise):
    """The Effect on the time, or None where one side was not timed."""
    if not old.medians or not new.medians:
        return None
    if len(old.medians) == 1 and len(new.medians) == 1:
        times = [next(c.time_s for c in side.cases if len(c.time_s)) for side in (old, new)]
        return compare_samples(*times, run_noise)
    return compare_runs(old.medians, new.medians)


def changes_of(old, new, thresholds, exact):
    """(whether something other than the time became worse, remarks) of a pair."""
    remarks, worse = [], False
    if old.status != new.status:
        remarks.append(f"status {old.status} → {new.status}")
        worse = old.status == "ok" or new.status in ("wrong", "failed")
    for what in ("scan", "pass"):  # choices of the program, which may be why times differ
        before, after = (getattr(side.first, what) for side in (old, new))
        if before and after and before != after:
            remarks.append(f"{what} {before} → {after}")
    if old.iterations != new.iterations and old.iterations >= 0 and new.iterations >= 0:
        remarks.append(f"iterations {old.iterations} → {new.iterations}")
        share = thresholds["iterations"]
        # One more may be rounding, where the threshold leaves any room.
        worse = worse or exact or new.iterations - old.iterations > (max(1, share * old.iterations) if share else 0)
    if np.isfinite(old.error) and np.isfinite(new.error) and old.error != new.error:
        floor = ROUNDING.get(new.first.precision, 0.0)
        grown = new.error > (1 + thresholds["error"]) * max(old.error, floor)
        if grown or exact:
            remarks.append(f"error {old.error:.3g} → {new.error:.3g}")
            worse = True
    if new.memory > (1 + thresholds["memory"]) * old.memory:
        remarks.append(f"memory {bytes_text(old.memory)} → {bytes_text(new.memory)}")
        worse = True
    return worse, remarks


def verdict_of(effect, corrected, worse, threshold, resolution):
    if worse:
        return "worse"
    if effect is None:
        return "not timed"
    if not math.isfinite(effect.p):
        return "inconclusive"
    beyond = not 1 / (1 + threshold) <= effect.ratio <= 1 + threshold
    if corrected < SIGNIFICANCE and beyond:
        return "slower" if effect.ratio > 1 else "faster"
    if effect.p < SIGNIFICANCE and beyond:
        return "inconclusive"  # one case alone would be slower or faster; that there are many makes it no "same"
    within = 1 / (1 + resolution) <= effect.low and effect.high <= 1 + resolution
    return "same" if within else "inconclusive"


def relative_effects(pairs, runs_old, runs_new):
    """(Effect or None a pair, Effect of all together), see compare_relative; None without a time in each run."""
    timed = [i for i, (before, after) in enumerate(pairs)
             if len(before.medians) == len(after.medians) == runs_old == runs_new]
    if runs_old != runs_new or runs_old < 3 or len(timed) < 4:
        er.die("--relative takes two folders with as many runs each, at least three, and four timed cases in common")
    medians = [np.array([pairs[i][side].medians for i in timed]).T for side in (0, 1)]
    found, together = compare_relative(*medians)
    effects = [None] * len(pairs)
    for i, effect in zip(timed, found):
        effects[i] = effect
    return effects, together


def judge(old, new, thresholds, resolution, run_noise, exact, relative=False):
    """A row a pair: (old, new, verdict, Effect or None, remarks); the unmatched cases of both sides; and with
    `relative` the Effect on all cases together."""
    pairs, only_old, only_new = match(old.cases, new.cases)
    together = None
    if relative:
        effects, together = relative_effects(pairs, len(old.runs), len(new.runs))
    else:
        effects = [effect_of(*pair, run_noise) for pair in pairs]
    corrected = holm([math.nan if effect is None else effect.p for effect in effects])
    rows = []
    for (before, after), effect, p in zip(pairs, effects, corrected):
        worse, remarks = changes_of(before, after, thresholds, exact)
        rows.append((before, after, verdict_of(effect, p, worse, thresholds["time"], resolution), effect, remarks))
    return rows, only_old, only_new, together


def notes_of(old, new, rows):
    """What a reader must know before believing the table."""
    notes = []
    for key in [*MACHINE, "interleaved"]:
        if key == "interleaved" and not all(key in side.meta for side in (old, new)):
            continue  # files of format 1.0
        if str(old.meta.get(key)) != str(new.meta.get(key)):
            notes.append(f"{key} differs: {old.meta.get(key)} → {new.meta.get(key)}")
    lines = [set(side.deck.splitlines()) for side in (old, new)]
    changed = [f"- {line}" for line in sorted(lines[0] - lines[1])]
    changed += [f"+ {line}" for line in sorted(lines[1] - lines[0])]
    if changed:
        notes.append("the decks differ: " + "; ".join(changed[:6]) + (" …" if len(changed) > 6 else ""))
    for side in (old, new):
        unofficial = [case.first for case in side.cases if case.first.official is False and case.first.status == "ok"]
        if unofficial:
            reasons = sorted({reason for case in unofficial for reason in case.unofficial_because.split("; ")})
            notes.append(f"{side.path}: {len(unofficial)} of {len(side.cases)} cases are unofficial: "
                         + "; ".join(reasons[:2]) + (" …" if len(reasons) > 2 else ""))
    ratios = [effect.ratio for _, _, _, effect, _ in rows if effect]
    if len(ratios) >= 4 and not 1 / 1.03 < np.median(ratios) < 1.03:
        side = np.sign(np.log(ratios))
        if abs(side.sum()) >= 0.8 * len(ratios):
            notes.append(f"nearly all cases shifted together, by {100 * (np.median(ratios) - 1):+.0f} %: rather the "
                         "machine than the program; runs taken in turns would tell")
    return notes


def exit_code(verdicts):
    return 1 if any(v in BAD for v in verdicts) else 2 if any(v in OPEN for v in verdicts) else 0


def console_of_width(width):
    # A pipe has no width: names are not to be broken there.
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=width)


def table_with(*columns):
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title, justify in columns:
        table.add_column(title, justify=justify, overflow="fold")
    return table


def effect_text(effect):
    if effect is None:
        return "–"
    if not math.isfinite(effect.low):
        return f"{effect.ratio:.3f}"
    return f"{effect.ratio:.3f} [{effect.low:.3f}, {effect.high:.3f}]"


def compare_versions(arguments):
    old, new = Side(arguments.files[0]), Side(arguments.files[1])
    rows, only_old, only_new, together = judge(old, new, arguments.threshold, arguments.resolution, arguments.run_noise,
                                               arguments.exact, arguments.relative)
    if not rows:
        er.die(f"{old.path} and {new.path} have no case in common")
    verdicts = [row[2] for row in rows]
    notes = notes_of(old, new, rows)
    alarm = []
    if together:
        verdict = verdict_of(together, together.p, False, arguments.threshold["time"], arguments.resolution)
        notes.append(f"all cases together: {verdict}, {effect_text(together)}; the ratios below are relative to that")
        alarm = [verdict] if verdict in BAD else []  # what the machine's noise hides here is what --relative looks past
    code = exit_code(verdicts + alarm)
    if arguments.json:
        def finite(value):
            return value if value is not None and math.isfinite(value) else None

        print(json.dumps({
            "old": old.path, "new": new.path, "exit_code": code, "notes": notes,
            "thresholds": arguments.threshold, "resolution": arguments.resolution,
            "cases": [{
                "name": after.first.name, "verdict": verdict, "remarks": remarks,
                "old_median_s": finite(before.median), "new_median_s": finite(after.median),
                **{key: finite(getattr(effect, key)) if effect else None for key in ("ratio", "low", "high", "p")},
            } for before, after, verdict, effect, remarks in rows],
            "only_old": [case.first.name for case in only_old], "only_new": [case.first.name for case in only_new],
        }, indent=1, ensure_ascii=False))
        return code

    console = console_of_width(160)
    for note in notes:
        console.print(Text("note: " + note))
    table = table_with(("case", "left"), ("old", "right"), ("new", "right"), ("new/old [95 %]", "left"),
                       ("verdict", "left"), ("", "left"))
    for before, after, verdict, effect, remarks in rows:
        if before.first.name != after.first.name:
            remarks = [*remarks, f"named {before.first.name} in {old.path}"]
        judged = Text(verdict, style=COLOURS.get(verdict, ""))
        table.add_row(Text(after.first.name), seconds_text(before.median), seconds_text(after.median),
                      Text(effect_text(effect)), judged, Text(", ".join(remarks)))
    console.print(table)
    for cases, side in ((only_old, old), (only_new, new)):
        for case in cases:
            console.print(Text(f"only in {side.path}: {case.first.name}"))
    total = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in sorted(set(verdicts)))
    runs = "" if len(old.runs) == len(new.runs) == 1 else f" in {len(old.runs)} + {len(new.runs)} runs"
    console.print(Text(f"{len(rows)} cases compared{runs}, threshold {arguments.threshold['time']:.3g}, "
                       f"resolution {arguments.resolution:.3g}: {total}"))
    return code


# ---- machines ---------------------------------------------------------------------------------------------


def machine_names(runs):
    """A short name for each file: host or file, whichever tells them apart."""
    for names in ([str(run.meta.get("host", "")) for run in runs],
                  [os.path.splitext(os.path.basename(run.path))[0] for run in runs], [run.path for run in runs]):
        if len(set(names)) == len(names):
            return names
    return [f"{run.path} ({i})" for i, run in enumerate(runs)]


def machine_rows(runs):
    """[(problem text, label, [Case or None of each machine])]; cases of one experiment share a row."""
    sides = [[Repeated([case]) for case in run.cases] for run in runs]
    rows = [[case] + [None] * (len(sides) - 1) for case in sides[0]]
    for i, side in enumerate(sides[1:], 1):
        # Against the first entry of every row so far: a case that an earlier machine lacks opens a row.
        heads = [next(case for case in row if case is not None) for row in rows]
        where = {id(head): row for head, row in zip(heads, rows)}
        pairs, _, new_ones = match(heads, side)
        for head, case in pairs:
            where[id(head)][i] = case
        rows += [[None] * i + [case] + [None] * (len(sides) - 1 - i) for case in new_ones]
    heads = [next(case for case in row if case is not None).first for row in rows]
    out = []
    for head, row in zip(heads, rows):
        problem = (f"{head.system.replace('_', '-')}, T = {head.length:,}, D = {head.state_dim}, B = {head.batch}, "
                   f"{head.precision}, seed {head.seed}" + (f", {head.setting}" if head.setting else ""))
        extra = ("" if head.window == "full" else f", window {head.window}") + (
            "" if head.step_bound == "none" else f", bound {head.step_bound}")
        out.append([problem, head.label + extra, [None if case is None else case.first for case in row], head.name])
    seen = [(problem, label) for problem, label, _, _ in out]
    # What still reads alike differs in something that only the names tell.
    return [(problem, label if seen.count((problem, label)) == 1 else f"{label} ({name})", cases)
            for problem, label, cases, name in out]


def fastest(rows, column):
    """Per problem the row of the fastest ok case on a machine."""
    best = {}
    for i, (problem, _, cases) in enumerate(rows):
        case = cases[column]
        if case is not None and case.status == "ok" and np.isfinite(case.time_median_s):
            if problem not in best or case.time_median_s < rows[best[problem]][2][column].time_median_s:
                best[problem] = i
    return set(best.values())


def compare_machines(arguments):
    runs = [er.Results(path) for path in arguments.files]
    names, rows = machine_names(runs), machine_rows(runs)
    if not rows:
        er.die("there are no cases in " + ", ".join(arguments.files))
    console = console_of_width(60 + 34 * len(runs))
    for name, run in zip(names, runs):
        meta = run.meta
        console.print(Text(f"{name}: {meta.get('cpu')}, {meta.get('kokkos_backend')}, "
                           f"{er.place_text(meta.get('ranks'), meta.get('threads'))} "
                           f"({run.path})"))
    table = table_with(("case", "left"), *((name, "right") for name in names))
    best = [fastest(rows, column) for column in range(len(runs))]
    problem_before = None
    for i, (problem, label, cases) in enumerate(rows):
        if problem != problem_before:
            table.add_row(Text(problem, style="bold"))
            problem_before = problem
        cells = []
        for column, case in enumerate(cases):
            if case is None:
                cells.append("–")
                continue
            text = seconds_text(case.time_median_s)
            if case.status != "ok":
                text += f" ({case.status.replace('_', ' ')})"
            elif np.isfinite(case.speedup_over_sequential):
                text += f" ({case.speedup_over_sequential:.3g}× seq.)"
            cells.append(text + (" *" if i in best[column] else "  "))
        table.add_row(Text("  " + label), *map(Text, cells))
    console.print(table)
    console.print(Text("times are medians; × seq.: speed-up over sequential on the same machine; * the fastest of the "
                       "problem"))
    if arguments.out:
        draw_machines(rows, names, arguments.out)
        console.print(Text(arguments.out))
    return 0


def draw_machines(rows, names, path):
    """One panel a problem, a line a solver, a group of markers a machine."""
    import matplotlib.pyplot as plt
    from plot import LOOKS, legend_below

    rows = [row for row in rows if any(c is not None and np.isfinite(c.time_median_s) for c in row[2])]
    if not rows:
        er.die("nothing to draw: no case was timed")
    problems = list(dict.fromkeys(problem for problem, _, _ in rows))
    spread = 0.6 / len(names)  # the machines of a solver lie one below the other
    heights = [1 + sum(problem == p for p, _, _ in rows) for problem in problems]
    figure, axes = plt.subplots(len(problems), 1, figsize=(7.2, 0.9 + 0.3 * sum(heights)), squeeze=False, sharex=True,
                                gridspec_kw={"height_ratios": heights})
    palette = [look[0] for look in LOOKS.values()]
    for axis, problem in zip(axes[:, 0], problems):
        chosen = [(label, cases) for p, label, cases in rows if p == problem]
        for y, (_, cases) in enumerate(chosen):
            axis.axhspan(y - 0.5, y + 0.5, color="#888888", alpha=0.08 * (y % 2), linewidth=0)
            for column, case in enumerate(cases):
                if case is None or not np.isfinite(case.time_median_s):
                    continue
                colour = palette[column % len(palette)]
                height = y + (column - (len(names) - 1) / 2) * spread
                axis.plot(case.time_median_s, height, "osD^vPX"[column % 7], color=colour, markersize=6,
                          markerfacecolor=colour if case.status == "ok" else "white", zorder=2)
        axis.set_yticks(range(len(chosen)), [label for label, _ in chosen])
        axis.set_ylim(len(chosen) - 0.5, -0.5)
        axis.set_xscale("log")
        axis.grid(False, axis="y")
        axis.set_title(problem, fontsize=9, loc="left")
    axes[-1, 0].set_xlabel("time of one solve (s), median; hollow: status is not ok")
    handles = [plt.Line2D([], [], linestyle="", marker="osD^vPX"[i % 7], color=palette[i % len(palette)], label=name)
               for i, name in enumerate(names)]
    legend_below(figure, handles, names)
    try:
        figure.savefig(path, bbox_inches="tight")
    except (OSError, ValueError) as problem:
        er.die(f"cannot write {path}: {problem}")
    plt.close(figure)


# ---- the command line ---------------------------------------------------------------------------------------


def share_type(text):
    try:
        value = float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"expected a share such as 0.05 or 5%, not {text!r}")
    return value


def threshold_type(text):
    """"5%" for the time, or "metric=share"."""
    metric, equals, share = text.rpartition("=")
    if equals and metric not in THRESHOLDS:
        raise argparse.ArgumentTypeError(f"there is no metric {metric!r}, only " + ", ".join(THRESHOLDS))
    return (metric or "time"), share_type(share)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE",
                        help="OLD NEW (results files or folders), or several machines")
    defaults = ", ".join(f"{metric}={100 * share:g}%%" for metric, share in THRESHOLDS.items())
    parser.add_argument("--threshold", type=threshold_type, action="append", default=[], metavar="[METRIC=]SHARE",
                        help=f"what still counts as unchanged; may be repeated (default: {defaults})")
    parser.add_argument("--resolution", type=share_type, default=0.15, metavar="SHARE",
                        help="what the samples must be able to exclude for “same” (default: 15%%)")
    parser.add_argument("--run-noise", type=share_type, default=0.01, metavar="SHARE",
                        help="by how much single runs of one program differ, standard deviation (default: 1%%)")
    parser.add_argument("--relative", action="store_true",
                        help="folders: judge each case relative to the others of its run (elkhorn run --interleave)")
    parser.add_argument("--exact", action="store_true", help="iterations and errors must be the same numbers")
    parser.add_argument("--json", action="store_true", help="verdicts as one JSON object instead of the table")
    parser.add_argument("--machines", action="store_true", help="compare machines, also where only two files are given")
    parser.add_argument("--out", metavar="FILE", help="with machines: a picture (.svg, .png or .pdf)")
    arguments = parser.parse_args()
    arguments.threshold = {**THRESHOLDS, **dict(arguments.threshold)}
    if arguments.machines or len(arguments.files) > 2:
        return compare_machines(arguments)
    if len(arguments.files) < 2:
        parser.error("expected OLD and NEW")
    if arguments.out:
        parser.error("--out goes with --machines")
    return compare_versions(arguments)


if __name__ == "__main__":
    sys.exit(main())
