#!/usr/bin/env python3
"""One web page about results files, complete in itself: tables that sort by a click, figures, verdicts, provenance, and
how to do it again. It opens without a network and prints; several files share the page.

    report.py FILE.h5… [-o report.html] [--title TEXT] [--no-figures]
"""

import argparse
import collections
import datetime
import html
import io
import math
import os
import re
import sys

import elkhorn_results as er
import matplotlib.pyplot as plt
import numpy as np
import plot
from elkhorn_results import bytes_text, seconds_text

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates", "report.html")
# /meta in the order in which a reader asks; the rest follows alphabetically.
META_FIRST = ["version", "git_sha", "git_dirty", "host", "cpu", "ranks", "threads", "compiler", "flags",
              "kokkos_version", "kokkos_backend", "mpi", "hdf5", "blas"]
CAPTIONS = {
    "convergence": "Residual and error against iteration and elapsed time",
    "times": "Median time of a solve, with its 95 % interval",
    "scaling": "Time against the length",
    "roofline": "Attained rates under the measured roofs of the machine",
}


def esc(value):
    return html.escape(" ".join(str(value).split()))


def cell(text, sort=None, kind=""):
    """A <td>; `sort` is the number it sorts by (NaN: last)."""
    value = "" if sort is None else f' data-value="{sort:.17g}"' if math.isfinite(sort) else ' data-value=""'
    return f"<td{value}{f' class={kind}' if kind else ''}>{text}</td>"


def ratio_text(value):
    return f"{value:.2f}×" if value >= 0.1 else f"{value:.2g}×"


def interval_text(case):
    if not np.isfinite(case.time_ci_low_s):
        return ""
    low, high = seconds_text(case.time_ci_low_s), seconds_text(case.time_ci_high_s)
    (a, unit), (b, other) = low.split(" "), high.split(" ")
    return f"[{a}, {b}]" if unit == other == seconds_text(case.time_median_s).split(" ")[1] else f"[{low}, {high}]"


def flags_of(case):
    """What a reader must know of the samples, in words."""
    flags = []
    if case.drifting:
        flags.append(f"drifting {100 * case.drift:+.0f} %")
    if case.bimodal:
        flags.append("bimodal")
    if case.outliers > 0:
        flags.append(er.count_text(case.outliers, "outlier"))
    if case.time_first_s > 2 * case.time_median_s:  # NaN is not
        flags.append(f"first, cold {ratio_text(case.time_first_s / case.time_median_s)}")
    return flags


def solver_text(case):
    text = case.label
    if case.window != "full":
        text += f", window {case.window}"
    if case.step_bound != "none":
        text += f", bound {case.step_bound}"
    return text


def name_rows(cases):
    """Gives each case of a table its `row`: the solver, and where rows of a file would look alike what tells them apart."""
    for case in cases:
        case.row = solver_text(case)
    for extra in (lambda case: case.scan, lambda case: case.name):
        seen = collections.defaultdict(set)
        for case in cases:
            seen[case.row, case.file, case.ranks, case.threads].add(extra(case))
        for case in cases:
            if len(seen[case.row, case.file, case.ranks, case.threads]) > 1:
                case.row += f", {extra(case)}"


class Column:
    """A column of the tables of cases; `used` says whether any of the cases has something to show in it."""

    def __init__(self, title, hint, make, used=lambda case: True, text=False):
        self.title, self.hint, self.make, self.used, self.text = title, hint, make, used, text


def status_cell(case):
    kind = "good" if case.status == "ok" else "bad" if case.status in ("wrong", "failed") else "warn"
    return cell(f'<span class="status {kind}">{esc(case.status.replace("_", " "))}</span>')


def official_cell(case):
    if case.official:
        return cell('<span class="status good">official</span>')
    return cell(f'<span title="{esc(case.unofficial_because)}">unofficial</span>')


