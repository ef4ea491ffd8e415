#!/usr/bin/env python3
"""Runs the decks of inputs/paper and draws the paper's figures and tables from their results files.

    scripts/paper.py --quick                     smaller sizes, minutes on two cores
    scripts/paper.py --only ar_gru lorenz96      some of the experiments, in the published size
    scripts/paper.py --draw-only --out DIR       only pictures and tables of the files that are in DIR

Finished cases are not run again (elkhorn run --resume). DIR then holds, for each deck NAME:
  NAME.h5, NAME.log                what `elkhorn run` wrote
  NAME_table.md, NAME_table.csv    time of an iteration, iterations, total time, error, memory
  NAME_*.png                       figures (--format: pdf, svg)
Lines are medians over seeds or sequences, bands and bars their smallest and largest. Dashed lines and hollow markers
did not converge. Exit code: that of the worst `elkhorn run`, 2 for a mistake in usage.
"""

import argparse
import os
import shlex
import subprocess
import sys

import elkhorn_results as er
import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from plot import LOOKS, save, seconds_text

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOLVED = 1e-4  # a MAD (mean absolute difference) below this counts as solved, as in the paper
DASHED = (0, (4, 2))


def first_below(mad):
    """The iteration of each sequence from which on its MAD [rows, batch] is below SOLVED; NaN where never."""
    first = np.full(mad.shape[1], np.nan)
    for b, column in enumerate(mad.T):
        below = np.nonzero(column < SOLVED)[0]
        if len(below):
            first[b] = below[0]
    return first


def last_of(history):
    """The last value of each sequence of a history [rows, batch], which is NaN after a sequence has stopped."""
    rows = [np.nonzero(~np.isnan(column))[0] for column in history.T]
    return np.array([column[r[-1]] if len(r) else np.nan for column, r in zip(history.T, rows)])


def carried(history):
    """A history with the last value of stopped sequences carried on."""
    return pd.DataFrame(history).ffill().to_numpy()


def look(case):
    return LOOKS.get(case.solver, ("#777777", "."))


def guard_of(case):
    """The guard of a case, whose name tells it; "guess" is the default."""
    return case.name.split("guard=")[1].split("-")[0] if "guard=" in case.name else "guess"


def is_traced(case):
    """Whether it ran a chosen number of iterations, to look at the states there."""
    return "stop=iterations" in case.name


def positive(values):
    """What a logarithmic axis can show; the rest is NaN."""
    values = np.array(values, dtype=float)
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def legend_below(figure, handles):
    figure.legend(handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0),
                  ncol=min(4, len(handles)))


def of_problem(cases):
    first = cases[0]
    return f"T = {first.length:,}, D = {first.state_dim}, {first.precision}"


# ------------------------------------------------------------------------------------------------ time and memory


def draw_against_length(cases, column, label):
    """A quantity of each solver against T, one panel a D; a cross at the modelled memory where a case was skipped."""
    frame = er.table(cases)
    dims = sorted(frame["state_dim"].unique())
    columns = min(4, len(dims))
    rows = -(-len(dims) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.3 * columns + 0.8, 2.5 * rows + 0.4), sharex=True,
                                sharey=True, squeeze=False)
    handles = {}
    for (dim, solver), group in frame.groupby(["state_dim", "solver"], sort=False):
        axis = axes.flat[dims.index(dim)]
        colour, marker = look(group["case"].iloc[0])
        ran = group[group[column].notna() & (group[column] > 0) & (group["status"] != "skipped")]
        points = ran.groupby("length")[column].agg(["median", "min", "max"])
        if len(points):
            error = [points["median"] - points["min"], points["max"] - points["median"]]
            line = axis.errorbar(points.index, points["median"], yerr=error, color=colour, marker=marker,
                                 markersize=4.5, capsize=2)
            handles.setdefault(solver.replace("_", "-"), line)
        if column == "peak_memory_bytes":
            model = group.groupby("length")["model_memory_bytes"].median()
            (line,) = axis.plot(model.index, positive(model), color=colour, linestyle=":", linewidth=1)
            handles.setdefault("modelled", line)
    for panel, axis in enumerate(axes.flat):
        axis.set_visible(panel < len(dims))
        if panel >= len(dims):
            continue
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(f"D = {dims[panel]}", fontsize=9)
        if panel % columns == 0:
            axis.set_ylabel(label)
        if panel + columns >= len(dims):
            axis.set_xlabel("length T")
            axis.xaxis.set_tick_params(labelbottom=True)
    first = cases[0]
    figure.suptitle(f"untrained GRU, B = {first.batch}, {first.precision}", fontsize=10)
    legend_below(figure, handles)
    return figure


