#!/usr/bin/env python3
"""Draws results files: convergence histories, times of the solvers, and time against the length.

Per problem (system, T, D, B, seed, precision):
  convergence_*   residual and mean absolute difference (MAD) from the sequential states against the iteration and
                  against elapsed time; the line is the median over the batch, the band its smallest and largest
                  sequence; a stopped sequence keeps its last value
  times_*         median time of each solver with its 95 % interval, and the ratio to sequential
and where several lengths were run, per system, batch and precision:
  scaling_*       time against T, one panel a state dimension
and where the machine's roofs were measured in the same run, per precision and file:
  roofline_*      attained operations per second against operations per byte, both of the model, under those roofs
Dashed lines, hollow markers and hatched bars are cases whose status is not ok (their legend says which).
"""

import argparse
import os
import re

import elkhorn_results as er
import matplotlib.pyplot as plt
import numpy as np
from elkhorn_results import seconds_text
from matplotlib.colors import to_rgb

# Okabe and Ito's palette: distinct for every common kind of colour vision, and in grey.
LOOKS = {
    "sequential": ("#000000", "x"),
    "deer": ("#0072B2", "o"),
    "quasi_deer": ("#56B4E9", "s"),
    "elk": ("#D55E00", "D"),
    "quasi_elk": ("#E69F00", "^"),
    "jacobi": ("#009E73", "v"),
    "picard": ("#CC79A7", "P"),
}
VARIANTS = "X<>*hp"  # markers of a solver's further settings
PROBLEM = ["system", "length", "state_dim", "batch", "seed", "precision", "setting"]

plt.rcParams.update(
    {
        "font.size": 9,
        "axes.grid": True,
        "axes.grid.which": "major",
        "grid.alpha": 0.3,
        "grid.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 1.5,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "figure.constrained_layout.use": True,
        "savefig.dpi": 200,
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
    }
)


class Style:
    """Colour and marker of each case of a figure: those of its solver, lighter and varied for further settings."""

    def __init__(self, cases, labels):
        self._variants = {}
        for case, label in zip(cases, labels):
            known = self._variants.setdefault(case.solver, [])
            if label not in known:
                known.append(label)

    def of(self, case, label):
        variants = self._variants[case.solver]
        i = variants.index(label)
        colour, marker = LOOKS.get(case.solver, ("#777777", "."))
        share = 0.0 if len(variants) == 1 else 0.6 * i / (len(variants) - 1)
        lighter = tuple(np.array(to_rgb(colour)) * (1 - share) + share)
        return lighter, marker if i == 0 else VARIANTS[(i - 1) % len(VARIANTS)]


def status_suffix(case):
    return "" if case.status == "ok" else f" ({case.status.replace('_', ' ')})"


def title_of(case):
    return (
        f"{case.system.replace('_', '-')}, T = {case.length:,}, D = {case.state_dim}, B = {case.batch}, "
        f"{case.precision}, seed {case.seed}" + (f", {case.setting}" if case.setting else "")
    )


def file_stem(kind, *parts):
    return re.sub(r"[^A-Za-z0-9_.=-]+", "-", "_".join([kind, *map(str, parts)]))


def median_and_band(values):
    """Median, smallest and largest over the batch of a history [rows, batch], the last value of a stopped
    sequence carried on. Values a logarithm cannot show are NaN: a gap in the line."""
    filled = np.array(values, dtype=float)
    for row in range(1, len(filled)):
        stopped = np.isnan(filled[row])
        filled[row, stopped] = filled[row - 1, stopped]
    filled[~np.isfinite(filled) | (filled <= 0)] = np.nan
    shown = np.any(np.isfinite(filled), axis=1)
    out = np.full((3, len(filled)), np.nan)
    out[0, shown] = np.nanmedian(filled[shown], axis=1)
    out[1, shown] = np.nanmin(filled[shown], axis=1)
    out[2, shown] = np.nanmax(filled[shown], axis=1)
    return out


