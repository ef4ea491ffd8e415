"""Tables and pictures of a scaling study."""

import math
import os
import re

import elkhorn_results as er  # first: it finds a Python that has the packages below
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from plot import LOOKS, VARIANTS, save, seconds_text
from scaling_study import load_on_cores

TIMED = ("ok", "not_converged")  # what has a time worth showing; only `ok` is compared with the base
MARK = "‡"


def series_name(case):
    """The case's name without what a study varies: length, batch and ranks over time."""
    return re.sub(r"-(T|B)\d+(?=-|$)|-time_ranks=\d+", "", case.name)


def communication_share(case):
    """The share of the time that ranks spent communicating; NaN where the file does not tell."""
    return float(getattr(case, "communication_share", math.nan))


def rows_of(study):
    """One row a case of every point that is there, one without a case for every other point."""
    rows = []
    for point in study.points:
        state, why, results = point.state()
        common = {"study": study.name, "kind": study.kind, "point": point.name, "state": state, "why": why,
                  "ranks": point.ranks, "threads": point.threads, "cores": point.cores,
                  "time_ranks": point.time_ranks, "batch_ranks": point.ranks // point.time_ranks}
        if results is None or not results.cases:
            rows.append(common)
            continue
        load = load_on_cores(results.meta)
        names = [series_name(case) for case in results.cases]
        for name, case in zip(names, results.cases):
            measured = case.status in TIMED and math.isfinite(case.time_median_s)
            rows.append({
                **common, "series": name if names.count(name) == 1 else case.name, "label": case.label, "case": case,
                "solver": case.solver, "T": case.length, "B": case.batch, "D": case.state_dim,
                "precision": case.precision, "status": case.status, "iterations": case.iterations,
                "work": case.work, "scan": case.scan, "time_s": case.time_median_s if measured else math.nan,
                "low_s": case.time_ci_low_s, "high_s": case.time_ci_high_s,
                "communication": communication_share(case),
                "transfer": getattr(case, "transfer_share", math.nan),
                "messages_per_iteration": getattr(case, "messages_per_iteration", -1),
                "bytes_per_iteration": getattr(case, "bytes_per_iteration", -1), "load": load,
                "oversubscribed": load > 1.0 + 1e-9,
                "nodes": int(results.meta.get("nodes", 1)), "host": str(results.meta.get("host", "")),
                "cpu": str(results.meta.get("cpu", "")), "meta": results.meta,
                "message_s": results.roofs.get("message_s", math.nan),
                "message_bytes_s": results.roofs.get("message_bytes_s", math.nan),
            })
    return rows


def add_comparison(frame, study):
    """Columns speedup, efficiency and base_s: each case against the base point of its series (or of the study's
    base solver). Undefined where either is not `ok`."""
    frame = frame.copy()
    frame["base_s"], frame["speedup"], frame["efficiency"] = math.nan, math.nan, math.nan
    if "series" not in frame:
        return frame
    ok = frame["status"].eq("ok")
    at_base = frame[ok & frame["point"].eq(study.base.name)]
    for index, row in frame[ok].iterrows():
        if study.base_solver is None:
            base = at_base[at_base["series"] == row["series"]]
        else:
            same = at_base["solver"].eq(study.base_solver) & at_base["D"].eq(row["D"])
            base = at_base[same & at_base["precision"].eq(row["precision"])]
        if base.empty:
            continue
        base = base.iloc[0]
        frame.loc[index, "base_s"] = base["time_s"]
        frame.loc[index, ["speedup", "efficiency"]] = compare(study.kind, base, row)
    return frame


def compare(kind, base, row):
    """Speed-up over the base and parallel efficiency of a row.

    strong, placement: S = t_base / t on the same problem, efficiency S · cores_base / cores.
    weak: efficiency t_base · growth of the problem / (t · growth of the cores) and S = efficiency · growth of the
    cores (the scaled speed-up: what is done a second, over the base); a perfectly grown problem leaves t_base / t.
    throughput: S = sequences × steps a second over the base's; the cores stay, so there is no efficiency.
    """
    cores = row["cores"] / base["cores"]
    problem = row["T"] * row["B"] / (base["T"] * base["B"])
    speedup = base["time_s"] / row["time_s"] * (problem if kind in ("weak", "throughput") else 1.0)
    return speedup, math.nan if kind == "throughput" else speedup / cores


def collect(description):
    """All studies as one table; the rows of points without results have no `status`."""
    frames = [add_comparison(pd.DataFrame(rows_of(study)), study) for study in description.studies]
    return pd.concat(frames, ignore_index=True)


# ------------------------------------------------------------------------------------------------------------ text


def point_text(row):
    text = f"{row['ranks']} × {er.count_text(row['threads'], 'thread')}"
    return text + (f" ({row['batch_ranks']} batch × {row['time_ranks']} time)" if row["time_ranks"] > 1 else "")


def base_text(study, frame):
    """What the speed-ups of a study are over, with absolute times."""
    at_base = frame[frame["point"].eq(study.base.name)]
    at_base = at_base[at_base["status"].eq("ok")] if "status" in at_base else at_base.iloc[:0]
    if study.base_solver:
        at_base = at_base[at_base["solver"].eq(study.base_solver)]
    ranks = er.place_text(study.base.ranks, study.base.threads)
    if at_base.empty:
        return f"no base: {study.base.name} ({ranks}) has no result that is ok, so nothing is compared"
    times = ", ".join(f"{label} {seconds_text(t)}" for label, t in zip(at_base["label"], at_base["time_s"]))
    whose = f"{study.base_solver} at" if study.base_solver else "the same solver at"
    return f"base: {whose} {ranks}, {study.base.name}: {times}"


def share_text(value, digits=1):
    return f"{value:.{digits}%}" if math.isfinite(value) else "–"


def table_rows(frame):
    """Header and rows of text of one study."""
    header = ["solver", "ranks × threads", "T", "B", "status", "iter.", "time [95 % interval]", "speed-up",
              "efficiency", "waits + messages", "messages", "time/iter."]
    rows = []
    for _, row in frame.iterrows():
        if not isinstance(row.get("status"), str):
            rows.append(["–", point_text(row), "", "", row["state"]] + [""] * 7)  # why: `notes`
            continue
        mark = MARK if row["oversubscribed"] else ""
        time = seconds_text(row["time_s"]) if math.isfinite(row["time_s"]) else "–"
        if math.isfinite(row["low_s"]) and time != "–":
            time += f" [{seconds_text(row['low_s'])}, {seconds_text(row['high_s'])}]"
        each = row["time_s"] / row["iterations"] if row["iterations"] > 0 else math.nan
        rows.append([
            row["label"], point_text(row) + mark, f"{row['T']:.0f}", f"{row['B']:.0f}",
            row["status"].replace("_", " "), f"{row['iterations']:.0f}" if row["iterations"] >= 0 else "–", time,
            f"{row['speedup']:.2f}×" if math.isfinite(row["speedup"]) else "–", share_text(row["efficiency"]),
            share_text(row["communication"]), share_text(row["transfer"], 2),
            seconds_text(each) if math.isfinite(each) else "–"])
    return header, rows


SHARES = ("waits + messages: share of the time that the rank which spends most on messages spends on them, waits for other "
          "ranks included; messages: what the same messages take when nobody waits. The difference is ranks that are not ready "
          "at the same time: load imbalance, cores of unequal speed, other programs.")


def notes(study, frame):
    """Sentences below a table."""
    lines = [base_text(study, frame)]
    if "communication" in frame and frame["communication"].gt(0).any():
        lines.append(SHARES)
    lines.append({
        "strong": "The problem stays; ideal: speed-up grows with the cores.",
        "weak": f"The problem grows with the cores ({study.grows}); ideal: the time stays, the scaled speed-up "
                "(problem done a second) grows with the cores. More iterations count against it.",
        "throughput": "The batch grows on the same cores; speed-up compares sequences × steps done a second.",
        "placement": "The same cores as ranks or as threads.",
    }[study.kind])
    if "oversubscribed" in frame and frame["oversubscribed"].eq(True).any():
        worst = frame.loc[frame["oversubscribed"].eq(True), "load"].max()
        lines.append(f"{MARK} oversubscribed: more threads than cores (up to {worst:g} a core); such times say "
                     "nothing about the method.")
    others = frame.drop_duplicates("point")
    builds = {tuple(str(m.get(key, "")) for key in ("version", "git_sha", "git_dirty", "compiler", "flags", "cpu"))
              for m in frame.drop_duplicates("point")["meta"].dropna()} if "meta" in frame else set()
    if len(builds) > 1:
        lines.append(f"The points come from {len(builds)} different builds or processors: compare nothing before they "
                     "are measured anew (remove their files and run again).")
    program = study.description.program
    old = [p.name for p in study.points if os.path.exists(p.file) and os.path.exists(program)
           and os.path.getmtime(p.file) < os.path.getmtime(program)]
    if old and len(old) < len([p for p in study.points if os.path.exists(p.file)]):
        lines.append(f"{', '.join(old)}: older than the program, others newer; remove their files to measure them with "
                     "the same one.")
    busy = [m for m in frame.drop_duplicates("point")["meta"].dropna() if "busy" in str(m.get("warnings", ""))] \
        if "meta" in frame else []
    if busy:
        lines.append(f"{er.count_text(len(busy), 'point')} ran while other work kept the machine busy, says the program: their times "
                     "may be disturbed.")
    for state in ("failed", "missing"):
        names = [f"{row['point']}" + (f" ({row['why']})" if row["why"] else "")
                 for _, row in others[others["state"].eq(state)].iterrows()]
        if names:
            lines.append(f"{state}: {'; '.join(names)}")
    return lines


def markdown(description, frame, pictures):
    """The whole report."""
    text = [f"# {description.title}\n"]
    known = frame[frame["meta"].notna()] if "meta" in frame else frame.iloc[:0]
    if len(known):
        meta = known["meta"].iloc[0]
        hosts = ", ".join(sorted(set(known["host"])))
        text.append(f"{hosts}: {meta['cpu']}, {meta.get('cpu_cores', '?')} cores a node; elkhorn {meta['version']} "
                    f"({str(meta['git_sha'])[:9]}{', changed' if meta['git_dirty'] else ''}), {meta['compiler']}, "
                    f"{meta['mpi'].split(',')[0]}, {meta['kokkos_backend']}\n")
        warned = sorted({line for m in known["meta"] for line in str(m.get("warnings", "")).splitlines() if line})
        if warned:
            text.append("The program warned:\n\n" + "\n".join(f"- {line}" for line in warned[:8]) +
                        (f"\n- … and {len(warned) - 8} more" if len(warned) > 8 else "") + "\n")
    for study in description.studies:
        part = frame[frame["study"].eq(study.name)]
        header, rows = table_rows(part)
        text.append(f"## {study.name} ({study.kind})\n")
        text.append("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
        text += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        text.append("\n" + "\n\n".join(notes(study, part)) + "\n")
        if study.name in pictures:
            text.append(f"![{study.name}]({os.path.basename(pictures[study.name])})\n")
    return "\n".join(text)


# -------------------------------------------------------------------------------------------------------- pictures


def x_of(study):
    return ("B", "batch B") if study.kind == "throughput" else ("cores", "cores (ranks × threads)")


def styles(frame):
    """Colour and marker of each series, as in the other pictures; further settings of a solver get other markers."""
    seen, style = {}, {}
    for _, row in frame.drop_duplicates("series").iterrows():
        number = seen[row["solver"]] = seen.get(row["solver"], -1) + 1
        colour, marker = LOOKS.get(row["solver"], ("#777777", "."))
        style[row["series"]] = (colour, marker if number == 0 else VARIANTS[(number - 1) % len(VARIANTS)])
    return style


def labels(frame):
    """series → as short a label as tells them apart."""
    first = frame.drop_duplicates("series")
    same = first["label"].duplicated(keep=False)
    return {row["series"]: row["series"] if clash else row["label"]
            for (_, row), clash in zip(first.iterrows(), same)}


def draw_study(study, frame):
    """Time, speed-up, efficiency and iterations of one study, and the share of communication where it is known, that of
    messages alone dotted; None where nothing was timed."""
    if "series" not in frame or not np.isfinite(frame["time_s"].astype(float)).any():
        return None
    frame = frame[frame["series"].notna() & frame["time_s"].notna()].copy()
    x, x_label = x_of(study)
    ticks = sorted(frame[x].unique())
    if study.kind == "placement":
        frame["place"] = [list(dict.fromkeys(zip(frame["ranks"], frame["threads"]))).index(pair)
                          for pair in zip(frame["ranks"], frame["threads"])]
        x, x_label, ticks = "place", "ranks × threads", sorted(frame["place"].unique())
    panels = [("time_s", "time of one solve (s)"), ("speedup", "speed-up over the base"),
              ("efficiency", "efficiency"), ("iterations", "iterations")]
    if study.kind == "throughput":
        frame["rate"] = frame["T"] * frame["B"] / frame["time_s"]
        panels[2] = ("rate", "sequences × steps a second")
    if np.isfinite(frame["communication"]).any():
        panels.append(("communication", "share of waits and messages"))
    columns = 2 if len(panels) == 4 else 3
    figure, axes = plt.subplots(2, columns, figsize=(3.7 * columns, 5.8), squeeze=False)
    for axis in axes.flat[len(panels):]:
        axis.set_visible(False)
    style, names, handles = styles(frame), labels(frame), {}
    shift = dict(zip(style, np.linspace(-0.03, 0.03, len(style)) if len(style) > 1 else [0.0]))
    for (column, label), axis in zip(panels, axes.flat):
        log_x = study.kind != "placement"
        for series, part in frame.groupby("series", sort=False):
            part = part[part["solver"].ne("sequential")] if column == "iterations" else part
            part = part[np.isfinite(part[column].astype(float))].sort_values(x)
            if part.empty:
                continue
            colour, marker = style[series]
            # A little apart, so that equal values of two solvers are both seen.
            at = part[x] * (1 + shift[series]) if log_x else part[x] + 2 * shift[series]
            line = axis.plot(at, part[column], color=colour, marker=marker, markersize=5,
                             linestyle="-" if log_x else "none")[0]
            for mask, face in ((part["oversubscribed"], "white"), (part["status"].ne("ok"), "#bbbbbb")):
                axis.plot(at[mask], part[column][mask], linestyle="none", color=colour, marker=marker, markersize=5,
                          markerfacecolor=face)
            if column == "communication" and np.isfinite(part["transfer"].astype(float)).any():
                axis.plot(at, part["transfer"], color=colour, linestyle=":", linewidth=1.5)
                (handles["messages alone"],) = axis.plot([], [], color="#777777", linestyle=":", linewidth=1.5)
            if column == "time_s":
                known = np.isfinite(part["low_s"].astype(float))
                axis.vlines(at[known], part["low_s"][known], part["high_s"][known], color=colour, linewidth=1)
                handles[names[series]] = line
        axis.set_ylabel(label)
        axis.set_xlabel(x_label)
        if log_x:
            axis.set_xscale("log", base=2)
            axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticks(ticks, [f"{r} × {t}" for r, t in dict.fromkeys(zip(frame["ranks"], frame["threads"]))]
                        if study.kind == "placement" else [f"{int(tick)}" for tick in ticks])
        if column in ("time_s", "rate"):
            axis.set_yscale("log")
        elif column == "communication":
            axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0%}"))
            axis.set_ylim(bottom=0)
        elif column == "iterations":
            axis.set_ylim(bottom=0)
            axis.yaxis.get_major_locator().set_params(integer=True)
        draw_ideal(study, column, axis, frame, handles)
    oversubscribed = frame[frame["oversubscribed"]]
    if len(oversubscribed) and study.kind in ("strong", "weak"):
        edge = math.sqrt(oversubscribed["cores"].min() * max(
            [c for c in ticks if c < oversubscribed["cores"].min()], default=oversubscribed["cores"].min() / 2))
        for axis in axes.flat[:len(panels)]:
            right = axis.get_xlim()[1]
            axis.axvspan(edge, right, color="#999999", alpha=0.15, linewidth=0, zorder=0)
            axis.set_xlim(right=right)
        handles["oversubscribed"] = plt.Rectangle((0, 0), 1, 1, color="#999999", alpha=0.25, linewidth=0)
    elif len(oversubscribed):
        (handles["oversubscribed"],) = axes.flat[0].plot([], [], "o", color="#777777", markerfacecolor="white")
    if frame["status"].ne("ok").any():
        (handles["not converged"],) = axes.flat[0].plot([], [], "o", color="#777777", markerfacecolor="#bbbbbb")
    row = frame.iloc[0]
    sizes = ", ".join(f"{key} = {size_text(frame[key])}" for key in ("T", "D", "B"))
    figure.suptitle(f"{study.description.title}: {study.name}\n{row['case'].system.replace('_', '-')}, {sizes}, "
                    f"{row['precision']}", fontsize=10)
    figure.supxlabel(wrapped(base_text(study, frame), 60 * columns), fontsize=8, x=0.02, ha="left")
    figure.legend(handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0),
                  ncol=min(5, len(handles)))
    return figure


