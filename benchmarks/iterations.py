#!/usr/bin/env python3
"""Time of one iteration: solves of 12 iterations less solves of 2, divided by 10, so that what a solve does once
(drivers into lanes, states out) does not count. The shortest of several samples that alternate; sequential: a solve;
WINDOWS: a whole solve of quasi-DEER through windows, all it does included, divided by the steps it worked on in
multiples of T.

    benchmarks/iterations.py [--program build/elkhorn] [--threads 2] [--quick]
        [--precision float32] [--case D,T,B …] [--solver deer …] [--pass auto] [--share | --bound]

Prints a Markdown table. --case and --solver: these in place of the table's own. --share: also the share of the peak of
multiply-adds, measured in the same process, that the operations of an iteration reach. --bound: the share of the time that
its scarcest resource would need alone: bytes at the bandwidth of a triad, operations at the rate of the BLAS, or 3 σ and
tanh a unit and step at the rate of eˣ, all measured in the same process. --quick: tiny sizes, to see that it works.
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


def deck(arguments, dim, length, batch, solvers, samples):
    tables = ['[[solver]]\nkind = "sequential"\n']
    for solver in solvers:
        region = "sigma2 = 100.0\n" if solver.endswith("elk") else ""
        tables.append(f'[[solver]]\nkind = "{solver}"\nstop = "iterations"\nmax_iterations = [{FEW}, {MANY}]\n'
                      f'pass = "{arguments.passes}"\n{region}')
    if WINDOWS in arguments.columns:
        tables.append('[[solver]]\nkind = "quasi_deer"\nwindow = "auto"\n')
    return (f'[system]\nkind = "gru"\nstate_dim = {dim}\n[problem]\nlength = {length}\nbatch = {batch}\n'
            + "".join(tables)
            + f'[measure]\nprecision = "{arguments.precision}"\nwarmup = 1\n'
            f"repetitions = {{ min = {samples}, max = {samples} }}\n[output]\nhistory = false\n")


def measure(arguments, folder, size, samples):
    """{solver: (milliseconds of an iteration, pass, share of the peak or the bound)} of one size."""
    path, out = os.path.join(folder, "deck.toml"), os.path.join(folder, "out.h5")
    with open(path, "w", encoding="utf-8") as file:
        file.write(deck(arguments, *size, samples))
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "OMP_PROC_BIND": os.environ.get("OMP_PROC_BIND", "false")}
    done = subprocess.run([arguments.program, "run", path, "--interleave", "--out", out,
                           "--roofs", "on" if arguments.share or arguments.bound else "off"],
                          env=environment, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        er.die(f"{arguments.program} ended with exit code {done.returncode}: {done.stderr.strip()}")
    results = er.Results(out)
    dim, length, batch, _ = size
    functions = 3.0 * dim * length * batch

    def share(milliseconds, flops, moved, evaluations):
        if not results.roofs:
            return float("nan")
        fma, gemm, triad, exponential = (results.roofs[f"{name}_{arguments.precision}"]
                                         for name in ("fma", "gemm", "triad", "exponential"))
        needed = flops / fma if arguments.share else max(flops / gemm, moved / triad,
                                                         evaluations * functions / exponential)
        return 1e3 * needed / milliseconds

    times, best = {}, {}
    for case in results.cases:
        time = 1e3 * min(case.time_s)
        if case.window == "auto":
            times[WINDOWS] = (time / case.work, case.attributes["pass"],
                              share(time, case.flops, case.attributes["bytes"], case.work))
        elif case.solver == "sequential":
            times[case.solver] = (time, "", share(time, case.flops, case.attributes["bytes"], 1))
        else:
            best[case.solver, case.iterations] = (time, case)
    for (solver, iterations), (time, case) in best.items():
        if iterations == MANY:
            less, few = best[solver, FEW]
            more = MANY - FEW
            moved = case.attributes["bytes"] - few.attributes["bytes"]
            times[solver] = ((time - less) / more, case.attributes["pass"],
                             share(time - less, case.flops - few.flops, moved, more))
    return times


def cell(arguments, time, kind, share):
    if time != time:
        return "–"
    return (f"{time:.3g}{'' if kind != 'separate' else ' s'}"
            + (f" ({100 * share:.0f} %)" if share == share else ""))


def case(text):
    dim, length, batch = (int(part) for part in text.split(","))
    return dim, length, batch, ALL


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/elkhorn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--case", type=case, nargs="+", metavar="D,T,B")
    parser.add_argument("--solver", nargs="+", choices=ALL)
    parser.add_argument("--pass", dest="passes", default="auto")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--share", action="store_true")
    which.add_argument("--bound", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    sizes = arguments.case or SIZES
    if arguments.solver:
        sizes = [(d, t, b, [one for one in s if one in arguments.solver]) for d, t, b, s in sizes]
    if arguments.quick:
        sizes = [(d, min(t, 200), b, s) for d, t, b, s in sizes if d < 64]
    columns = arguments.columns = ("sequential", *arguments.solver) if arguments.solver else COLUMNS
    print("| D, T, B | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            times = measure(arguments, folder, size, 2 if arguments.quick else 7)
            row = [cell(arguments, *times.get(column, (float("nan"), "", 0))) for column in columns]
            print(f"| {size[0]}, {size[1]:,}, {size[2]} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