def draw_convergence(cases):
    """Residual and mean absolute difference from the sequential states (rows) against iteration and elapsed time (columns); None where there is no history."""
    drawn = [c for c in cases if c.residual is not None and len(c.residual) > 1]
    if not drawn:
        return None
    figure, axes = plt.subplots(2, 2, figsize=(7.2, 5.6), sharey="row", sharex="col")
    names = er.labels(drawn)
    style = Style(drawn, names)
    sequential = [c for c in cases if c.solver == "sequential" and np.isfinite(c.time_median_s)]
    handles, texts = [], []
    for case, label in zip(drawn, names):
        colour, marker = style.of(case, label)
        last = len(case.residual) - 1
        marked = np.unique(np.round(np.geomspace(1, last, 12)).astype(int)).tolist() if last > 24 else None
        for row, values in enumerate((case.residual, case.mad)):
            middle, low, high = median_and_band(values)
            # Row 0 is the guess, before any time has passed: a logarithmic time axis cannot show it.
            for column, x in enumerate((np.arange(len(middle)), np.concatenate([[np.nan], case.elapsed_s]))):
                axis = axes[row, column]
                (line,) = axis.plot(
                    x,
                    middle,
                    color=colour,
                    linestyle="-" if case.status == "ok" else (0, (4, 2)),
                    marker=marker,
                    markersize=3.5,
                    markevery=marked,
                    markerfacecolor=colour if case.status == "ok" else "white",
                )
                if case.batch > 1:
                    axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        handles.append(line)
        texts.append(label + status_suffix(case))
    for axis in axes.flat:
        axis.set_yscale("log")
    axes[0, 0].set_ylabel("residual  max$_t$ |s$_t$ − f(s$_{t-1}$)|")
    axes[1, 0].set_ylabel("mean absolute difference (MAD)")
    longest = max(len(c.residual) for c in drawn)
    if longest > 60:  # a fast solver beside one with hundreds of iterations
        axes[1, 0].set_xscale("symlog", linthresh=10, linscale=0.7)
        axes[1, 0].set_xlim(0, longest)
        ticks = [0, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]
        axes[1, 0].set_xticks([t for t in ticks if t <= longest])
        axes[1, 0].set_xticks([], minor=True)
        axes[1, 0].get_xaxis().set_major_formatter(plt.FuncFormatter(lambda x, _: f"{x:g}"))
    else:
        axes[1, 0].xaxis.set_major_locator(plt.MaxNLocator(integer=True))
    axes[1, 0].set_xlabel("iteration")
    axes[1, 1].set_xscale("log")
    axes[1, 1].set_xlabel("elapsed time (s)")
    if sequential:
        time = min(c.time_median_s for c in sequential)
        for axis in axes[:, 1]:
            line = axis.axvline(time, color=LOOKS["sequential"][0], linestyle=":", linewidth=1.2)
        handles.append(line)
        texts.append(f"sequential solve ({seconds_text(time)})")
    figure.suptitle(title_of(cases[0]), fontsize=10)
    legend_below(figure, handles, texts)
    return figure


def legend_below(figure, handles, texts):
    """A legend under the figure; saving with bbox_inches="tight" makes the room."""
    figure.legend(handles, texts, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=min(3, len(handles)))


def draw_times(cases):
    """Bars of the median times with intervals; None where fewer than two cases were timed."""
    timed = [c for c in cases if np.isfinite(c.time_median_s)]
    if len(timed) < 2:
        return None
    labels = er.labels(timed)
    style = Style(timed, labels)
    figure, axis = plt.subplots(figsize=(7.2, 1.1 + 0.34 * len(timed)))
    shortest = min(c.time_median_s for c in timed)
    longest = max(c.time_median_s for c in timed)
    # Bars from zero wherever they can be told apart; a logarithmic axis where one is many times another.
    logarithmic = longest > 30 * shortest
    left = 10 ** np.floor(np.log10(shortest) - 0.3) if logarithmic else 0.0
    for i, (case, label) in enumerate(zip(timed, labels)):
        colour, _ = style.of(case, label)
        ok = case.status == "ok"
        axis.barh(i, case.time_median_s - left, left=left, height=0.62, linewidth=1, edgecolor=colour,
                  color=colour if ok else "white", hatch=None if ok else "////")
        if np.isfinite(case.time_ci_low_s):
            error = [[case.time_median_s - case.time_ci_low_s], [case.time_ci_high_s - case.time_median_s]]
            axis.errorbar(case.time_median_s, i, xerr=error, fmt="none", ecolor="#444444", capsize=2.5, elinewidth=1)
        ratio = case.speedup_over_sequential
        text = seconds_text(case.time_median_s)
        if np.isfinite(ratio) and case.solver != "sequential":
            times, word = (ratio, "faster") if ratio >= 1 else (1 / ratio, "slower")
            text += f" ({times:.3g}× {word} than sequential)"
        end = np.nanmax([case.time_median_s, case.time_ci_high_s])
        axis.annotate(text, (end, i), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8)
    axis.set_yticks(range(len(timed)), [label + status_suffix(c) for c, label in zip(timed, labels)])
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    # Room for the text behind the longest bar.
    if logarithmic:
        axis.set_xscale("log")
        axis.set_xlim(left, longest * (longest / left) ** 0.8)
    else:
        axis.set_xlim(0, longest * 1.8)
    axis.set_xlabel("time of one solve (s): median, 95 % interval")
    axis.set_title(title_of(cases[0]), fontsize=10)
    return figure