def draw_speedup(cases):
    """Speed-up over sequential against T, one panel a solver, one line a D (light to dark)."""
    frame = er.table([c for c in cases if c.solver != "sequential"])
    frame = frame[frame["speedup_over_sequential"].notna()]
    if frame.empty:
        return None
    solvers = list(dict.fromkeys(frame["solver"]))
    dims = sorted(frame["state_dim"].unique())
    figure, axes = plt.subplots(1, len(solvers), figsize=(3.2 * len(solvers) + 0.4, 2.9), sharey=True, squeeze=False)
    shades = plt.get_cmap("viridis")(np.linspace(0.85, 0.05, len(dims)))
    handles = {}
    for axis, solver in zip(axes.flat, solvers):
        for dim, colour, marker in zip(dims, shades, "osD^vP*"):
            part = frame[(frame["solver"] == solver) & (frame["state_dim"] == dim)]
            points = part.groupby("length")["speedup_over_sequential"].agg(["median", "min", "max"])
            error = [points["median"] - points["min"], points["max"] - points["median"]]
            handles[f"D = {dim}"] = axis.errorbar(points.index, points["median"], yerr=error, color=colour,
                                                  marker=marker, markersize=4.5, capsize=2)
        axis.axhline(1, color="black", linestyle=":", linewidth=1.2)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("length T")
        axis.set_title(solver.replace("_", "-"), fontsize=9)
    axes[0, 0].set_ylabel("time of sequential / time")
    figure.suptitle(f"untrained GRU, B = {cases[0].batch}, {cases[0].precision}", fontsize=10)
    legend_below(figure, handles)
    return figure


def figures_of_sweep(cases):
    yield "time", draw_against_length(cases, "time_median_s", "time of one solve (s)")
    yield "memory", draw_against_length(cases, "peak_memory_bytes", "memory (bytes)")
    yield "speedup", draw_speedup(cases)


# ------------------------------------------------------------------------------------------------------- accuracy


def states_of(case):
    """The recorded states (T, B, D) of a case, or None."""
    with h5py.File(case.file) as file:
        for group in file["cases"].values():
            name = group.attrs["name"]
            if (name.decode() if isinstance(name, bytes) else name) == case.name:
                return group["states"][()] if "states" in group else None
    return None


def figures_of_accuracy(cases):
    """The last states of all solvers on top of each other, and their difference from sequential over time."""
    for precision in dict.fromkeys(c.precision for c in cases):
        part = [c for c in cases if c.precision == precision]
        oracle = next((states_of(c) for c in part if c.solver == "sequential"), None)
        if oracle is None:
            continue
        figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 4.6))
        shown = min(100, len(oracle))
        t = np.arange(1, len(oracle) + 1)
        handles = {}
        (line,) = top.plot(t[-shown:], oracle[-shown:, 0, 0], color="black", linewidth=3, alpha=0.35)
        handles["sequential"] = line
        solvers = [c for c in part if c.solver != "sequential"]
        for index, case in enumerate(solvers):
            states = states_of(case)
            colour, marker = look(case)
            tolerance = case.name.split("tol=")[1].split("-stop")[0] if "tol=" in case.name else ""
            loose = tolerance == "1e-4"
            style = DASHED if loose else "-"
            (line,) = top.plot(t[-shown:], states[-shown:, 0, 0], color=colour, linestyle=style, linewidth=1)
            handles[f"{case.label}, tolerance {tolerance}"] = line
            # The largest of each stretch of time: single differences at rounding are zero here and there.
            error = np.abs(states.astype(float) - oracle.astype(float)).max(axis=(1, 2))
            stretches = np.array_split(np.arange(len(error)), min(100, len(error)))
            bottom.plot([t[s[-1]] for s in stretches], positive([error[s].max() for s in stretches]), color=colour,
                        linestyle=style, marker=marker, markevery=(5 * index, 20), markersize=4)
        top.set_ylabel("first coordinate of s$_t$")
        top.set_xlabel("last steps t")
        bottom.set_yscale("log")
        bottom.set_ylabel("largest difference")
        bottom.set_xlabel("step t")
        figure.suptitle(f"untrained GRU, {of_problem(part)}", fontsize=10)
        legend_below(figure, handles)
        yield precision, figure