COLUMNS = [
    Column("solver", "and its options", lambda c: f"<th scope=row>{esc(c.row)}</th>", text=True),
    Column("file", "", lambda c: cell(esc(c.short_file)), text=True),
    Column("on", "ranks × threads of each", lambda c: cell(f"{c.ranks} × {c.threads}", float(c.ranks * c.threads))),
    Column("status", "", status_cell, text=True),
    Column("iter.", "iterations, the largest of the batch",
           lambda c: cell("–" if c.solver == "sequential" or c.iterations < 0 else c.iterations, float(c.iterations))),
    Column("time", "median of one solve", lambda c: cell(seconds_text(c.time_median_s), c.time_median_s)),
    Column("95 % interval", "of the median", lambda c: cell(interval_text(c), c.time_ci_high_s - c.time_ci_low_s),
           lambda c: np.isfinite(c.time_ci_low_s)),
    Column("samples", "timed solves", lambda c: cell(c.samples, float(c.samples))),
    Column("× seq.", "time of sequential / this time", lambda c: cell(
        ratio_text(c.speedup_over_sequential) if np.isfinite(c.speedup_over_sequential) else "–",
        c.speedup_over_sequential)),
    Column("error", "largest difference from the sequential states",
           lambda c: cell("0" if c.error_max == 0 else f"{c.error_max:.1e}" if np.isfinite(c.error_max) else "–",
                          c.error_max)),
    Column("memory", "peak, one rank", lambda c: cell(bytes_text(c.peak_memory_bytes), c.peak_memory_bytes)),
    Column("of bound", "attained share of the resource that bounds the modelled work",
           lambda c: cell(f"{100 * c.roof_share:.3g} % {esc(c.roof_bound)}" if np.isfinite(c.roof_share) else "–",
                          c.roof_share), lambda c: np.isfinite(c.roof_share)),
    Column("energy", "one solve, processor packages", lambda c: cell(
        f"{c.energy_j:.3g} J" if np.isfinite(c.energy_j) else "–", c.energy_j), lambda c: np.isfinite(c.energy_j)),
    Column("samples are", "drift, two modes, outliers, a first solve that takes longer", lambda c: cell(esc(", ".join(flags_of(c)) or "–")),
           lambda c: bool(flags_of(c)), text=True),
    Column("verdict", "hover for the reasons", official_cell, lambda c: c.official is not None, text=True),
]


def cases_table(cases, several_files):
    name_rows(cases)
    several = {"file": several_files, "on": len({(case.ranks, case.threads) for case in cases}) > 1}
    columns = [c for c in COLUMNS if any(map(c.used, cases)) and several.get(c.title, True)]
    head = "".join(
        f'<th scope=col{" class=text" if c.text else ""}><button type=button title="{esc(c.hint)}">{esc(c.title)}'
        "</button></th>" for c in columns)
    body = "".join(f'<tr>{"".join(c.make(case) for c in columns)}</tr>' for case in cases)
    return f"<div class=scroll><table class=sortable><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def name_problems(results):
    """Gives each case the title of its `problem`; the seed is part of it where there are several."""
    cases = [case for one in results for case in one.cases]
    seeds = len({case.seed for case in cases}) > 1
    for case in cases:
        case.problem = (f"{case.system.replace('_', '-')}, T = {case.length:,}, D = {case.state_dim}, B = {case.batch}, "
                        f"{case.precision}" + (f", {case.setting}" if case.setting else "")
                        + (f", seed {case.seed}" if seeds else ""))


def problems_of(results):
    groups = {}
    for one in results:
        for case in one.cases:
            groups.setdefault(tuple(getattr(case, name) for name in plot.PROBLEM), []).append(case)
    return groups


def summary(results):
    """The first thing to read: how many cases ended how, what is official, who won."""
    cases = [case for one in results for case in one.cases]
    counts = collections.Counter(case.status for case in cases)
    order = ["ok", "not_converged", "diverged", "wrong", "failed", "skipped"]
    parts = [f"<b>{counts[s]}</b> {s.replace('_', ' ')}" for s in order if counts[s]]
    text = f"<p class=lead>{er.count_text(len(cases), 'case')}: {', '.join(parts)}.</p>"
    judged = [case for case in cases if case.official is not None]
    if judged:
        official = sum(bool(case.official) for case in judged)
        text += f"<p><b>{official}</b> of {len(judged)} are official."
        told = [case.unofficial_because for case in judged if not case.official]
        reasons = collections.Counter(reason for reasons in told for reason in reasons.split("; ") if reason)
        if reasons:
            text += " The others are not, because:</p><ul class=reasons>" + "".join(
                f"<li>{esc(reason)} <span class=count>{er.count_text(n, 'case')}</span></li>"
                for reason, n in reasons.most_common()) + "</ul>"
        else:
            text += "</p>"
    def named(case):
        return solver_text(case) + (f" ({case.short_file})" if len(results) > 1 else "")

    rows = []
    for group in problems_of(results).values():
        good = [c for c in group if c.status == "ok" and np.isfinite(c.time_median_s)]
        parallel = [c for c in good if c.solver != "sequential"]
        if not good:
            continue
        best = min(good, key=lambda c: c.time_median_s)
        best_parallel = min(parallel, key=lambda c: c.time_median_s) if parallel else None
        speed = best_parallel.speedup_over_sequential if best_parallel else math.nan
        base = speed * best_parallel.time_median_s if best_parallel else math.nan  # what the speed-up is over
        rows.append(
            f"<tr><th scope=row>{esc(best.problem)}</th>{cell(esc(named(best)))}"
            f"{cell(seconds_text(best.time_median_s), best.time_median_s)}"
            f"{cell(esc(named(best_parallel)) if best_parallel else '–')}"
            f"{cell(ratio_text(speed) if np.isfinite(speed) else '–', speed)}{cell(seconds_text(base), base)}</tr>")
    if rows:
        heads = (("problem", 1), ("fastest", 1), ("time", 0), ("fastest parallel", 1), ("× seq.", 0), ("sequential", 0))
        text += "<div class=scroll><table class=sortable><thead><tr>" + "".join(
            f"<th scope=col{' class=text' if left else ''}><button type=button>{title}</button></th>"
            for title, left in heads) + f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    return text