def size_text(values):
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def wrapped(text, width):
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "\n".join(lines)


def draw_ideal(study, column, axis, frame, handles):
    """The line that perfect scaling would give."""
    ideal = {"color": "black", "linestyle": ":", "linewidth": 1.2, "zorder": 1}
    cores = np.array(sorted(frame["cores"].unique()), dtype=float)
    if column == "efficiency" or (column == "speedup" and study.kind in ("throughput", "placement")):
        handles["as the base" if study.kind in ("throughput", "placement") else "ideal"] = axis.axhline(1.0, **ideal)
    elif column == "speedup":
        (handles["ideal"],) = axis.plot(cores, cores / study.base.cores, **ideal)
        axis.set_yscale("log", base=2)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
    elif column == "time_s" and study.kind in ("strong", "weak"):
        for base in frame.loc[frame["point"].eq(study.base.name), "time_s"]:
            axis.plot(cores, base * (study.base.cores / cores if study.kind == "strong" else np.ones_like(cores)),
                      **{**ideal, "linewidth": 0.8})
    if column == "efficiency":
        axis.set_ylim(0, max(1.1, axis.get_ylim()[1]))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0%}"))


def write(description, frame, kind="png"):
    """points.csv, report.md and the pictures, in the study's folder; returns their paths."""
    os.makedirs(description.out, exist_ok=True)
    pictures, written = {}, []
    for study in description.studies:
        figure = draw_study(study, frame[frame["study"].eq(study.name)])
        if figure is not None:
            save(figure, description.out, study.name, kind, written)
            pictures[study.name] = written[-1]
    table = os.path.join(description.out, "points.csv")
    frame.drop(columns=[c for c in ("case", "meta") if c in frame]).to_csv(table, index=False)
    report = os.path.join(description.out, "report.md")
    with open(report, "w", encoding="utf-8") as file:
        file.write(markdown(description, frame, pictures))
    return [report, table, *pictures.values()]