# ---------------------------------------------------------------------------------------------------- convergence


def draw_convergence(cases, title):
    """MAD against iteration and against wall time of the solve; median and range over all sequences of all cases."""
    frame = er.table([c for c in cases if c.mad is not None])
    frame["guard"] = [guard_of(c) for c in frame["case"]]
    figure, (by_iteration, by_time) = plt.subplots(1, 2, figsize=(7.4, 3.1), sharey=True)
    handles = {}
    for index, ((label, guard), group) in enumerate(frame.groupby(["label", "guard"], sort=False)):
        members = list(group["case"])
        colour, marker = look(members[0])
        solved = all(c.status == "ok" for c in members)
        style = {"color": colour, "linestyle": "-" if solved else DASHED, "marker": marker, "markersize": 4,
                 "markerfacecolor": colour if solved else "white"}
        rows = max(len(c.mad) for c in members)
        columns = [np.pad(carried(c.mad), ((0, rows - len(c.mad)), (0, 0)), mode="edge") for c in members]
        curves = [(by_iteration, np.arange(rows), np.hstack(columns))]
        elapsed = [c.elapsed_s for c in members]
        grid = np.geomspace(min(e[0] for e in elapsed), max(e[-1] for e in elapsed), 300)
        columns = [carried(c.mad)[np.searchsorted(e, grid, side="right")] for c, e in zip(members, elapsed)]
        curves.append((by_time, grid, np.hstack(columns)))
        for axis, x, values in curves:
            middle, low, high = np.median(values, axis=1), values.min(axis=1), values.max(axis=1)
            marked = np.unique(np.geomspace(1, len(x) - 1, 9).astype(int)) if axis is by_iteration else \
                np.arange(10 + 9 * index, len(x), 50)
            (line,) = axis.plot(x, positive(middle), markevery=marked.tolist(), **style)
            axis.fill_between(x, positive(low), positive(high), color=colour, alpha=0.18, linewidth=0)
        statuses = "" if solved else " (" + ", ".join(sorted({c.status for c in members})).replace("_", " ") + ")"
        handles[label + statuses] = line
    sequential = [c.time_median_s for c in cases if c.solver == "sequential"]
    if sequential:
        line = by_time.axvline(np.median(sequential), color="black", linestyle=":", linewidth=1.2)
        handles[f"sequential ({seconds_text(np.median(sequential))})"] = line
    by_iteration.axhline(SOLVED, color="#777777", linewidth=0.8)
    by_time.axhline(SOLVED, color="#777777", linewidth=0.8)
    by_iteration.set_yscale("log")
    by_iteration.set_ylabel("mean absolute difference (MAD)")
    by_iteration.set_xlabel("iteration")
    by_iteration.set_xscale("symlog", linthresh=10, linscale=0.5)
    by_iteration.set_xlim(left=0)
    by_iteration.set_xticks([0, 5, 10, 100, 1000], ["0", "5", "10", "100", "1000"])
    by_time.set_xscale("log")
    by_time.set_xlabel("wall time (s)")
    figure.suptitle(title, fontsize=10)
    legend_below(figure, handles)
    return figure


def figures_of_ar_gru(cases):
    for precision in dict.fromkeys(c.precision for c in cases):
        part = [c for c in cases if c.precision == precision]
        seeds = len({c.seed for c in part})
        yield f"mad_{precision}", draw_convergence(part, f"AR-GRU, {of_problem(part)}, {seeds} seeds")


# -------------------------------------------------------------------------------------------------- trust regions


