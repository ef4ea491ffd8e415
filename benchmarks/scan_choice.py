#!/usr/bin/env python3
"""How well `scan = "auto"` and `pass = "auto"` choose: on a grid of solvers, sizes and threads, the time of a solve of
ITERATIONS iterations with them over that with the best of all engines, chunks and passes.

    benchmarks/scan_choice.py [--program build/elkhorn] [--threads 1 2] [--precision float32] [--quick]
        [--solver deer …] [--dim 8 …] [--batch 16 …] [--length 1000 …] [--rounds 3] [--out FILE.json]

The engines of a cell take turns in one run (`--interleave`), and the shortest of all their samples counts. A cell in which
"auto" seems more than 10 % slower is measured again, up to --rounds times, and the shortest of all rounds counts: with
twenty engines beside one another, one of them is lucky in any single round.

Prints a Markdown table of every cell that stays above 10 %, and one of all cells by solver and threads. `separate` and
`auto` are values of `pass`: with the first, "auto" is compared with engines under separate passes alone. --quick: tiny
sizes, to see that it works.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scripts"))
import elkhorn_results as er  # noqa: E402  (finds a Python with h5py, if need be by starting this file again)

SOLVERS = ("deer", "quasi_deer", "elk", "quasi_elk")
DIMS, BATCHES, LENGTHS = (4, 8, 32, 64), (1, 4, 16, 64), (100, 1_000, 10_000, 100_000)
CHUNKS = (1, 2, 4, 8, 16, 32, 64)
ITERATIONS = 5
SAMPLES = 7
WORST = 1.1
# Cells of more operations an iteration than this would take the grid hours, those of fewer than the second microseconds.
MOST, LEAST = 1.5e8, 1e5


def operations(solver, dim):
    """Of one step, roughly: what a cell of the grid costs."""
    return {"deer": 10 * dim**2, "elk": 10 * dim**2 + 8 * dim**3}.get(solver, 6 * dim**2 + 60 * dim)


def engines(length, batch):
    """{pass: values of `scan`}; "auto" is a value of both."""
    chunked = [f"chunked:{n}" for n in CHUNKS if n == 1 or (n <= length // 8 and n * batch <= 256)]
    return {"separate": ["auto", "serial", "flat", *chunked], "fused": chunked, "auto": ["auto"]}


def deck(arguments, solver, dim, length, batch):
    region = "sigma2 = 100.0\n" if solver.endswith("elk") else ""
    tables = ['[[solver]]\nkind = "sequential"\n']
    for kind, scans in engines(length, batch).items():
        tables.append(f'[[solver]]\nkind = "{solver}"\nstop = "iterations"\nmax_iterations = {ITERATIONS}\n{region}'
                      f'pass = "{kind}"\nscan = {json.dumps(scans)}\n')
    return (f'[system]\nkind = "gru"\nstate_dim = {dim}\n[problem]\nlength = {length}\nbatch = {batch}\n'
            + "".join(tables) + f'[measure]\nprecision = "{arguments.precision}"\nwarmup = 1\n'
            f"repetitions = {{ min = {arguments.samples}, max = {arguments.samples} }}\n[output]\nhistory = false\n")


def measure(arguments, folder, threads, cell):
    """{(pass, scan): (seconds, what "auto" stood for)} of one cell, one round."""
    path, out = os.path.join(folder, "deck.toml"), os.path.join(folder, "out.h5")
    with open(path, "w", encoding="utf-8") as file:
        file.write(deck(arguments, *cell))
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": os.environ.get("OMP_PROC_BIND", "false")}
    done = subprocess.run([arguments.program, "run", path, "--interleave", "--roofs", "off", "--out", out],
                          env=environment, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        er.die(f"{arguments.program} ended with exit code {done.returncode}: {done.stderr.strip()}")
    cases = [c for c in er.Results(out).cases if c.solver != "sequential"]
    asked = [(kind, scan) for kind, scans in engines(cell[2], cell[3]).items() for scan in scans]
    if len(cases) != len(asked):
        er.die(f"{len(cases)} cases instead of {len(asked)}")
    # Cases are in the order of the deck.
    return {key: (float(min(c.time_s)), f"{c.scan} {c.attributes['pass']}") for key, c in zip(asked, cases)}


def judge(times):
    """{pass: (ratio, chosen, best)} of "auto"."""
    found = {}
    for kind, rivals in (("separate", ("separate",)), ("auto", ("separate", "fused", "auto"))):
        best = min((value for key, value in times.items() if key[0] in rivals), key=lambda value: value[0])
        time, chosen = times[kind, "auto"]
        found[kind] = (time / best[0], chosen, best[1], time)
    return found


def cells(arguments):
    for solver, dim, batch, length in itertools.product(arguments.solver, arguments.dim, arguments.batch,
                                                        arguments.length):
        if LEAST <= operations(solver, dim) * batch * length <= MOST:
            yield solver, dim, length, batch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/elkhorn")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--solver", nargs="+", default=SOLVERS)
    parser.add_argument("--dim", type=int, nargs="+", default=DIMS)
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--length", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--out", help="all times, as JSON lines")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.dim, arguments.batch, arguments.length, arguments.rounds, arguments.samples = [4], [4], [200], 1, 1
    ratios, worst = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for threads, cell in itertools.product(arguments.threads, cells(arguments)):
            times = {}
            for _ in range(arguments.rounds):
                for key, value in measure(arguments, folder, threads, cell).items():
                    times[key] = min(times.get(key, value), value, key=lambda one: one[0])
                found = judge(times)
                if max(one[0] for one in found.values()) <= WORST:
                    break
            if arguments.out:
                with open(arguments.out, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"threads": threads, "cell": cell,
                                           "times": [[*key, *value] for key, value in times.items()]}) + "\n")
            solver, dim, length, batch = cell
            for kind, (ratio, chosen, best, time) in found.items():
                ratios.setdefault((solver, threads, kind), []).append(ratio)
                if ratio > WORST:
                    worst.append((ratio, f"| {solver} | {dim}, {length:,}, {batch} | {threads} | {kind} | {1e3 * time:.3g} "
                                         f"| {chosen} | {best} | {ratio:.2f} |"))
    print("| solver | threads | pass | cells | median | 90 % | worst | above 1.1 |\n" + "|---" * 8 + "|")
    for (solver, threads, kind), all_of in ratios.items():
        ordered = sorted(all_of)
        print(f"| {solver} | {threads} | {kind} | {len(ordered)} | {ordered[len(ordered) // 2]:.2f} "
              f"| {ordered[len(ordered) * 9 // 10]:.2f} | {ordered[-1]:.2f} | {sum(r > WORST for r in ordered)} |")
    if not ratios:
        er.die("the grid has no cell")
    print("\n| solver | D, T, B | threads | pass | ms | auto | best | auto ÷ best |\n" + "|---" * 8 + "|")
    for _, row in sorted(worst, reverse=True):
        print(row)


if __name__ == "__main__":
    main()