def messages(cases):
    told = [case for case in cases if case.message and case.status != "ok"]
    if not told:
        return ""
    items = (f'<li><b>{esc(solver_text(c))}</b> {esc(c.status.replace("_", " "))}: {esc(c.message)}</li>' for c in told)
    return f"<ul class=messages>{''.join(items)}</ul>"


def svg_of(figure, number):
    """The figure as inline SVG: its text and axes take the colour of the page, its ids are its own."""
    buffer = io.StringIO()
    # On logarithmic axes matplotlib asks for ticks far beyond what numbers can be.
    with plt.rc_context({"svg.hashsalt": str(number), "svg.fonttype": "none"}), np.errstate(over="ignore"):
        figure.savefig(buffer, format="svg", bbox_inches="tight", transparent=True,
                       metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="f{number}-', text)
    text = re.sub(r"url\(#", f"url(#f{number}-", text)
    text = re.sub(r'href="#', f'href="#f{number}-', text)
    # Matplotlib writes black where nothing else was asked for, as an attribute or not at all.
    text = re.sub(r"(fill|stroke): ?(#000000|black)", r"\1: currentColor", text)
    text = re.sub(r"(fill|stroke): ?#444444", r"\1: var(--soft)", text)
    text = re.sub(r"fill: ?(#ffffff|white)", "fill: var(--paper)", text)  # hollow markers
    text = text.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    width = re.search(r'width="([\d.]+)pt"', text)[1]
    shown = f'style="max-width:{float(width) * 1.33:.0f}px"'
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', shown, text, count=1)
    return text


def figures(results):
    """kind → [(parts, svg)]; the parts of a problem's figures tell which problem."""
    out = {}
    for number, (kind, parts, figure) in enumerate(plot.figures_of(results)):
        label = f"{CAPTIONS[kind]}: {', '.join(parts)}"
        svg = svg_of(figure, number).replace("<svg ", f'<svg role="img" aria-label="{esc(label)}" ', 1)
        out.setdefault(kind, []).append((parts, svg))
    return out


def figure_block(kind, svg):
    return f"<figure><div class=scroll>{svg}</div><figcaption>{CAPTIONS[kind]}</figcaption></figure>"


def value_text(value):
    return f"{value:g}" if isinstance(value, float) else str(value)


def rate_text(name, value):
    if name.startswith("triad"):
        return f"{value / 1e9:.3g} GB/s"
    if name.startswith(("fma", "gemm")):
        return f"{value / 1e9:.3g} Gflop/s"
    return seconds_text(value) if name.endswith("_s") else f"{value:.3g} /s"


def folded(title, rows):
    return (f"<details><summary>{title}</summary><div class=scroll><table class=plain>{rows}</table></div></details>")


def provenance(one):
    """Where a file comes from and how to do it again."""
    meta = dict(one.meta)
    argv = str(meta.pop("argv", ""))
    names = [n for n in META_FIRST if n in meta] + sorted(n for n in meta if n not in META_FIRST)
    rows = "".join(f"<tr><th scope=row>{esc(n)}</th><td>{esc(value_text(meta[n]))}</td></tr>" for n in names)
    text = f"<h3>{esc(one.path)}</h3><p>Written {esc(one.created)} by Elkhorn {esc(meta.get('version', '?'))}"
    changed = " with local changes" if meta.get("git_dirty") else ""
    text += f", git {esc(str(meta.get('git_sha', '?'))[:12])}{changed}.</p>"
    text += folded("Machine, build and placement", rows)
    scalars = {n: v for n, v in one.roofs.items() if isinstance(v, float)}
    if scalars:
        rows = "".join(f"<tr><th scope=row>{esc(n)}</th><td>{rate_text(n, v)}</td></tr>" for n, v in scalars.items())
        ranks = [int(r) for r in one.roofs.get("latency_ranks", [])]
        for n in ("allreduce_s", "exscan_s"):
            told = ", ".join(f"{er.count_text(r, 'rank')} {seconds_text(t)}" for r, t in zip(ranks, one.roofs.get(n, [])))
            rows += f"<tr><th scope=row>{n}</th><td>{told}</td></tr>" if told else ""
        text += folded("Roofs of the machine, all ranks at work", rows)
    ranks, threads = meta.get("ranks", 1), meta.get("threads", 1)
    start = f"mpirun -n {ranks} " if ranks != 1 else ""
    name = os.path.splitext(os.path.basename(one.path))[0]
    text += ("<details open><summary>How to do it again</summary><p>The command was "
             f"<code>{esc(argv)}</code>. With the deck below as <code>{esc(name)}.toml</code>, data files of "
             "<code>inputs/</code> beside it, and the same version:</p>"
             f"<pre>OMP_NUM_THREADS={esc(threads)} {start}build/elkhorn run {esc(name)}.toml --out again.h5\n"
             f"scripts/compare.py {esc(one.path)} again.h5</pre></details>"
             "<details><summary>Deck, with every default written out</summary>"
             f"<pre>{html.escape(one.deck)}</pre></details>")
    return text


def page_of(results, title, with_figures=True):
    er.name_files(results)
    name_problems(results)
    drawn = figures(results) if with_figures else {}
    by_problem = {}
    for kind in ("convergence", "times"):
        for parts, svg in drawn.get(kind, []):
            by_problem.setdefault(parts, []).append(figure_block(kind, svg))
    sections, contents = [], []
    for i, (key, cases) in enumerate(problems_of(results).items()):
        parts = plot.parts_of(key)
        heading = cases[0].problem
        contents.append(f'<li><a href="#problem-{i}">{esc(heading)}</a></li>')
        places = list(dict.fromkeys(er.place_text(case.ranks, case.threads) for case in cases))
        sections.append(
            f'<section id="problem-{i}"><h2>{esc(heading)}</h2><p class=note>seed {cases[0].seed}, '
            f'{" or ".join(places)}</p>'
            f"{cases_table(cases, len(results) > 1)}{messages(cases)}"
            f"<div class=figures>{''.join(by_problem.get(parts, []))}</div></section>")
    overall = [figure_block(kind, svg) for kind in ("scaling", "roofline") for _, svg in drawn.get(kind, [])]
    if overall:
        contents.append('<li><a href="#overall">Across problems</a></li>')
        sections.append(f'<section id="overall"><h2>Across problems</h2><div class=figures>{"".join(overall)}</div>'
                        "</section>")
    contents.append('<li><a href="#provenance">Provenance</a></li>')
    days = [esc(one.created)[:10] for one in results]
    hosts = sorted({f"{one.meta.get('host', '?')} ({one.meta.get('cpu', '?')})" for one in results})
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    values = {
        "title": esc(title),
        "subtitle": f"{esc(', '.join(hosts))} · written {' to '.join(dict.fromkeys((min(days), max(days))))}",
        "summary": summary(results),
        "contents": "".join(contents),
        "sections": "".join(sections),
        "provenance": "".join(provenance(one) for one in results),
        "made": esc(f"report.py, {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], page)


def title_of(results):
    """The decks' own titles."""
    found = [re.search(r'^title = "(.*)"$', one.deck, re.MULTILINE) for one in results]
    titles = list(dict.fromkeys(re.sub(r'\\(["\\])', r"\1", match[1]) for match in found if match and match[1]))
    return "; ".join(titles) or "Elkhorn results"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.h5")
    parser.add_argument("-o", "--out", metavar="FILE.html", default="report.html", help="default: report.html")
    parser.add_argument("--title", help="default: the titles of the decks")
    parser.add_argument("--no-figures", action="store_true", help="tables only: a small page, made at once")
    arguments = parser.parse_args()
    results = [er.Results(path) for path in arguments.files]
    if not any(one.cases for one in results):
        er.die("there are no cases in " + ", ".join(arguments.files))
    page = page_of(results, arguments.title or title_of(results), not arguments.no_figures)
    part = arguments.out + ".part"
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(page)
        os.replace(part, arguments.out)
    except OSError as problem:
        er.die(f"cannot write {arguments.out}: {problem.strerror}")
    print(arguments.out)


if __name__ == "__main__":
    sys.exit(main())