def few_lengths(lengths, most=4):
    """Of sorted lengths as many as have room for their labels on a logarithmic axis."""
    step = (lengths[-1] / lengths[0]) ** (1 / most)
    few = []
    for length in lengths:
        if not few or length >= few[-1] * step:
            few.append(length)
    return few


def length_text(length):
    """20k, 1M; 9999 in full."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if length % size == 0:
            return f"{length // size}{unit}"
    return str(length)


def draw_scaling(cases):
    """Time against T, one panel a D; None where no D has two lengths."""
    timed = er.table([c for c in cases if np.isfinite(c.time_median_s)])
    if timed.empty:
        return None
    timed = timed[timed.groupby("state_dim")["length"].transform("nunique") > 1]
    if timed.empty:
        return None
    dims = sorted(timed["state_dim"].unique())
    columns = min(3, len(dims))
    rows = -(-len(dims) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(max(4.6, 2.6 * columns + 0.6), 2.9 * rows + 0.5), sharex=True,
                                sharey=True, squeeze=False)
    # The engine that `auto` chose may differ between lengths; it tells series apart only at equal length.
    by_engine = timed.duplicated(["label", "window", "ranks", "threads", "file", "length", "state_dim", "seed"]).any()
    keys = ["solver", "label", "window", "ranks", "threads", "file"] + (["scan"] if by_engine else [])
    firsts = [group["case"].iloc[0] for _, group in timed.groupby(keys, sort=False)]
    names = er.labels(firsts)
    style = Style(firsts, names)
    handles = {}
    for (_, group), first, name in zip(timed.groupby(keys, sort=False), firsts, names):
        colour, marker = style.of(first, name)
        for panel, dim in enumerate(dims):
            axis = axes.flat[panel]
            part = group[group["state_dim"] == dim]
            if part.empty:
                continue
            # Several seeds: the median over them, and the widest interval.
            points = part.groupby("length").agg(
                time=("time_median_s", "median"),
                low=("time_ci_low_s", "min"),
                high=("time_ci_high_s", "max"),
                ok=("status", lambda s: (s == "ok").all()),
            )
            error = np.nan_to_num([points["time"] - points["low"], points["high"] - points["time"]])
            line = axis.errorbar(points.index, points["time"], yerr=np.clip(error, 0, None), color=colour, capsize=2,
                                 linestyle="-" if points["ok"].all() else (0, (4, 2)), marker=marker, markersize=4.5)
            bad = points[~points["ok"]]
            axis.plot(bad.index, bad["time"], marker, color=colour, markerfacecolor="white", markersize=4.5, zorder=5)
            handles.setdefault(name, line)
    ticks = few_lengths(sorted(timed["length"].unique()))
    for panel, axis in enumerate(axes.flat):
        axis.set_visible(panel < len(dims))
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(ticks, [length_text(t) for t in ticks])
        axis.set_xticks([], minor=True)
        if panel < len(dims):
            axis.set_title(f"D = {dims[panel]}", fontsize=9)
        if panel % columns == 0:
            axis.set_ylabel("time of one solve (s)")
        if panel + columns >= len(dims):
            axis.set_xlabel("length T")
            axis.xaxis.set_tick_params(labelbottom=True)
    first = timed["case"].iloc[0]
    figure.suptitle(f"{first.system.replace('_', '-')}, B = {first.batch}, {first.precision}"
                    + (f", {first.setting}" if first.setting else ""), fontsize=10)
    legend_below(figure, handles.values(), handles.keys())
    return figure


def draw_roofline(cases, roofs):
    """Attained flop/s of `cases` (one file, one precision) against their modelled intensity, under the measured roofs;
    None where they were not measured or no case was timed."""
    precision = cases[0].precision
    bandwidth, peak = (float(roofs.get(f"{name}_{precision}", np.nan)) for name in ("triad", "fma"))
    timed = [c for c in cases if np.isfinite(c.time_median_s) and c.flops > 0 and c.bytes > 0]
    if not timed or not np.isfinite(bandwidth) or not np.isfinite(peak):
        return None
    intensity = np.array([c.flops / c.bytes for c in timed])
    rate = np.array([c.flops / c.time_median_s for c in timed])
    figure, axis = plt.subplots(figsize=(7.2, 4.4))
    low, high = min(intensity.min(), peak / bandwidth) / 3, max(intensity.max(), peak / bandwidth) * 3
    x = np.geomspace(low, high, 200)
    # Named in the legend: beside the lines there is no place that lines and points always leave free.
    roof = {"color": LOOKS["sequential"][0], "zorder": 1}
    lines = {f"triad {bandwidth / 1e9:.3g} GB/s, multiply-add {peak / 1e9:.3g} Gflop/s":
             axis.plot(x, np.minimum(peak, bandwidth * x), linewidth=1.2, **roof)[0]}
    gemm = float(roofs.get(f"gemm_{precision}", np.nan))
    if np.isfinite(gemm):
        (lines[f"matrix product {gemm / 1e9:.3g} Gflop/s"],) = axis.plot(x, np.full_like(x, gemm), linewidth=0.8,
                                                                         linestyle=":", **roof)
    # One colour a solver: sizes and trust regions lie where their intensity puts them.
    handles = {}
    for case, at, attained in zip(timed, intensity, rate):
        colour, marker = LOOKS.get(case.solver, ("#777777", "."))
        ok = case.status == "ok"
        (line,) = axis.plot(at, attained, marker, color=colour, markerfacecolor=colour if ok else "white", markersize=5)
        handles.setdefault(case.solver.replace("_", "-"), line)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(low, high)
    axis.set_ylim(rate.min() / 3, max(peak, gemm if np.isfinite(gemm) else 0, rate.max()) * 2.5)
    axis.set_xlabel("operations per byte, of the model")
    axis.set_ylabel("operations per second")
    axis.set_title(f"Roofs measured in the same job, {precision}, {er.place_text(cases[0].ranks, cases[0].threads)}", fontsize=10)
    legend_below(figure, [*handles.values(), *lines.values()], [*handles, *lines])
    return figure


def parts_of(key):
    """The words that tell a problem, a tuple of the attributes PROBLEM, from others; for names of files."""
    system, length, dim, batch, seed, precision, setting = key
    return (system, f"T{length}", f"D{dim}", f"B{batch}", precision, f"seed{seed}", *([setting] if setting else []))


def figures_of(results):
    """(kind, what it shows as a tuple for a file name, figure) of everything that these results files can show."""
    cases = [case for one in results for case in one.cases]
    frame = er.table(cases)
    for key, group in frame.groupby(PROBLEM, sort=False):
        parts = parts_of(key)
        for kind, draw in (("convergence", draw_convergence), ("times", draw_times)):
            figure = draw(list(group["case"]))
            if figure is not None:
                yield kind, parts, figure
    for (system, batch, precision, setting), group in frame.groupby(["system", "batch", "precision", "setting"],
                                                                    sort=False):
        figure = draw_scaling(list(group["case"]))
        if figure is not None:
            yield "scaling", (system, f"B{batch}", precision, *([setting] if setting else [])), figure
    for one in results:
        for precision in sorted({case.precision for case in one.cases}):
            figure = draw_roofline([case for case in one.cases if case.precision == precision], one.roofs)
            if figure is not None:
                stem = os.path.splitext(os.path.basename(one.path))[0]
                yield "roofline", (precision, *([stem] if len(results) > 1 else [])), figure


def save(figure, folder, stem, extension, written):
    """Writes under a temporary name and renames, so that a picture is never half-written."""
    path = os.path.join(folder, f"{stem}.{extension}")
    part = f"{path}.part"
    try:
        figure.savefig(part, format=extension, bbox_inches="tight")
        os.replace(part, path)
    except OSError as problem:
        er.die(f"cannot write {path}: {problem.strerror}")
    plt.close(figure)
    written.append(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.h5", help="results files; several are drawn together")
    parser.add_argument("--out", metavar="DIR", help="folder of the pictures (default: FILE.h5 without its ending)")
    parser.add_argument("--format", choices=("png", "pdf", "svg"), default="png", help="default: png")
    arguments = parser.parse_args()

    results = [er.Results(path) for path in arguments.files]
    er.name_files(results)
    if not any(one.cases for one in results):
        er.die("there are no cases in " + ", ".join(arguments.files))
    folder = arguments.out or os.path.splitext(arguments.files[0])[0] + "-plots"
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as problem:
        er.die(f"cannot make folder {folder}: {problem.strerror}")

    written = []
    for kind, parts, figure in figures_of(results):
        save(figure, folder, file_stem(kind, *parts), arguments.format, written)
    if not written:
        er.die("nothing to draw: no case was timed or has a history")
    print("\n".join(written))


if __name__ == "__main__":
    main()
