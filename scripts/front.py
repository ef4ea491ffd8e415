#!/usr/bin/env python3
"""Iterations, work and time to convergence, solver by solver: the table of docs/solvers.md from results files.

A sequence has converged at the first iteration with a small enough residual and a MAD (mean absolute difference) below
1e-4 against the sequential states. The residual has to reach 1e-6 in float64, and 64 ε max|s| (taken as 1e-5) in
float32, where MAD counts only for systems that do not amplify rounding (ar_gru, and cells with gain 1). Cases without a
history count as a whole, by their own verdict. Medians and largest values are over all sequences of the rows that only
differ in seed or start.
"""

import argparse

import elkhorn_results as er
import numpy as np

RESIDUAL = {"float64": 1e-6, "float32": 1e-5}
MAD = 1e-4


def problem(case):
    """What a row of the table is about: the case's name without its seed, start and batch."""
    parts = [p for p in case.name.split("-" + case.solver)[0].split("-")]
    return " ".join(p for p in parts if not p.startswith(("seed", "start", "B")))


def solver(case):
    text = case.label
    if getattr(case, "step_bound", "none") != "none":
        text += f", bound {case.step_bound.replace('absolute:', '|δ| ≤ ')}"
    return text + ("" if case.window == "full" else f", window {case.window}")


def converged_after(case):
    """Iterations of each sequence, infinity where it did not converge."""
    if case.residual is None:
        return [float(n) if case.status == "ok" else np.inf for n in case.batch_iterations]
    chaotic = case.system == "lorenz96" or any(f"gain={g}" in case.name for g in ("2", "3"))
    ignore_mad = chaotic and case.precision == "float32"
    good = (case.residual <= RESIDUAL[case.precision]) & ((case.mad < MAD) | ignore_mad)
    return [float(np.argmax(column)) if column.any() else np.inf for column in good.T]


def number(x):
    return "never" if not np.isfinite(x) else f"{x:.0f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.h5")
    arguments = parser.parse_args()
    rows = {}
    for path in arguments.files:
        for case in er.Results(path).cases:
            if case.solver != "sequential" and case.status not in ("failed", "skipped"):
                rows.setdefault((problem(case), solver(case)), []).append(case)
    if not rows:
        er.die("no iterative case in these files")
    print("| problem | solver | iterations: median | largest | not converged | work | ms |")
    print("|---|---|---|---|---|---|---|")
    for (what, how), cases in rows.items():
        counts = np.array([n for case in cases for n in converged_after(case)])
        work = np.median([case.work for case in cases])
        time = np.median([case.time_median_s for case in cases]) * 1e3
        failed = int(np.sum(~np.isfinite(counts)))
        print(
            f"| {what} | {how} | {number(np.median(counts))} | {number(np.max(counts))} | "
            f"{failed} of {len(counts)} | {work:.1f} | {time:.3g} |"
        )


if __name__ == "__main__":
    main()
