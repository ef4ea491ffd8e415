#!/usr/bin/env python3
"""Time of one iteration: solves of 12 iterations less solves of 2, divided by 10, so that what a solve does once
(drivers into lanes, states out) does not count. The shortest of several samples that alternate; sequential: a solve;
WINDOWS: a whole solve of quasi-DEER through windows, all it does included, divided by the steps it worked on in
multiples of T.

    benchmarks/iterations.py [--program build/elkhorn] [--threads 2] [--quick]

Prints a Markdown table. --quick: tiny sizes, to see that it works.
"""

import argparse
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scripts"))
import elkhorn_results as er  # noqa: E402  (finds a Python with h5py, if need be by starting this file again)

ALL = ("deer", "quasi_deer", "elk", "quasi_elk")
SIZES = ((4, 10_000, 1, ALL), (8, 10_000, 16, ALL), (32, 10_000, 16, ("deer", "quasi_deer", "quasi_elk")),
         (64, 30_000, 16, ("quasi_deer",)), (8, 100_000, 16, ("deer", "quasi_deer")), (8, 1_000_000, 1, ("quasi_deer",)))
FEW, MANY = 2, 12
WINDOWS = "quasi_deer in windows"
COLUMNS = ("sequential", *ALL, WINDOWS)


def deck(dim, length, batch, solvers, samples):
    tables = ['[[solver]]\nkind = "sequential"\n']
    for solver in solvers:
        region = "sigma2 = 100.0\n" if solver.endswith("elk") else ""
        tables.append(f'[[solver]]\nkind = "{solver}"\nstop = "iterations"\nmax_iterations = [{FEW}, {MANY}]\n{region}')
    tables.append('[[solver]]\nkind = "quasi_deer"\nwindow = "auto"\n')
    return (f'[system]\nkind = "gru"\nstate_dim = {dim}\n[problem]\nlength = {length}\nbatch = {batch}\n'
            + "".join(tables)
            + f"[measure]\nwarmup = 1\nrepetitions = {{ min = {samples}, max = {samples} }}\n[output]\nhistory = false\n")


def measure(arguments, folder, size, samples):
    """{solver: (milliseconds of an iteration, pass)} of one size."""
    path, out = os.path.join(folder, "deck.toml"), os.path.join(folder, "out.h5")
    with open(path, "w", encoding="utf-8") as file:
        file.write(deck(*size, samples))
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "OMP_PROC_BIND": "false"}
    done = subprocess.run([arguments.program, "run", path, "--interleave", "--roofs", "off", "--out", out],
                          env=environment, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        er.die(f"{arguments.program} ended with exit code {done.returncode}: {done.stderr.strip()}")
    cases = er.Results(out).cases
    windowed = next(c for c in cases if c.window == "auto")
    best = {(c.solver, c.iterations): (1e3 * min(c.time_s), c) for c in cases if c is not windowed}
    times = {WINDOWS: (1e3 * min(windowed.time_s) / windowed.work, windowed.__dict__["pass"])}
    for (solver, iterations), (time, case) in best.items():
        if solver == "sequential":
            times[solver] = (time, "")
        elif iterations == MANY:
            times[solver] = ((time - best[solver, FEW][0]) / (MANY - FEW), case.__dict__["pass"])
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/elkhorn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    sizes = [(d, min(t, 200), b, s) for d, t, b, s in SIZES if d < 64] if arguments.quick else SIZES
    print("| D, T, B | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 1))
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            times = measure(arguments, folder, size, 2 if arguments.quick else 7)
            row = [f"{time:.3g}{'' if kind != 'separate' else ' s'}" for time, kind in
                   (times.get(solver, (float("nan"), "")) for solver in COLUMNS)]
            print(f"| {size[0]}, {size[1]:,}, {size[2]} | " + " | ".join(row).replace("nan", "–") + " |", flush=True)


if __name__ == "__main__":
    main()