def draw_trust_regions(cases, title):
    """Iterations to SOLVED, and the MAD at the end, against σ²; median and range over the sequences."""
    frame = er.table([c for c in cases if c.mad is not None and np.isfinite(c.sigma2)])
    if frame.empty:
        return None
    figure, (counts, ends) = plt.subplots(1, 2, figsize=(7.4, 3.1))
    handles = {}
    for solver, group in frame.groupby("solver", sort=False):
        group = group.sort_values("sigma2")
        colour, marker = look(group["case"].iloc[0])
        sigma2, middle, error, end = [], [], [], []
        for case in group["case"]:
            first = first_below(case.mad)
            sigma2.append(case.sigma2)
            some = np.isfinite(first).any()
            # A median counts only where most sequences get there.
            middle.append(np.nanmedian(first) if 2 * np.isfinite(first).sum() > len(first) else np.nan)
            error.append((middle[-1] - np.nanmin(first), np.nanmax(first) - middle[-1]) if some else (0, 0))
            last = np.abs(last_of(case.mad))
            end.append((np.median(last), last.min(), last.max()))
            if not np.isfinite(first).all():
                share = f"{np.isfinite(first).sum()}/{len(first)}" if some else ""
                counts.plot(case.sigma2, case.iterations, marker, color=colour, markerfacecolor="white", markersize=5)
                counts.annotate(share, (case.sigma2, case.iterations), xytext=(0, 5), textcoords="offset points",
                                ha="center", fontsize=7)
        line = counts.errorbar(sigma2, middle, yerr=np.nan_to_num(np.array(error).T), color=colour, marker=marker,
                               markersize=5, capsize=2)
        middle, low, high = np.array(end).T
        ends.plot(sigma2, positive(middle), color=colour, marker=marker, markersize=5)
        ends.fill_between(sigma2, positive(low), positive(high), color=colour, alpha=0.18, linewidth=0)
        handles[solver.replace("_", "-")] = line
    if any(not np.isfinite(first_below(c.mad)).all() for c in frame["case"]):
        (line,) = counts.plot([], [], "o", color="#777777", markerfacecolor="white", markersize=5)
        handles["stopped short of it"] = line
    for solver in ("deer", "quasi_deer"):
        undamped = [c for c in cases if c.solver == solver and c.mad is not None and guard_of(c) == "guess"]
        if undamped and np.isfinite(first_below(undamped[0].mad)).all():
            line = counts.axhline(np.median(first_below(undamped[0].mad)), color=LOOKS[solver][0], linestyle=":")
            handles[solver.replace("_", "-")] = line
    for axis in (counts, ends):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("trust region σ² = 1/λ")
    counts.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # they often span less than a decade
    counts.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0f}"))
    counts.yaxis.set_minor_formatter(NullFormatter())
    ends.axhline(SOLVED, color="#777777", linewidth=0.8)
    counts.set_ylabel("iterations to MAD < 10$^{-4}$")
    ends.set_ylabel("MAD at the end")
    figure.suptitle(title, fontsize=10)
    legend_below(figure, handles)
    return figure


def figures_of_lambda_sweep(cases):
    yield "iterations", draw_trust_regions(cases, f"AR-GRU, {of_problem(cases)}, {cases[0].batch} sequences")


# ------------------------------------------------------------------------------------------------------ Lorenz-96


def draw_traces(cases):
    """The first coordinate over time at the chosen iterations (rows) of each damped solver (columns)."""
    traced = [c for c in cases if is_traced(c) or c.solver == "sequential" and states_of(c) is not None]
    oracle = next((states_of(c) for c in traced if c.solver == "sequential"), None)
    solvers = list(dict.fromkeys(c.label for c in traced if c.solver != "sequential"))
    if oracle is None or not solvers:
        return None
    columns = [sorted((c for c in traced if c.label == label), key=lambda c: c.iterations) for label in solvers]
    rows = max(map(len, columns))
    figure, axes = plt.subplots(rows, len(columns), figsize=(3.6 * len(columns) + 0.2, 1.25 * rows + 0.6), sharex=True,
                                sharey=True, squeeze=False)
    t = np.arange(1, len(oracle) + 1)
    room = 1.35 * np.abs(oracle[:, 0, 0]).max()
    handles = {}
    for column, members in enumerate(columns):
        for row, case in enumerate(members):
            axis = axes[row, column]
            (handles["sequential"],) = axis.plot(t, oracle[:, 0, 0], color="black", linewidth=1)
            (line,) = axis.plot(t, states_of(case)[:, 0, 0], color=look(case)[0], linewidth=1.2)
            handles[case.label] = line
            axis.set_title(f"after {case.iterations} iterations", fontsize=8, pad=3)
            axis.set_ylim(-room, room)
        axes[-1, column].set_xlabel("step t")
    for axis in axes[:, 0]:
        axis.set_ylabel("first coordinate", fontsize=8)
    figure.suptitle(f"Lorenz-96, {of_problem(traced)}", fontsize=10)
    legend_below(figure, handles)
    return figure


def figures_of_lorenz96(cases):
    batch = max(c.batch for c in cases)  # the traces have only the first start
    swept = [c for c in cases if not is_traced(c) and c.batch == batch]
    if swept:
        title = f"Lorenz-96, {of_problem(swept)}, {swept[0].batch} starts"
        damped = (("elk", 300.0), ("quasi_elk", 10.0))
        chosen = [c for c in swept if not np.isfinite(c.sigma2) or (c.solver, c.sigma2) in damped]
        yield "mad", draw_convergence([c for c in chosen if guard_of(c) == "guess"], title)
        yield "trust_regions", draw_trust_regions(swept, title)
    yield "traces", draw_traces(cases)


# --------------------------------------------------------------------------------------------------------- tables


def spread(values, text):
    """Median (smallest-largest) of the finite values as text; a dash where there are none."""
    values = np.array([v for v in values if np.isfinite(v)], dtype=float)
    if not len(values):
        return "–"
    low, middle, high = values.min(), np.median(values), values.max()
    return text(middle) if text(low) == text(high) else f"{text(middle)} ({text(low)}–{text(high)})"


def variant_of(name):
    """What else tells cases of one problem apart: the tolerance and guard in their names."""
    parts = name.split("-")
    out = []
    for index, part in enumerate(parts):
        if part.startswith(("tol=", "guard=")):
            # an exponent's own minus sign has split the number
            out.append(part + ("-" + parts[index + 1] if part.endswith("e") else ""))
    return ", ".join(out)


def tables(cases):
    """(numbers for CSV, text for markdown): a row for each problem and solver, over its seeds and sequences."""
    frame = er.table(cases)
    frame["variant"] = [variant_of(c.name) for c in frame["case"]]
    # Runs of a chosen number of iterations are for pictures, not timed comparisons.
    frame = frame[~np.array([is_traced(c) for c in frame["case"]])]
    numbers, texts = [], []
    for key, group in frame.groupby(["system", "precision", "state_dim", "length", "batch", "label", "variant"],
                                    sort=False):
        members = list(group["case"])
        histories = [c for c in members if c.mad is not None]
        iterations = np.concatenate([c.batch_iterations for c in members]).astype(float)
        solved = np.concatenate([first_below(c.mad) for c in histories]) if histories else np.array([])
        statuses = group["status"].value_counts().to_dict()
        total = group["time_median_s"].to_numpy()
        each = total / group["iterations"].where(group["iterations"] > 0).to_numpy()
        mad = np.concatenate([last_of(c.mad) for c in histories]) if histories else group["error_mad"].to_numpy()
        numbers.append({
            **dict(zip(("system", "precision", "D", "T", "B", "solver", "variant"), key)),
            "cases": len(group), "statuses": ";".join(f"{name}:{n}" for name, n in statuses.items()),
            "iteration_s": np.nanmedian(each) if np.isfinite(each).any() else np.nan,
            "iterations_median": np.median(iterations) if len(iterations) else np.nan,
            "iterations_min": iterations.min(initial=np.inf) if len(iterations) else np.nan,
            "iterations_max": iterations.max(initial=-np.inf) if len(iterations) else np.nan,
            "solved_sequences": int(np.isfinite(solved).sum()), "sequences": len(solved),
            "iterations_to_solved_median": np.nanmedian(solved) if np.isfinite(solved).any() else np.nan,
            "total_s_median": np.nanmedian(total) if np.isfinite(total).any() else np.nan,
            "mad_median": np.median(mad), "mad_max": np.max(mad),
            "peak_memory_bytes": group["peak_memory_bytes"].max(),
        })
        iterative = key[5] != "sequential"
        texts.append({
            "problem": f"{key[0].replace('_', '-')}, D {key[2]}, T {key[3]:,}, B {key[4]}, {key[1]}",
            "solver": key[5] + (f", {key[6]}" if key[6] else ""),
            "status": ", ".join(name.replace("_", " ") + (f" ×{n}" if len(statuses) > 1 else "")
                                for name, n in statuses.items()),
            "an iteration": spread(each, seconds_text) if iterative else "–",
            "iterations": spread(iterations, lambda x: f"{x:.0f}") if iterative else "–",
            "to MAD < 1e-4": spread(solved, lambda x: f"{x:.0f}") if iterative else "–",
            "total time": spread(total, seconds_text),
            "final MAD": f"{np.median(mad):.1e}" if iterative else "–",
            "memory": f"{group['peak_memory_bytes'].max() / 2**20:.0f} MiB" if total.size and np.isfinite(
                total).any() else f"needs {group['model_memory_bytes'].max() / 2**30:.0f} GiB",
        })
    return pd.DataFrame(numbers), pd.DataFrame(texts)


def markdown(frame):
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows) + "\n"


# --------------------------------------------------------------------------------------------------------- program

EXPERIMENTS = {
    "accuracy": figures_of_accuracy,
    "time_memory": figures_of_sweep,
    "extended_sweep": figures_of_sweep,
    "ar_gru": figures_of_ar_gru,
    "lambda_sweep": figures_of_lambda_sweep,
    "lorenz96": figures_of_lorenz96,
}


def run_deck(name, results, arguments):
    """Runs one deck, its messages and table also to a log; returns the exit code."""
    deck = os.path.join(ROOT, "inputs", "paper", name + ".toml")
    command = [*shlex.split(arguments.mpirun), arguments.elkhorn, "run", deck, "--resume", "--out", results]
    command += ["--quick"] if arguments.quick else []
    command += [word for setting in arguments.set for word in ("--set", setting)]
    print("$ " + shlex.join(command), flush=True)
    try:
        with open(os.path.splitext(results)[0] + ".log", "w", encoding="utf-8") as log, \
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                log.write(line)
    except OSError as problem:
        er.die(f"cannot run {command[0]}: {problem.strerror}; build the program, or name it with --elkhorn")
    return process.returncode


def write(path, text):
    part = path + ".part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, path)


def draw(name, results, arguments):
    cases = er.Results(results).cases
    if not cases:
        er.die(f"{results}: has no cases")
    written = []
    numbers, texts = tables(cases)
    stem = os.path.join(arguments.out, name)
    write(f"{stem}_table.csv", numbers.to_csv(index=False))
    write(f"{stem}_table.md", markdown(texts))
    written += [f"{stem}_table.csv", f"{stem}_table.md"]
    for kind, figure in EXPERIMENTS[name](cases):
        if figure is not None:
            save(figure, arguments.out, f"{name}_{kind}", arguments.format, written)
    print("\n".join(written), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the decks' smaller sizes")
    parser.add_argument("--out", metavar="DIR", help="default: results/paper, or results/paper-quick with --quick")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=EXPERIMENTS, default=list(EXPERIMENTS),
                        help="some of: " + ", ".join(EXPERIMENTS))
    parser.add_argument("--draw-only", action="store_true", help="run nothing; draw the results files that are there")
    program = os.environ.get("ELKHORN", os.path.join(ROOT, "build", "elkhorn"))
    parser.add_argument("--elkhorn", metavar="PATH", default=program,
                        help="the program (default: $ELKHORN, or build/elkhorn)")
    parser.add_argument("--mpirun", metavar='"mpirun -n 2"', default="", help="how to start it on several ranks")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", default=[], help="override a key of all decks")
    parser.add_argument("--format", choices=("png", "pdf", "svg"), default="png", help="default: png")
    parser.add_argument("--dpi", type=int, default=200, help="resolution of png (default: 200)")
    arguments = parser.parse_args()
    plt.rcParams["savefig.dpi"] = arguments.dpi
    arguments.out = arguments.out or os.path.join(ROOT, "results", "paper-quick" if arguments.quick else "paper")
    try:
        os.makedirs(arguments.out, exist_ok=True)
    except OSError as problem:
        er.die(f"cannot make folder {arguments.out}: {problem.strerror}")

    worst, drawn = 0, 0
    for name in arguments.only:
        results = os.path.join(arguments.out, name + ".h5")
        if not arguments.draw_only:
            code = run_deck(name, results, arguments)
            worst = max(worst, abs(code))
            if code not in (0, 1):  # 1: some case is wrong or failed, and the file says which
                print(f"paper.py: {name}: elkhorn ended with code {code}; its message is above", file=sys.stderr)
                continue
        elif not os.path.exists(results):
            continue
        draw(name, results, arguments)
        drawn += 1
    if arguments.draw_only and not drawn:
        er.die(f"{arguments.out} has none of " + ", ".join(name + ".h5" for name in arguments.only))
    sys.exit(worst)


if __name__ == "__main__":
    main()
